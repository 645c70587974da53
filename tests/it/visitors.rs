//! The pages that links in reminders lead to: in the language of the message, and with a way back from a no that was not meant.

use unread::domain::ids::Channel;
use unread::sandbox::ACCOUNT;
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{Setup, TestApp, run_test, run_test_with};

const ANN: &str = "ann@example.net";
const PHONE: &str = "+12025550143";

async fn post(t: &TestApp, path: &str) -> (u16, String) {
    let answer = t.http.post(format!("{}{path}", t.web)).send().await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// What a browser that asks for these languages is shown.
async fn page(t: &TestApp, path: &str, languages: &str) -> (u16, String) {
    let get = t.http.get(format!("{}{path}", t.web));
    let answer = get.header("accept-language", languages).send().await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn suppressed(t: &TestApp) -> Vec<(String, String)> {
    sqlx::query_as("select reason, source from suppressions order by account, channel")
        .fetch_all(t.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn pages_are_in_the_language_of_the_message() {
    run_test(async |t| {
        let readers = [
            (
                "de-AT",
                "de",
                "Erinnerungen abbestellen?",
                "Erinnerungen abbestellt",
            ),
            (
                "fr",
                "fr",
                "Ne plus recevoir ces rappels",
                "Vous ne recevrez plus de rappels",
            ),
            (
                "pt-PT",
                "pt-BR",
                "Deixar de receber estes lembretes?",
                "Você não vai mais receber lembretes",
            ),
            (
                "ja-JP",
                "ja",
                "リマインダーの配信を停止しますか？",
                "リマインダーの配信を停止しました",
            ),
            ("he-IL", "en", "Stop these reminders?", "Reminders stopped"),
        ];
        for (at, (spoken, ..)) in readers.iter().enumerate() {
            let address = format!("reader{at}@example.net");
            let opening = t
                .world()
                .conversation(ACCOUNT, CUSTOMER_CARE)
                .consumer("Ann", "Lee");
            let chat = opening.email(&address).language(spoken).start();
            t.world().consumer_says(&chat, "Do you have it in green?");
            t.world().agent_says(&chat, "Yes, we do.");
        }
        t.tick().await;
        t.advance(10).await;
        let mails = t.mails();
        assert_eq!(mails.len(), readers.len());
        for (at, (spoken, language, ask, stopped)) in readers.iter().enumerate() {
            let address = format!("reader{at}@example.net");
            let mail = mails
                .iter()
                .find(|mail| mail.to == [address.as_str()])
                .unwrap();
            let lang = format!("<html lang=\"{language}\"");
            let html = mail.html.as_deref().unwrap();
            assert!(html.contains(&lang), "{spoken}");
            let link = mail.list_unsubscribe()[0].to_owned();
            let path = link.strip_prefix(&t.web).unwrap();
            // Whatever the browser asks for.
            let (status, asked) = page(t, path, "sv").await;
            assert_eq!(status, 200);
            assert!(asked.contains(&lang) && asked.contains(ask), "{asked}");
            let (_, done) = post(t, path).await;
            assert!(done.contains(&lang) && done.contains(stopped), "{done}");
            let reminders = t.reminders().await;
            let back = format!(
                "/r/{}",
                reminders
                    .iter()
                    .find(|r| path.contains(&r.token))
                    .unwrap()
                    .token
            );
            let (_, message) = page(t, &back, "sv").await;
            assert!(message.contains(&lang), "{message}");
        }
        // A word that nobody knows is of no message.
        let unknown = format!("/u/{}", unread::hashing::token());
        let (status, gone) = page(t, &unknown, "sv-SE,sv;q=0.9").await;
        assert_eq!(status, 404);
        assert!(
            gone.contains("<html lang=\"sv\"")
                && gone.contains("Den här länken fungerar inte längre"),
            "{gone}"
        );
        // One that has expired still knows which it was.
        let german = mails.iter().find(|mail| mail.to == ["reader0@example.net"]);
        let german = german.unwrap().html.clone().unwrap();
        let (_, rest) = german.split_once(&format!("{}/r/", t.web)).unwrap();
        let expired = format!("/r/{}", &rest[..22]);
        t.advance(31 * 24 * 60).await;
        let (status, gone) = page(t, &expired, "sv").await;
        assert_eq!(status, 404);
        assert!(gone.contains("funktioniert nicht mehr"), "{gone}");
        t.mails();
    })
    .await;
}

#[tokio::test]
async fn a_no_that_was_not_meant_is_taken_back_and_no_other() {
    run_test(async |t| {
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        let link = t.mails()[0].list_unsubscribe()[0].to_owned();
        let out = link.strip_prefix(&t.web).unwrap();
        let undo = format!("{out}/undo");
        let (status, done) = post(t, out).await;
        assert_eq!(status, 200);
        assert!(done.contains(&format!("action=\"{undo}\"")), "{done}");
        assert_eq!(suppressed(t).await.len(), 1);
        // The page tells how it stands, also later, and fetching the undo's address changes nothing.
        let (_, again) = page(t, out, "en").await;
        assert!(again.contains("I did not mean that"), "{again}");
        assert_eq!(t.get(&undo).await.0, 405);
        assert_eq!(suppressed(t).await.len(), 1);
        let (_, undone) = post(t, &undo).await;
        assert!(undone.contains("You get reminders again"), "{undone}");
        assert_eq!(suppressed(t).await, []);
        // Twice is once.
        assert_eq!(post(t, &undo).await.0, 200);

        // What was said in another way stays: a complaint, an operator's block.
        for reason in ["complaint", "blocked"] {
            assert_eq!(post(t, out).await.0, 200);
            sqlx::query("update suppressions set reason = $1, source = 'operator'")
                .bind(reason)
                .execute(t.pool())
                .await
                .unwrap();
            let (_, told) = page(t, out, "en").await;
            assert!(
                told.contains("Reminders stopped") && !told.contains("I did not mean"),
                "{told}"
            );
            let (_, blocked) = post(t, &undo).await;
            assert!(blocked.contains("Reminders stay off"), "{blocked}");
            assert_eq!(
                suppressed(t).await,
                [(reason.to_owned(), "operator".to_owned())]
            );
            sqlx::query("delete from suppressions")
                .execute(t.pool())
                .await
                .unwrap();
        }
        let unknown = format!("/u/{}/undo", unread::hashing::token());
        assert_eq!(post(t, &unknown).await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_back_reaches_as_far_as_the_no() {
    let everything = Setup {
        settings: vec![("UNREAD_OPT_OUT_REACH", "everything")],
        ..Setup::default()
    };
    run_test_with(everything, async |t| {
        t.rule_over(&[Channel::Email, Channel::Sms], |rule| {
            rule.caps.gap = chrono::TimeDelta::zero();
        })
        .await;
        let opening = t
            .world()
            .conversation(ACCOUNT, CUSTOMER_CARE)
            .consumer("Ann", "Lee");
        let chat = opening.email(ANN).phone(PHONE).start();
        t.world().consumer_says(&chat, "Do you have it in green?");
        t.world().agent_says(&chat, "Yes, we do.");
        t.tick().await;
        t.advance(10).await;
        let link = t.mails()[0].list_unsubscribe()[0].to_owned();
        let out = link.strip_prefix(&t.web).unwrap();
        post(t, out).await;
        let stopped = suppressed(t).await;
        assert!(!stopped.is_empty());
        post(t, &format!("{out}/undo")).await;
        assert_eq!(suppressed(t).await, []);
        t.texts();
        t.mails();
    })
    .await;
}
