//! Invented sessions and links: so many are looked up for an address, and nobody else is held up by them.

use futures_util::future::join_all;
use unread::domain::access::Role;

use crate::harness::{Setup, TestApp, run_test_with};

const HERE: &str = "10.1.1.1";
const THERE: &str = "10.2.2.2";

/// So many at once, that no machine is so slow that they pass one by one.
const FLOOD: usize = 150;

fn behind_a_proxy() -> Setup {
    Setup {
        settings: vec![("UNREAD_TRUSTED_PROXIES", "127.0.0.1")],
        ..Setup::default()
    }
}

async fn get(t: &TestApp, path: &str, from: &str, cookie: &str) -> reqwest::Response {
    let ask = t.http.get(format!("{}{path}", t.web));
    let ask = ask.header("x-forwarded-for", from).header("cookie", cookie);
    ask.send().await.unwrap()
}

/// How many of the answers were of one kind.
fn count(answers: &[reqwest::Response], status: u16) -> usize {
    let of = answers.iter().filter(|answer| answer.status() == status);
    of.inspect(|answer| {
        let waits = answer.headers().contains_key("retry-after");
        assert_eq!(waits, status == 429);
    })
    .count()
}

#[tokio::test]
async fn invented_sessions_are_looked_up_so_often_and_known_ones_always() {
    run_test_with(behind_a_proxy(), async |t| {
        let ann = t.person(Role::Viewer).await;
        let known = get(t, "/settings", HERE, &ann.cookie).await;
        assert_eq!(known.status(), 200);
        let invented = (0..FLOOD).map(async |n| {
            let cookie = format!("unread=invented{n:014}");
            get(t, "/settings", HERE, &cookie).await
        });
        let answers = join_all(invented).await;
        let (led, refused) = (count(&answers, 303), count(&answers, 429));
        assert!(led >= 50 && refused > 0, "{led} {refused}");
        assert_eq!(led + refused, FLOOD);
        let known = get(t, "/settings", HERE, &ann.cookie).await;
        assert_eq!(known.status(), 200, "who is in stays in");
        let ben = t.person(Role::Viewer).await;
        let fresh = get(t, "/settings", THERE, &ben.cookie).await;
        assert_eq!(fresh.status(), 200, "from elsewhere");
        // Pages before the login likewise.
        let logins = (0..2 * FLOOD).map(async |_| get(t, "/login", HERE, "").await);
        let answers = join_all(logins).await;
        assert!(count(&answers, 200) >= 100 && count(&answers, 429) > 0);
    })
    .await;
}

#[tokio::test]
async fn invented_links_are_looked_up_so_often_and_hold_up_no_opt_out() {
    run_test_with(behind_a_proxy(), async |t| {
        t.answered("ann@example.net");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let token = t.reminders().await[0].token.clone();
        // What has not the form of a link is nobody's to look up, and counts for nothing.
        for n in 0..FLOOD {
            let path = format!("/r/short{n}");
            assert_eq!(get(t, &path, HERE, "").await.status(), 404);
        }
        for kind in ["r", "u"] {
            let invented = (0..FLOOD).map(async |n| {
                let path = format!("/{kind}/invented{n:014}");
                get(t, &path, HERE, "").await
            });
            let answers = join_all(invented).await;
            assert!(count(&answers, 429) > 0, "{kind}");
        }
        let (back, out) = (format!("/r/{token}"), format!("/u/{token}"));
        let elsewhere = get(t, &back, THERE, "").await;
        assert!(elsewhere.status().as_u16() < 400, "{elsewhere:?}");
        let stopped = t.http.post(format!("{}{out}", t.web));
        let stopped = stopped
            .header("x-forwarded-for", HERE)
            .send()
            .await
            .unwrap();
        assert_eq!(stopped.status(), 200, "a no gets through");
    })
    .await;
}
