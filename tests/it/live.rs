//! Going live: nothing goes out before, what stands in the way is named in order, and what was unread counts as read.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use unread::channel::smtp::SmtpLogin;
use unread::config::Config;
use unread::control::ControlError;
use unread::control::accounts::Allowed;
use unread::control::live::{
    CheckCaller, Consent, GoLiveRequest, Installation, LiveCheckCache, LiveRefusal,
    OtherInstallation,
};
use unread::control::rules::ChangeAuthor;
use unread::domain::ids::{AccountId, Channel};
use unread::domain::live::Agreed;
use unread::jobs::context::Context;

use crate::harness::{Setup, TestApp, account, everything, not_live, run_test_with};

const SMS: Channel = Channel::Sms;
const EMAIL: Channel = Channel::Email;

/// A stage whose accounts are not live, with a brand and an address that customers can use.
async fn run_test(test: impl AsyncFnOnce(&TestApp)) {
    let settings = vec![
        ("UNREAD_PUBLIC_URL", "https://unread.shop.example"),
        ("UNREAD_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        not_live(t.pool()).await;
        test(t).await;
    })
    .await;
}

/// The stage's settings with these over them.
fn config(t: &TestApp, over: &[(&str, &str)]) -> Config {
    let mut config = t.config().clone();
    for (key, value) in over {
        match *key {
            "brand" => (*value).clone_into(&mut config.accounts[0].brand),
            "public_url" => config.web.public_url = value.parse().unwrap(),
            "other_installation" => {
                config.live_other_installation = OtherInstallation::parse(value);
            }
            "sms_consent" => config.sms_consent = Agreed::parse(value),
            "smtp_password" => {
                let smtp = config.channels.smtp.as_mut().unwrap();
                let user = smtp.login.clone().unwrap().user;
                let password = unread::secret::Secret::new(*value);
                smtp.login = Some(SmtpLogin::with_password(user, password));
            }
            other => panic!("{other}"),
        }
    }
    config
}

fn own() -> Allowed<AccountId> {
    everything().named(account().as_str()).unwrap()
}

async fn refusals(t: &TestApp, config: &Config, channel: Channel) -> Vec<LiveRefusal> {
    let installation = Installation {
        config,
        ctx: t.context(),
        examine: unread::doctor::find_broken,
        looks: &LiveCheckCache::default(),
    };
    let standing = installation
        .standing(&own(), channel, CheckCaller::Operator)
        .await
        .unwrap();
    assert!(!standing.live);
    standing.refusals
}

fn what(refusals: &[LiveRefusal]) -> Vec<&'static str> {
    refusals.iter().map(|refusal| refusal.what).collect()
}

async fn test_arrived(t: &TestApp, channel: Channel) {
    sqlx::query(
        "insert into test_recipients (person, account, channel, recipient_hash, verified_at)
         values ('ann', $1, $2, '\\x00', now())",
    )
    .bind(account().as_str())
    .bind(channel.as_str())
    .execute(t.pool())
    .await
    .unwrap();
}

fn wish() -> GoLiveRequest {
    GoLiveRequest {
        other_installation: OtherInstallation::None,
        consent: Some(Consent::Form),
        consent_note: String::new(),
        include_unread: None,
    }
}

async fn go(t: &TestApp, channel: Channel, wish: &GoLiveRequest) -> Result<(), ControlError> {
    let installation = Installation {
        config: t.config(),
        ctx: t.context(),
        examine: unread::doctor::find_broken,
        looks: &LiveCheckCache::default(),
    };
    let by = ChangeAuthor {
        name: "ann",
        now: t.now(),
    };
    installation.go(&own(), channel, wish, by).await
}

