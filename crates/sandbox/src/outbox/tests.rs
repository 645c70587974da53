use std::fmt::Write;
use std::time::Duration;

use chrono::DateTime;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn text(sid: &str, to: &str) -> Text {
    let first = StatusChange {
        at: at(0),
        status: "queued".into(),
        error_code: None,
    };
    Text {
        sid: sid.into(),
        to: to.into(),
        body: "Hello".into(),
        history: vec![first],
        ..Text::default()
    }
}

fn mail(outbox: &Outbox, to: &str, raw: &str) -> Arc<Mail> {
    let id = outbox.accept_mail(
        at(0),
        "from@example.com".into(),
        vec![to.into()],
        raw.replace('\n', "\r\n").into_bytes(),
    );
    match outbox.message(id) {
        Some(OutboxMessage::Mail(mail)) => mail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_reminder_is_read_as_a_mail_program_would() {
    let outbox = Outbox::default();
    let mail = mail(
        &outbox,
        "dana@customer.example",
        include_str!("../../../../tests/fixtures/channels/email-reminder.txt"),
    );
    assert_eq!(
        mail.message_id(),
        Some("<rem.01JD7Z6V3T9Q4E2M8K5R0N1W6B.1@notify.acme.example>")
    );
    assert_eq!(mail.subject(), "Sam from Acme replied to you");
    assert_eq!(
        mail.list_unsubscribe(),
        [
            "https://reminders.example.com/u/o7RkV2mQx1",
            "mailto:unsubscribe@notify.acme.example?subject=o7RkV2mQx1"
        ]
    );
    let text = mail.text.as_deref().unwrap();
    assert!(
        text.starts_with("Hi Dana,\r\n") && text.contains("https://r.acme.example/m/7Kq2ZxT9"),
        "{text}"
    );
    let html = mail.html.as_deref().unwrap();
    assert!(
        html.contains(r#"<a href="https://r.acme.example/m/7Kq2ZxT9">Read and answer it</a>"#),
        "{html}"
    );
    assert_eq!(mail.header("x-auto-response-suppress"), Some("All"));
}

#[test]
fn encodings_and_folded_headers_are_decoded() {
    let outbox = Outbox::default();
    let mail = mail(
        &outbox,
        "a@example.com",
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_an?= =?utf-8?b?IETDoW5h?=\n to you\nContent-Type: multipart/mixed; boundary=outer\n\n\
         preamble\n--outer\nContent-Type: multipart/alternative; boundary=\"in ner\"\n\n--in ner\n\
         Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9 =3D =\nsoft\n\
         --in ner\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPGI+8J+R\njTwvYj4=\n--in ner--\n\
         --outer\nContent-Type: text/plain\n\nan attachment\n--outer--\n",
    );
    assert_eq!(mail.subject(), "Grüße an Dána to you");
    assert_eq!(mail.text.as_deref(), Some("café = soft"));
    assert_eq!(mail.html.as_deref(), Some("<b>👍</b>"));
}

#[test]
fn broken_mails_are_shown_as_they_are() {
    let outbox = Outbox::default();
    for raw in [
        "",
        "\n",
        "no header at all",
        ": \n\n",
        " folded first\n\n",
        "Subject: =?utf-8?q?open\nContent-Type: multipart/mixed; boundary=\n\n--\n--",
        "Content-Type: multipart/mixed; boundary=x\n\n--x",
        "Content-Type: text/plain; charset=\"open\n\n=",
        "Content-Transfer-Encoding: base64\n\n????",
    ] {
        mail(&outbox, "a@example.com", raw);
    }
    let mail = mail(
        &outbox,
        "a@example.com",
        "Subject: =?x?= =?utf-8?z?x?=\nContent-Transfer-Encoding: base64\n\nnot base64!",
    );
    assert_eq!(mail.subject(), "=?x?= =?utf-8?z?x?=");
    assert_eq!(mail.text.as_deref(), Some("not base64!"));
}

#[test]
fn multiparts_nested_without_end_are_not_followed() {
    let mut raw = String::new();
    for depth in 0..5_000 {
        write!(
            raw,
            "Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"
        )
        .unwrap();
    }
    assert_eq!(mail(&Outbox::default(), "a@example.com", &raw).text, None);
}

#[test]
fn the_oldest_messages_go_first_and_ids_stay_valid() {
    let outbox = Outbox::new(OutboxOptions {
        capacity: 2,
        keep_bodies: true,
    });
    for sid in ["SM1", "SM2", "SM3"] {
        outbox.accept_text(text(sid, "+14155550123"));
    }
    assert!(outbox.text("SM1").is_none() && outbox.message(1).is_none());
    assert_eq!(outbox.text("SM2").unwrap().id, 2);
    assert_eq!(outbox.message(3).unwrap().id(), 3);
    assert_eq!(
        outbox.counts(),
        Counts {
            mails: 0,
            texts: 3,
            dropped: 1
        }
    );
    outbox.clear();
    assert!(outbox.is_empty() && outbox.text("SM3").is_none());
    assert_eq!(outbox.accept_text(text("SM4", "+14155550123")), 4);
    assert_eq!(outbox.texts_to("+14155550123").len(), 1);
}

#[test]
fn bodies_can_be_left_out_for_load() {
    let outbox = Outbox::new(OutboxOptions {
        keep_bodies: false,
        ..OutboxOptions::default()
    });
    let mail = mail(&outbox, "A@example.com", "Message-ID: <1@x>\n\nbody");
    assert_eq!(
        (
            mail.raw.len(),
            mail.size,
            mail.text.as_deref(),
            mail.message_id()
        ),
        (0, 25, None, Some("<1@x>"))
    );
    outbox.accept_text(text("SM1", "+1"));
    assert_eq!(outbox.text("SM1").unwrap().body, "");
    assert_eq!(outbox.mails_to("a@EXAMPLE.com").len(), 1);
}

#[test]
fn the_history_of_a_text_grows() {
    let outbox = Outbox::default();
    outbox.accept_text(text("SM1", "+1"));
    let before = outbox.text("SM1").unwrap();
    let failed = StatusChange {
        at: at(5),
        status: "failed".into(),
        error_code: Some(30034),
    };
    outbox.change_text("SM1", Some("+14155550100"), failed.clone());
    outbox.change_text("SM9", None, failed.clone());
    let after = outbox.text("SM1").unwrap();
    assert_eq!((before.status(), after.status()), ("queued", "failed"));
    assert_eq!(after.history[1], failed);
    assert_eq!(after.from.as_deref(), Some("+14155550100"));
}

#[tokio::test]
async fn waiting_ends_with_the_change_or_with_the_time() {
    let outbox = Outbox::default();
    let writer = outbox.clone();
    let waiting = outbox.wait_for(|outbox| outbox.counts().texts == 2, Duration::from_mins(2));
    let two_texts = async {
        writer.accept_text(text("SM1", "+1"));
        tokio::task::yield_now().await;
        writer.accept_text(text("SM2", "+1"));
    };
    let (came_true, ()) = tokio::join!(waiting, two_texts);
    assert!(came_true);
    assert!(
        !outbox
            .wait_for(|outbox| outbox.counts().mails > 0, Duration::from_millis(5))
            .await
    );
}
