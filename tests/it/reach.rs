//! How far a no reaches by each setting, what START lifts of it, and that an answer counts once whoever hears it at the same moment.

use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use unread::channel::optout::Meaning;
use unread::control::opt_outs::{self, InboundText, Policy, TextEffect};
use unread::db;
use unread::db::suppressions::{AddressHash, Source};
use unread::domain::contact::Suppression;
use unread::domain::ids::{AccountId, Channel};
use unread::domain::opt_out::{No, Reach};

use crate::answers::{SUPPRESSED, count, sid};
use crate::harness::{migrated, noon};

const ACCOUNTS: [&str; 3] = ["11111111", "22222222", "33333333"];
const NUMBER: AddressHash = [1; 16];
const MAIL: AddressHash = [2; 16];
const OURS: &str = "+15005550006";
const THEIRS: &str = "+15005550007";
const SERVICE: &str = "MG00000000000000000000000000000001";

fn id(n: usize) -> AccountId {
    ACCOUNTS[n].parse().unwrap()
}

fn policy(reach: Reach, usual: Option<&str>) -> Policy {
    Policy {
        reach,
        usual_senders: (0..3).map(|n| (id(n), usual.map(str::to_owned))).collect(),
    }
}

fn answer(meaning: Meaning, sid: &str) -> InboundText {
    InboundText {
        sid: sid.to_owned(),
        from: NUMBER,
        moves: Vec::new(),
        to: OURS.to_owned(),
        messaging_service: None,
        accounts: (0..3).map(id).collect(),
        meaning,
        language: None,
    }
}

/// Account 1 uses the usual sender, 2 another number, 3 a Messaging Service. In account 1 the consumer was reminded at both addresses.
async fn furnish(pool: &PgPool) {
    for (account, sms) in ACCOUNTS.iter().zip([
        json!({}),
        json!({ "sender": THEIRS }),
        json!({ "sender": SERVICE }),
    ]) {
        let settings = json!({ "steps": [{ "channel": "sms" }], "channels": { "sms": sms } });
        sqlx::query("insert into accounts (id, created_at) values ($1, now())")
            .bind(account)
            .execute(pool)
            .await
            .unwrap();
        sqlx::query("insert into rules (account, enabled, settings, updated_at) values ($1, true, $2, now())")
            .bind(account)
            .bind(settings)
            .execute(pool)
            .await
            .unwrap();
    }
    for (channel, hash, conversation) in [("sms", NUMBER, "c1"), ("email", MAIL, "c2")] {
        sqlx::query(
            "insert into conversations (account, id, skill, started_at, open, read_state, seen_at, changed_at)
             values ($1, $2, -1, now(), true, 'read', now(), now())",
        )
        .bind(ACCOUNTS[0])
        .bind(conversation)
        .execute(pool)
        .await
        .unwrap();
        sqlx::query("insert into consumers (account, kind, consumer, conversation) values ($1, 'liveperson', 'ann', $2)")
            .bind(ACCOUNTS[0])
            .bind(conversation)
            .execute(pool)
            .await
            .unwrap();
        sqlx::query(
            "insert into reminders (account, conversation, episode, channel, step, skill, state, episode_since, due_at, deadline,
                 token, recipient_hash, created_at)
             values ($1, $2, 'e', $3, 1, -1, 'sent', now(), now(), now(), $2, $4, now())",
        )
        .bind(ACCOUNTS[0])
        .bind(conversation)
        .bind(channel)
        .bind(hash.as_slice())
        .execute(pool)
        .await
        .unwrap();
    }
}

/// What is suppressed, as `1s` for account 1 and SMS.
async fn suppressed(pool: &PgPool) -> String {
    let rows: Vec<String> = sqlx::query_scalar(
        "select left(account, 1) || left(channel, 1) from suppressions where reason <> 'bad_address' order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.join(" ")
}

/// Who says no, in account 1 unless it is a text message.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// To the usual number.
    Stop,
    /// To account 2's number.
    StopToAnother,
    /// To a number of account 3's Messaging Service.
    StopToService,
    /// To a number that no rule names.
    StopToUnknown,
    UnsubscribeMail,
    UnsubscribeSms,
    Complaint,
}

#[tokio::test]
async fn a_no_reaches_as_far_as_the_setting_says() {
    use Reach::{Everything, Installation, Sender};
    use Said::{
        Complaint, Stop, StopToAnother, StopToService, StopToUnknown, UnsubscribeMail,
        UnsubscribeSms,
    };
    let all = "1e 1s 2e 2s 3e 3s";
    let table = [
        // A number belongs to a person, not to one of the brands that share an installation.
        (Installation, Stop, "1s 2s 3s"),
        (Installation, StopToAnother, "1s 2s 3s"),
        (Installation, StopToService, "1s 2s 3s"),
        (Installation, StopToUnknown, "1s 2s 3s"),
        // A link is in a mail of one brand, for one address.
        (Installation, UnsubscribeMail, "1e"),
        (Installation, UnsubscribeSms, "1s"),
        (Installation, Complaint, "1e"),
        // As Twilio blocks it: by sender or Messaging Service.
        (Sender, Stop, "1s"),
        (Sender, StopToAnother, "2s"),
        (Sender, StopToService, "3s"),
        // Better all than none.
        (Sender, StopToUnknown, "1s 2s 3s"),
        (Sender, UnsubscribeMail, "1e"),
        (Sender, UnsubscribeSms, "1s"),
        (Sender, Complaint, "1e"),
        (Everything, Stop, all),
        (Everything, StopToAnother, all),
        (Everything, StopToService, all),
        (Everything, StopToUnknown, all),
        (Everything, UnsubscribeMail, all),
        (Everything, UnsubscribeSms, all),
        (Everything, Complaint, all),
    ];
    let db = migrated().await;
    let pool = &db.pool;
    furnish(pool).await;
    for (n, (reach, said, expected)) in table.into_iter().enumerate() {
        let sid = sid(u32::try_from(n).unwrap());
        say(pool, &policy(reach, Some(OURS)), said, &sid).await;
        assert_eq!(suppressed(pool).await, expected, "{reach:?}, {said:?}");
        sqlx::query("delete from suppressions")
            .execute(pool)
            .await
            .unwrap();
    }
}