#[tokio::test]
async fn nothing_goes_out_before_a_person_goes_live_and_the_refusals_come_in_order() {
    Box::pin(run_test(async |t| {
        for n in 0..30 {
            t.answered(&format!("ann{n}@example.com"));
        }
        t.tick().await;
        for _ in 0..8 {
            t.advance(5).await;
            t.tick().await;
        }
        assert_eq!(
            t.mails().len() + t.texts().len(),
            0,
            "nothing was asked for"
        );
        assert!(t.reminders().await.is_empty());

        let all = config(
            t,
            &[("brand", "us"), ("public_url", "http://localhost:3000/")],
        );
        let told = refusals(t, &all, EMAIL).await;
        assert_eq!(what(&told), ["brand", "public_url", "test"]);
        assert!(
            told.iter()
                .all(|refusal| refusal.fix.contains("Set") || refusal.fix.contains("Send"))
        );
        let named = config(t, &[("public_url", "http://localhost:3000/")]);
        assert_eq!(
            what(&refusals(t, &named, EMAIL).await),
            ["public_url", "test"]
        );
        assert_eq!(what(&refusals(t, t.config(), EMAIL).await), ["test"]);
        assert!(matches!(
            go(t, EMAIL, &wish()).await,
            Err(ControlError::Conflict(_))
        ));
        test_arrived(t, EMAIL).await;
        assert_eq!(
            what(&refusals(t, t.config(), SMS).await),
            ["test"],
            "each channel has its own"
        );
        let locked_out = config(t, &[("smtp_password", "not the password")]);
        let told = refusals(t, &locked_out, EMAIL).await;
        assert_eq!(what(&told), ["channel"], "{told:?}");

        go(t, EMAIL, &wish()).await.unwrap();
        for _ in 0..8 {
            t.advance(5).await;
            t.tick().await;
        }
        assert_eq!(t.mails().len(), 0, "what was unread counts as read");
    }))
    .await;
}

#[tokio::test]
async fn what_an_agent_writes_after_going_live_is_reminded_of_and_dated_by_it() {
    run_test(async |t| {
        let before = t.answered("before@example.com");
        t.tick().await;
        t.advance(30).await;
        test_arrived(t, EMAIL).await;
        go(t, EMAIL, &wish()).await.unwrap();
        let after = t.answered("after@example.com");
        t.tick().await;
        let of = async |conversation: &str| {
            let reminders = t.reminders().await;
            reminders
                .into_iter()
                .find(|r| r.conversation == conversation)
        };
        assert!(of(&before).await.is_none());
        assert!(of(&after).await.is_some());

        // Still the same unread episode, and a message of today in it.
        t.advance(1).await;
        let wrote = t.now();
        t.world().agent_says(&before, "Are you still there?");
        t.tick().await;
        let reminder = of(&before).await.expect("the new message counts");
        assert_eq!(reminder.due_at, wrote + TimeDelta::minutes(10));
        t.advance(30).await;
        assert_eq!(t.mails().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn those_unread_now_are_included_by_their_number_only() {
    run_test(async |t| {
        for n in 0..3 {
            t.answered(&format!("ann{n}@example.com"));
        }
        t.tick().await;
        test_arrived(t, EMAIL).await;
        let including = |number| GoLiveRequest {
            include_unread: Some(number),
            ..wish()
        };
        // Neither fewer nor more: who writes another number does not know it.
        for other in [0, 2, 4, u64::MAX] {
            let refused = go(t, EMAIL, &including(other)).await;
            assert!(
                matches!(refused, Err(ControlError::Changed(ref said)) if said.contains('3')),
                "{other}: {refused:?}"
            );
        }
        go(t, EMAIL, &including(3)).await.unwrap();
        t.tick().await;
        t.advance(30).await;
        assert_eq!(t.mails().len(), 3);
        assert!(
            matches!(go(t, EMAIL, &wish()).await, Err(ControlError::Conflict(_))),
            "it is live already"
        );
    })
    .await;
}

#[tokio::test]
async fn before_every_skill_has_been_scanned_nobody_knows_the_number() {
    run_test(async |t| {
        // The stage has scanned them all once.
        sqlx::query("update scans set succeeded_at = null")
            .execute(t.pool())
            .await
            .unwrap();
        t.answered("ann@example.com");
        test_arrived(t, EMAIL).await;
        let including = |number| GoLiveRequest {
            include_unread: Some(number),
            ..wish()
        };
        let unknown = go(t, EMAIL, &including(0)).await;
        assert!(
            matches!(unknown, Err(ControlError::Conflict(ref said)) if said.contains("scanned")),
            "{unknown:?}"
        );
        t.tick().await;
        // One skill is not enough: the others may hold any number.
        sqlx::query(
            "update scans set succeeded_at = null where skill = (select max(skill) from scans)",
        )
        .execute(t.pool())
        .await
        .unwrap();
        let partly = go(t, EMAIL, &including(1)).await;
        assert!(
            matches!(partly, Err(ControlError::Conflict(_))),
            "{partly:?}"
        );
        go(t, EMAIL, &wish()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn back_from_live_nothing_goes_out_and_both_are_in_the_audit_trail() {
    run_test(async |t| {
        test_arrived(t, EMAIL).await;
        test_arrived(t, SMS).await;
        let unasked = GoLiveRequest {
            consent: None,
            ..wish()
        };
        assert!(
            matches!(go(t, SMS, &unasked).await, Err(ControlError::Invalid(_))),
            "consent"
        );
        go(t, EMAIL, &unasked).await.unwrap();
        t.answered("ann@example.com");
        t.tick().await;
        assert_eq!(t.reminders().await.len(), 1);
        let installation = Installation {
            config: t.config(),
            ctx: t.context(),
            examine: unread::doctor::find_broken,
            looks: &LiveCheckCache::default(),
        };
        let by = ChangeAuthor {
            name: "ann",
            now: t.now(),
        };
        installation.back(&own(), EMAIL, by).await.unwrap();
        t.advance(30).await;
        assert_eq!(t.mails().len(), 0);
        assert_eq!(t.reminders().await[0].told(), "cancelled (not_live)");
        let audit: Vec<(String, Value)> = sqlx::query_as(
            "select action, detail from audit where action like 'live.%' order by id",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        let actions: Vec<&str> = audit.iter().map(|(action, _)| action.as_str()).collect();
        assert_eq!(actions, ["live.begin", "live.end"]);
        assert_eq!(audit[0].1["other_installation"], json!("none"));
    })
    .await;
}

#[tokio::test]
async fn the_setting_waives_the_test_message_and_nothing_else() {
    run_test(async |t| {
        t.answered("before@example.com");
        t.tick().await;
        let by_setting = async |config: &Config| {
            let installation = Installation {
                config,
                ctx: t.context(),
                examine: unread::doctor::find_broken,
                looks: &LiveCheckCache::default(),
            };
            installation.go_by_setting(&t.clock, true).await.unwrap()
        };
        // What a person is asked, the settings must answer.
        let refused = by_setting(t.config()).await;
        let told: Vec<_> = refused.iter().map(|(_, refusals)| what(refusals)).collect();
        assert_eq!(
            told,
            [
                vec!["other_installation"],
                vec!["other_installation", "consent"]
            ]
        );
        assert!(
            refused
                .iter()
                .all(|(_, refusals)| refusals.iter().all(|r| r.fix.contains("Set UNREAD_")))
        );
        let answers = [
            ("other_installation", "stopped"),
            ("sms_consent", "They ticked a box when they ordered"),
        ];
        let nameless = config(t, &[&answers[..], &[("brand", "us")]].concat());
        let refused = by_setting(&nameless).await;
        assert_eq!(refused.len(), 2);
        assert!(
            refused
                .iter()
                .all(|(_, refusals)| what(refusals) == ["brand"])
        );
        t.advance(1).await;
        assert!(by_setting(&config(t, &answers)).await.is_empty());
        let audit: Vec<Value> = sqlx::query_scalar(
            "select detail from audit where action = 'live.begin' order by subject",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        assert_eq!(audit.len(), 2);
        assert_eq!(audit[0]["other_installation"], json!("stopped"));
        assert_eq!(audit[0]["consent"], json!(null), "e-mail needs none");
        assert_eq!(audit[1]["consent"], json!("otherwise"));
        assert_eq!(
            audit[1]["consent_note"],
            json!("They ticked a box when they ordered")
        );
        t.tick().await;
        t.advance(30).await;
        assert_eq!(t.mails().len(), 0, "what was unread is never included");
        t.answered("after@example.com");
        t.tick().await;
        t.advance(30).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_setting_leaves_alone_what_a_person_took_back() {
    run_test(async |t| {
        t.tick().await;
        test_arrived(t, EMAIL).await;
        let answered = config(
            t,
            &[("other_installation", "none"), ("sms_consent", "form")],
        );
        let installation = Installation {
            config: &answered,
            ctx: t.context(),
            examine: unread::doctor::find_broken,
            looks: &LiveCheckCache::default(),
        };
        let by_setting = async || installation.go_by_setting(&t.clock, true).await.unwrap();
        assert!(by_setting().await.is_empty());
        let by = ChangeAuthor {
            name: "ann",
            now: t.now(),
        };
        installation.back(&own(), EMAIL, by).await.unwrap();
        for _ in 0..2 {
            t.advance(2).await;
            let refused = by_setting().await;
            assert_eq!(refused.len(), 1, "{refused:?}");
            assert_eq!(what(&refused[0].1), ["taken_back"]);
            assert!(refused[0].1[0].said.starts_with("ann took it offline"));
        }
        let live = unread::db::live::find(t.pool(), &account(), EMAIL).await;
        assert!(live.unwrap().is_none());
        // A person goes live again, and that is forgotten.
        go(t, EMAIL, &wish()).await.unwrap();
        assert!(by_setting().await.is_empty());
        let back = unread::db::live::taken_back(t.pool(), &account(), EMAIL).await;
        assert!(back.unwrap().is_none());
    })
    .await;
}

static LOOKS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// Stands for a provider that refuses the log-in, and counts how often it was tried.
fn refusing<'a>(
    _: &'a Config,
    _: &'a unread::jobs::context::Context,
    _: &'a unread::config::AccountSettings,
    channel: Channel,
) -> futures_util::future::BoxFuture<'a, Vec<LiveRefusal>> {
    if channel == EMAIL {
        LOOKS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    Box::pin(async {
        vec![LiveRefusal {
            what: "channel",
            said: "The mail server refuses the log-in.".to_owned(),
            fix: "Set SMTP_PASS.".to_owned(),
        }]
    })
}

#[tokio::test]
async fn what_stands_in_the_way_is_tried_less_and_less_often_and_by_one_process_at_a_time() {
    run_test(async |t| {
        t.tick().await;
        let answered = config(
            t,
            &[("other_installation", "none"), ("sms_consent", "form")],
        );
        let installation = Installation {
            config: &answered,
            ctx: t.context(),
            examine: refusing,
            looks: &LiveCheckCache::default(),
        };
        let looks = async |first| {
            let before = LOOKS.load(std::sync::atomic::Ordering::Relaxed);
            installation.go_by_setting(&t.clock, first).await.unwrap();
            LOOKS.load(std::sync::atomic::Ordering::Relaxed) - before
        };
        // Three processes that start at once, and then look each minute.
        assert_eq!(
            (looks(true).await, looks(true).await, looks(true).await),
            (1, 0, 0)
        );
        let mut minutes = Vec::new();
        for minute in 1..=240 {
            t.clock.advance(TimeDelta::minutes(1));
            for _ in 0..3 {
                if looks(false).await > 0 {
                    minutes.push(minute);
                }
            }
        }
        assert_eq!(minutes, [1, 3, 7, 15, 31, 63, 123, 183]);
        // A new process may have the right password: it need not wait out the hour.
        assert_eq!(looks(true).await, 1);
        assert_eq!(looks(true).await, 0, "but not all of them at once");
        t.clock.advance(TimeDelta::minutes(1));
        assert_eq!(looks(false).await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_would_happen_is_told_from_liveperson_as_it_is_now_and_changes_nothing() {
    // Over plain http, so that the pages' cookies need no proxy.
    let setup = Setup {
        settings: vec![("UNREAD_PUBLIC_URL", "http://unread.shop.example")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        not_live(t.pool()).await;
        t.rule(EMAIL, |rule| {
            rule.steps[0].after = TimeDelta::minutes(30);
        })
        .await;
        for n in 0..3 {
            t.answered(&format!("ann{n}@example.com"));
        }
        t.answered("not an address");
        let read = t.answered("ben@example.com");
        t.world().consumer_reads(&read);
        let preview = async || {
            let installation = Installation {
                config: t.config(),
                ctx: t.context(),
                examine: unread::doctor::find_broken,
                looks: &LiveCheckCache::default(),
            };
            let standing = installation.standing(&own(), EMAIL, CheckCaller::Operator).await.unwrap();
            let preview = standing.preview.expect("LivePerson answers");
            let effect = &preview.effect;
            let told = (effect.within_the_hour, effect.later, preview.without_address);
            assert_eq!(preview.reminded(), effect.within_the_hour + effect.later);
            (preview.unread, told)
        };
        // No scan has seen them yet.
        assert_eq!(preview().await, (4, (3, 0, 1)));
        t.rule(EMAIL, |rule| {
            rule.steps[0].after = TimeDelta::hours(3);
        })
        .await;
        assert_eq!(preview().await, (4, (0, 3, 1)));
        t.tick().await;
        assert_eq!(preview().await, (4, (0, 3, 1)), "what was decided meanwhile does not count");
        assert!(t.reminders().await.is_empty());

        // The page says the same, and what was written stays when it is refused.
        test_arrived(t, SMS).await;
        let boss = t.person(unread::domain::access::Role::Editor).await;
        let page = boss.get("/live?account=12345678&channel=email").await.text;
        assert!(page.contains("<strong>0 customers</strong> would be reminded in the next hour, 3 customers later; 1 has no address"), "{page}");
        assert!(page.contains("No test message by E-mail") && page.contains("href=\"/rules\""), "{page}");
        let form = [
            ("account", "12345678"),
            ("channel", "sms"),
            ("other_installation", "stopped"),
            ("consent", "otherwise"),
            ("consent_note", " "),
            ("from", "now"),
            ("unread", "0"),
        ];
        let refused = boss.form("/live", &form).await;
        assert_eq!(refused.status, 409, "{}", refused.text);
        assert!(refused.text.contains("say how customers agreed"), "{}", refused.text);
        assert!(refused.text.contains("value=\"stopped\" required checked"), "{}", refused.text);
    })
    .await;
}

static EXAMINED: AtomicUsize = AtomicUsize::new(0);

/// Counts how often it is asked. The second time nothing is wrong.
fn counted<'a>(
    _: &'a Config,
    _: &'a Context,
    _: &'a unread::config::AccountSettings,
    _: Channel,
) -> BoxFuture<'a, Vec<LiveRefusal>> {
    Box::pin(async {
        let wrong = (EXAMINED.fetch_add(1, Ordering::Relaxed) == 0).then(|| LiveRefusal {
            what: "channel",
            said: "It does not answer.".to_owned(),
            fix: "Wait.".to_owned(),
        });
        tokio::task::yield_now().await;
        wrong.into_iter().collect()
    })
}

#[tokio::test]
async fn liveperson_and_the_provider_are_asked_once_a_minute_and_for_operators_only() {
    run_test(async |t| {
        let installation = Installation {
            config: t.config(),
            ctx: t.context(),
            examine: counted,
            looks: &LiveCheckCache::default(),
        };
        let standing = async |asker| {
            let own = own();
            let standing = Box::pin(installation.standing(&own, EMAIL, asker));
            standing.await.unwrap()
        };
        let asked = || EXAMINED.load(Ordering::Relaxed);
        test_arrived(t, EMAIL).await;

        let told = standing(CheckCaller::Viewer).await;
        assert_eq!((asked(), told.looked_at), (0, None));
        assert!(told.preview.is_none() && told.refusals.is_empty());

        let (one, other, _) = tokio::join!(
            standing(CheckCaller::Operator),
            standing(CheckCaller::Operator),
            standing(CheckCaller::Viewer)
        );
        assert_eq!(asked(), 1, "one at a time, and the other is told the same");
        assert_eq!(what(&one.refusals), ["channel"]);
        assert_eq!(one.refusals, other.refusals);
        let told = standing(CheckCaller::Viewer).await;
        assert_eq!((asked(), told.looked_at), (1, Some(t.now())));
        assert!(told.preview.is_some());
        assert_eq!(told.refusals, one.refusals);

        // What did not work is tried anew when somebody wants to go live, and what works is believed for a minute.
        let by = ChangeAuthor {
            name: "ann",
            now: t.now(),
        };
        let too_few = GoLiveRequest {
            include_unread: Some(0),
            ..wish()
        };
        t.answered("ann@example.com");
        t.tick().await;
        for _ in 0..2 {
            let gone = Box::pin(installation.go(&own(), EMAIL, &too_few, by)).await;
            assert!(matches!(gone, Err(ControlError::Changed(_))), "{gone:?}");
            assert_eq!(asked(), 2);
        }
        assert!(standing(CheckCaller::Operator).await.refusals.is_empty());
        assert_eq!(asked(), 2);
        t.advance(1).await;
        standing(CheckCaller::Viewer).await;
        assert_eq!(asked(), 2);
        standing(CheckCaller::Operator).await;
        assert_eq!(asked(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_page_for_who_may_only_look_says_who_can_ask() {
    let setup = Setup {
        settings: vec![("UNREAD_PUBLIC_URL", "http://unread.shop.example")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        not_live(t.pool()).await;
        let page = "/live?account=12345678&channel=email";
        let viewer = t.person(unread::domain::access::Role::Viewer).await;
        let seen = viewer.get(page).await.text;
        assert!(seen.contains("have not been checked yet"), "{seen}");
        assert!(!seen.contains("Check again"), "{seen}");
        let boss = t.person(unread::domain::access::Role::Editor).await;
        let seen = boss.get(page).await.text;
        assert!(seen.contains("Check again"), "{seen}");
        let seen = viewer.get(page).await.text;
        assert!(
            seen.contains("Users who may pause and resume can check again"),
            "{seen}"
        );
        assert!(
            seen.contains("would be reminded in the next hour"),
            "{seen}"
        );
    })
    .await;
}