async fn say(pool: &PgPool, policy: &Policy, said: Said, message: &str) {
    let text = |to: &str, service: Option<&str>| InboundText {
        to: to.to_owned(),
        messaging_service: service.map(str::to_owned),
        ..answer(Meaning::Stop, message)
    };
    let (no, channel, hash, reason) = match said {
        Said::UnsubscribeMail => (No::Unsubscribe, Channel::Email, MAIL, Suppression::OptedOut),
        Said::UnsubscribeSms => (No::Unsubscribe, Channel::Sms, NUMBER, Suppression::OptedOut),
        Said::Complaint => (No::Complaint, Channel::Email, MAIL, Suppression::Complaint),
        Said::Stop => return hears(pool, policy, &text(OURS, None)).await,
        Said::StopToAnother => return hears(pool, policy, &text(THEIRS, None)).await,
        Said::StopToService => {
            return hears(pool, policy, &text("+15005550008", Some(SERVICE))).await;
        }
        Said::StopToUnknown => return hears(pool, policy, &text("+15005550009", None)).await,
    };
    let mut conn = pool.acquire().await.unwrap();
    let why = (reason, Source::UnsubscribeLink);
    opt_outs::refuse(&mut conn, policy, no, (&id(0), channel, hash), why, noon())
        .await
        .unwrap();
}

async fn hears(pool: &PgPool, policy: &Policy, answer: &InboundText) {
    let heard = opt_outs::receive_text(pool, policy, answer, noon())
        .await
        .unwrap();
    assert_eq!(heard, TextEffect::Stopped);
}

#[tokio::test]
async fn start_lifts_what_stop_set_wherever_it_reached_and_nothing_else() {
    use Suppression::{BadAddress, Blocked, Complaint, OptedOut};
    let table = [
        (OptedOut, Source::SmsKeyword, true),
        (OptedOut, Source::SmsText, true),
        // Twilio's 21610: it has heard STOP, and lifts it by START.
        (OptedOut, Source::Provider, true),
        (OptedOut, Source::UnsubscribeLink, false),
        (OptedOut, Source::Operator, false),
        (OptedOut, Source::Import, false),
        (OptedOut, Source::MailEvent, false),
        (BadAddress, Source::Provider, false),
        (Blocked, Source::Operator, false),
        // Twilio's 30640, a known litigant.
        (Blocked, Source::Provider, false),
        (Complaint, Source::MailEvent, false),
    ];
    let db = migrated().await;
    let pool = &db.pool;
    let policy = policy(Reach::Installation, None);
    let mut n = 0;
    let mut hear = async |meaning| {
        n += 1;
        opt_outs::receive_text(pool, &policy, &answer(meaning, &sid(n)), noon())
            .await
            .unwrap()
    };
    for (reason, source, lifted) in table {
        // A STOP between does not make it the STOP's.
        for between in [None, Some(Meaning::Stop)] {
            let mut conn = pool.acquire().await.unwrap();
            db::suppressions::add(
                &mut conn,
                &[id(0)],
                Channel::Sms,
                &NUMBER,
                (reason, source),
                noon(),
            )
            .await
            .unwrap();
            drop(conn);
            if let Some(meaning) = between {
                hear(meaning).await;
            }
            hear(Meaning::Start).await;
            // A STOP takes the place of a bad address, which is no person's wish.
            let lifted = lifted || (between.is_some() && reason == BadAddress);
            assert_eq!(
                count(pool, SUPPRESSED).await,
                i64::from(!lifted),
                "{reason:?} {source:?} {between:?}"
            );
            sqlx::query("delete from suppressions")
                .execute(pool)
                .await
                .unwrap();
        }
    }
    let everywhere = self::policy(Reach::Everything, None);
    furnish(pool).await;
    hears(pool, &everywhere, &answer(Meaning::Stop, &sid(101))).await;
    assert_eq!(count(pool, SUPPRESSED).await, 6);
    opt_outs::receive_text(
        pool,
        &everywhere,
        &answer(Meaning::Start, &sid(102)),
        noon(),
    )
    .await
    .unwrap();
    assert_eq!(
        count(pool, SUPPRESSED).await,
        0,
        "also at the consumer's other addresses"
    );
}

#[tokio::test]
async fn an_answer_that_arrives_many_times_at_once_counts_once() {
    let db = migrated().await;
    let policy = policy(Reach::Installation, None);
    let heard = async |meaning, n| {
        let answer = answer(meaning, &sid(n));
        let all =
            join_all((0..8).map(|_| opt_outs::receive_text(&db.pool, &policy, &answer, noon())))
                .await;
        let first = |one: &TextEffect| *one != TextEffect::Repeated;
        all.into_iter().map(Result::unwrap).filter(first).count()
    };
    assert_eq!(heard(Meaning::Stop, 1).await, 1);
    assert_eq!(heard(Meaning::Start, 2).await, 1);
    assert_eq!(count(&db.pool, SUPPRESSED).await, 0);
    assert_eq!(
        heard(Meaning::None, 3).await,
        8,
        "what does nothing is not remembered"
    );
    assert_eq!(
        count(&db.pool, "select count(*) from answered_messages").await,
        2
    );
}
