//! From an unread message to a message in the mailbox, through every real part: what is sent, when, and why not.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;
use unread::domain::access::{Permission, Role};
use unread::domain::ids::Channel::{Email, Sms};
use unread::domain::quiet::Window;
use unread::domain::rule::{RuleSettings, Template};
use unread::sandbox::ACCOUNT;
use unread::sandbox::world::{CUSTOMER_CARE, Person};

use crate::harness::{Setup, eventually, noon, run_test, run_test_with, step};

const ANN: &str = "ann@example.net";
const PHONE: &str = "+12025550143";

#[tokio::test]
async fn an_unread_message_is_reminded_of_once_at_its_due_moment() {
    run_test(async |t| {
        let written = t.now();
        let chat = t.answered(ANN);
        t.tick().await;
        let due = written + TimeDelta::minutes(10);
        assert_eq!(t.reminders().await[0].due_at, due);

        t.advance_by(due - t.now() - TimeDelta::seconds(1)).await;
        assert!(t.mails().is_empty(), "not before it is due");
        t.advance_by(TimeDelta::seconds(1)).await;
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, [ANN]);
        assert_eq!(t.reminders().await[0].sent_at, Some(due));

        for _ in 0..3 {
            t.tick().await;
            t.advance(60).await;
        }
        assert!(t.mails().is_empty(), "once");
        assert_eq!(t.story(&chat).await, ["sent", "scheduled"]);
        assert_eq!(
            t.decisions(&chat).await,
            [
                "scan schedule scheduled",
                "deliver send due",
                // The second step.
                "scan schedule scheduled"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_reminder_leads_back_and_out_and_quotes_nothing() {
    run_test(async |t| {
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        let mails = t.mails();
        let (mail, token) = (&mails[0], &t.reminders().await[0].token);
        let text = mail.text.as_deref().unwrap();
        let html = mail.html.as_deref().unwrap();
        let link = format!("{}/r/{token}", t.web);
        assert!(text.contains(&link) && html.contains(&link), "{text}");
        let way_out = mail.list_unsubscribe()[0];
        assert!(way_out.starts_with(&format!("{}/u/", t.web)) && way_out.ends_with(token.as_str()));
        assert!(text.contains(way_out), "{text}");
        assert_eq!(
            mail.header("List-Unsubscribe-Post"),
            Some("List-Unsubscribe=One-Click")
        );
        assert!(!text.contains("Yes, we do") && !html.contains("Yes, we do"));
        assert!(!text.contains("green") && !html.contains("green"));
    })
    .await;
}

#[tokio::test]
async fn a_scan_meets_a_reminder_that_exists_and_makes_no_second() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        for _ in 0..4 {
            t.tick().await;
        }
        assert_eq!(t.story(&chat).await, ["scheduled"]);
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[derive(Clone, Copy, Debug)]
enum Seen {
    Read,
    Answered,
    Closed,
}

#[tokio::test]
async fn what_is_seen_between_scan_and_due_moment_is_not_reminded_of_and_the_log_says_why() {
    run_test(async |t| {
        let cases = [
            (Seen::Read, "read"),
            (Seen::Answered, "answered"),
            (Seen::Closed, "closed"),
        ];
        // Met by another scan, or only by the look right before sending.
        for scanned_again in [true, false] {
            let chats = cases.map(|(seen, _)| t.answered(&format!("{seen:?}@example.net")));
            t.tick().await;
            t.advance(5).await;
            for ((seen, _), chat) in cases.iter().zip(&chats) {
                match seen {
                    Seen::Read => t.world().consumer_reads(chat),
                    Seen::Answered => t.world().consumer_says(chat, "Lovely, thank you"),
                    Seen::Closed => t.world().close(chat),
                }
            }
            if scanned_again {
                t.tick().await;
            }
            t.advance(10).await;
            assert!(t.mails().is_empty());
            for ((_, reason), chat) in cases.iter().zip(&chats) {
                assert_eq!(t.story(chat).await, [format!("cancelled ({reason})")]);
                let stage = if scanned_again { "scan" } else { "deliver" };
                let why = format!("{stage} cancel {reason}");
                let log = t.decisions(chat).await;
                assert!(log.contains(&why), "{why} is not in {log:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_ends_the_episode_and_the_next_message_begins_another_which_is_reminded_of_too() {
    run_test(async |t| {
        t.rule(Email, |rule| rule.caps.gap = TimeDelta::minutes(30))
            .await;
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);

        t.world().consumer_says(&chat, "In small, too?");
        t.advance(1).await;
        t.world().agent_says(&chat, "In small, too.");
        t.tick().await;
        t.advance(10).await;
        assert!(t.mails().is_empty(), "the gap of 30 minutes");
        t.advance(20).await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.story(&chat).await, ["sent", "sent"]);
        let log = t.decisions(&chat).await;
        assert!(log.contains(&"deliver postpone gap".to_owned()), "{log:?}");
    })
    .await;
}

#[tokio::test]
async fn the_second_step_follows_the_first_and_no_third_comes() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        t.tick().await;
        t.advance(24 * 60 - 11).await;
        assert!(t.mails().is_empty(), "the second is due after 24 hours");
        t.advance(1).await;
        assert_eq!(t.mails().len(), 1);
        t.tick().await;
        t.advance(3 * 24 * 60).await;
        assert_eq!(t.story(&chat).await, ["sent", "sent"]);
        assert_eq!(t.reason(&chat).await.unwrap(), "all_steps_done");
    })
    .await;
}

#[tokio::test]
async fn an_agent_who_still_types_is_waited_for() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance_by(TimeDelta::seconds(9 * 60)).await;
        t.world().agent_says(&chat, "And in blue.");
        t.advance(1).await;
        assert!(t.mails().is_empty(), "two minutes after the newest message");
        t.advance(1).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_customer_and_an_address_get_no_more_in_a_day_than_the_caps_allow_in_whatever_conversations()
 {
    type Change = fn(&mut RuleSettings);
    let caps: [(&str, Change); 2] = [
        ("expired (cap_consumer)", |rule| {
            rule.caps.per_consumer_24h = 2;
        }),
        ("expired (cap_address)", |rule| {
            rule.channels[Email].per_address_24h = 2;
        }),
    ];
    for (capped, cap) in caps {
        run_test(async |t| {
            t.rule(Email, |rule| {
                rule.caps.gap = TimeDelta::zero();
                rule.steps.truncate(1);
                cap(rule);
            })
            .await;
            // Another spelling is the same recipient.
            let chats = [ANN, "ANN@example.net", ANN, ANN].map(|address| t.answered(address));
            t.tick().await;
            t.advance(10).await;
            assert_eq!(t.mails().len(), 2);
            let mut stories = Vec::new();
            for chat in &chats {
                stories.extend(t.story(chat).await);
            }
            stories.sort();
            assert_eq!(stories, [capped, capped, "sent", "sent"]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_conversation_gets_no_more_in_a_day_than_the_cap_allows() {
    run_test(async |t| {
        t.rule(Email, |rule| {
            rule.caps.gap = TimeDelta::zero();
            rule.caps.per_conversation_24h = 1;
        })
        .await;
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        t.world().consumer_says(&chat, "In small, too?");
        t.world().agent_says(&chat, "In small, too.");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(
            t.story(&chat).await,
            ["sent", "expired (cap_conversation)", "scheduled"]
        );
    })
    .await;
}

#[tokio::test]
async fn quiet_hours_of_the_visitor_s_own_zone_put_a_reminder_off_to_their_end() {
    run_test(async |t| {
        let opening = t.world().conversation(ACCOUNT, CUSTOMER_CARE);
        let chat = opening.person(Person {
            phone: Some(PHONE.to_owned()),
            time_zone: Some("America/Los_Angeles".to_owned()),
            ..Person::default()
        });
        let chat = chat.start();
        t.world().consumer_says(&chat, "Do you have it in green?");
        t.world().agent_says(&chat, "Yes, we do.");
        t.tick().await;
        t.advance(10).await;
        assert!(t.texts().is_empty(), "it is ten past four in the morning");
        let nine = noon() + TimeDelta::hours(5);
        assert_eq!(t.reminders().await[0].next_at, Some(nine));
        t.advance_by(nine - t.now()).await;
        assert_eq!(t.texts().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_provider_may_not_deliver_a_text_after_quiet_hours_have_begun() {
    run_test(async |t| {
        let at = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
        t.rule(Sms, |rule| {
            let hours = &mut rule.channels[Sms].quiet_hours;
            hours.by_country.clear();
            hours.allowed = vec![Window {
                days: Vec::new(),
                from: at(9, 0),
                to: at(12, 15),
            }];
        })
        .await;
        t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        let validity = t.texts()[0].validity_period;
        // At a few seconds past 12:10, ten seconds before the end.
        assert!(
            validity.is_some_and(|seconds| (270..=290).contains(&seconds)),
            "{validity:?}"
        );
    })
    .await;
}

/// Only between 20:00 and 22:00.
fn evenings(rule: &mut RuleSettings) {
    let at = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
    rule.channels[Email].quiet_hours.allowed = vec![Window {
        days: Vec::new(),
        from: at(20),
        to: at(22),
    }];
}

#[tokio::test]
async fn what_is_due_outside_the_hours_waits_for_them_and_does_not_age() {
    run_test(async |t| {
        t.rule(Email, |rule| {
            evenings(rule);
            rule.channels[Email].max_age = TimeDelta::minutes(30);
        })
        .await;
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        let waiting = t.reminders().await;
        let eight = noon() + TimeDelta::hours(8);
        assert_eq!(waiting[0].next_at, Some(eight));
        t.advance_by(eight - t.now()).await;
        assert_eq!(t.story(&chat).await, ["sent"]);
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn hours_that_begin_later_than_a_reminder_may_be_sent_expire_it() {
    run_test(async |t| {
        t.rule(Email, |rule| {
            evenings(rule);
            rule.channels[Email].latest = Some(TimeDelta::hours(6));
        })
        .await;
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&chat).await, ["expired (quiet_hours)", "scheduled"]);
    })
    .await;
}

#[tokio::test]
async fn a_number_without_a_zone_of_liveperson_s_is_texted_by_the_clock_of_its_area() {
    run_test(async |t| {
        let opening = t.world().conversation(ACCOUNT, CUSTOMER_CARE);
        let chat = opening.phone("+18085550143").start();
        t.world().consumer_says(&chat, "Do you have it in green?");
        t.world().agent_says(&chat, "Yes, we do.");
        t.tick().await;
        t.advance(10).await;
        assert!(t.texts().is_empty(), "it is ten past two in Hawaii");
        let nine = noon() + TimeDelta::hours(7);
        let deadline: DateTime<Utc> = sqlx::query_scalar("select deadline from reminders")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(deadline, nine + TimeDelta::hours(1));
        let viewer = t.person(Role::Viewer).await;
        let list = viewer.get("/api/v1/reminders").await.json();
        let reminder = &list["items"][0];
        assert_eq!(
            reminder["waits_until"],
            "09:00 on Mon, Pacific/Honolulu time"
        );
        assert_eq!(
            reminder["time_zones"],
            serde_json::json!(["Pacific/Honolulu"])
        );
        assert_eq!(reminder["zone_source"], "number");
        let page = viewer
            .get(&format!("/reminders/{}", reminder["id"]))
            .await
            .text;
        for said in [
            "Postponed until 09:00 on Mon, Pacific/Honolulu time",
            "phone number",
        ] {
            assert!(page.contains(said), "{page}");
        }
        assert!(!page.contains("Expired"), "{page}");
        t.advance_by(nine - t.now()).await;
        assert_eq!(t.texts().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_clock_at_the_moment_of_sending_counts_not_the_one_of_the_scan() {
    run_test(async |t| {
        let chat = t.answered(PHONE);
        t.tick().await;
        // As if the scan had seen a record by whose clock it would be too late by now.
        sqlx::query("update reminders set deadline = due_at, time_zone = 'Pacific/Honolulu', zone_source = 'account'")
            .execute(t.pool())
            .await
            .unwrap();
        t.advance(12).await;
        t.tick().await;
        assert_eq!(t.story(&chat).await[0], "sent");
        assert_eq!(t.texts().len(), 1);
        let stored: DateTime<Utc> = sqlx::query_scalar("select deadline from reminders where state = 'sent'")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert!(stored > t.now(), "the ledger knows better since");
    })
    .await;
}

#[tokio::test]
async fn a_rule_that_is_switched_off_stops_what_is_scheduled() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        sqlx::query("update rules set enabled = false")
            .execute(t.pool())
            .await
            .unwrap();
        t.advance(10).await;
        assert_eq!(t.story(&chat).await, ["cancelled (rule_off)"]);
    })
    .await;
}

#[tokio::test]
async fn a_click_on_the_link_is_a_return_but_a_mail_scanner_s_is_not() {
    run_test(async |t| {
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        t.mails();
        let path = format!("/r/{}", t.reminders().await[0].token);
        let url = format!("{}{path}", t.web);
        let scan = t.http.get(url).header("user-agent", "LinkScanner/1.0");
        assert_eq!(scan.send().await.unwrap().status(), 200);
        assert_eq!(t.reminders().await[0].clicked_at, None);

        t.advance(3).await;
        let (status, page) = t.get(&path).await;
        assert_eq!(status, 200);
        assert!(page.contains("The Example Shop"), "{page}");
        let reminder = &t.reminders().await[0];
        assert_eq!(reminder.clicked_at, Some(t.now()));
        assert_eq!(reminder.returned_at, Some(t.now()));
    })
    .await;
}

/// One process sends for several brands: each message says which one.
#[tokio::test]
async fn without_a_sender_s_name_each_account_writes_as_its_brand_and_in_the_text_s_language() {
    const OTHER: &str = "87654321";
    let setup = Setup {
        settings: vec![("SMTP_FROM_NAME", "")],
        accounts: vec![OTHER],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        t.rule(Email, |settings| {
            let email = &mut settings.channels[Email];
            email.sender = Some("care@shop.example".to_owned());
            let text = Template {
                subject: Some("Hello".to_owned()),
                preheader: None,
                text: "Read it: {{link}}".to_owned(),
                html: None,
            };
            email.templates.insert("en".to_owned(), text);
        })
        .await;
        let [one, other] = [ACCOUNT, OTHER].map(|account| {
            let opening = t
                .world()
                .conversation(account, CUSTOMER_CARE)
                .consumer("Ann", "Other");
            let address = format!("ann@{account}.example");
            let chat = opening.email(&address).language("he-IL").start();
            t.world().consumer_says(&chat, "Do you have it in green?");
            t.world().agent_says(&chat, "Yes, we do.");
            address
        });
        t.tick().await;
        t.advance(10).await;
        let mails = t.mails();
        let from = |to: &str| {
            let mail = mails.iter().find(|mail| mail.to == [to]).unwrap();
            assert!(
                mail.html
                    .as_deref()
                    .unwrap()
                    .contains("<html lang=\"en\" dir=\"ltr\"")
            );
            mail.header("From").unwrap().to_owned()
        };
        assert!(from(&one).contains("Brand 12345678"), "{}", from(&one));
        assert!(
            from(&one).ends_with("<care@shop.example>"),
            "{}",
            from(&one)
        );
        assert!(from(&other).contains("Brand 87654321"), "{}", from(&other));

        let program = t.program(&[Permission::View, Permission::Edit]).await;
        for account in [ACCOUNT, OTHER] {
            let wish = json!({ "account": account, "channel": "email", "to": "me@example.net" });
            let sent = program.send(Method::POST, "/test-messages", &wish).await;
            assert_eq!(sent.json()["accepted"], true, "{}", sent.text);
            let mails = t.mails();
            let from = mails[0].header("From").unwrap();
            assert!(from.contains(&format!("Brand {account}")), "{from}");
        }
    })
    .await;
}

/// Somebody who has just opened the page is about to read: the second step waits until LivePerson has had time to say so.
#[tokio::test]
async fn a_click_holds_the_next_step_back_until_liveperson_has_had_time_to_say_that_it_is_read() {
    run_test(async |t| {
        let (stays, reads) = (
            t.answered("stays@example.net"),
            t.answered("reads@example.net"),
        );
        t.tick().await;
        t.advance(10).await;
        t.mails();
        let reminders = t.reminders().await;
        let click = async |conversation: &str| {
            let of = reminders.iter().find(|r| r.conversation == conversation);
            let (status, _) = t.get(&format!("/r/{}", of.unwrap().token)).await;
            assert_eq!(status, 200);
        };
        t.tick().await;
        // Once long before, and once more a minute before the second step.
        click(&stays).await;
        t.advance(24 * 60 - 11).await;
        let now = t.now();
        click(&stays).await;
        click(&reads).await;
        t.advance_by(TimeDelta::seconds(110)).await;
        for conversation in [&stays, &reads] {
            let decisions = t.decisions(conversation).await;
            assert_eq!(decisions.last().unwrap(), "deliver postpone clicked");
        }
        assert!(t.mails().is_empty(), "not within two minutes of the click");
        t.world().consumer_reads(&reads);
        t.advance_by(TimeDelta::seconds(10)).await;
        let mails = t.mails();
        assert_eq!(mails.len(), 1, "two minutes after the click");
        assert_eq!(mails[0].to, ["stays@example.net"]);
        assert_eq!(t.story(&reads).await, ["sent", "cancelled (read)"]);
        let all = t.reminders().await;
        let of = all.iter().find(|r| r.conversation == stays).unwrap();
        let first = of.clicked_at;
        assert!(
            first.is_some_and(|at| at < now),
            "the first click is the one that is shown"
        );
    })
    .await;
}

#[tokio::test]
async fn whoever_reads_within_a_day_of_a_reminder_has_come_back() {
    run_test(async |t| {
        let [soon, late] = ["soon@example.net", "late@example.net"].map(|who| t.answered(who));
        t.rule(Email, |rule| {
            rule.steps = vec![step(Email, 10)];
        })
        .await;
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 2);
        t.advance(60).await;
        t.world().consumer_reads(&soon);
        let read_at = t.now();
        t.advance(24 * 60).await;
        t.world().consumer_reads(&late);
        t.tick().await;
        for reminder in t.reminders().await {
            let expected = (reminder.conversation == soon).then_some(read_at);
            assert_eq!(reminder.returned_at, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn unsubscribing_takes_a_post_and_stops_every_later_reminder_to_that_address() {
    run_test(async |t| {
        for spelling in [ANN, "ann@EXAMPLE.net"] {
            t.answered(spelling);
        }
        t.rule(Email, |rule| {
            rule.caps.per_consumer_24h = 1;
            rule.channels[Email].max_age = TimeDelta::hours(48);
            rule.steps.truncate(1);
        })
        .await;
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let reminders = t.reminders().await;
        let (sent, waiting): (Vec<_>, Vec<_>) = reminders.iter().partition(|r| r.state == "sent");
        let unsubscribe = format!("/u/{}", sent[0].token);

        // Mail scanners follow links.
        assert_eq!(t.get(&unsubscribe).await.0, 200);
        let suppressed = async || -> i64 {
            let count = sqlx::query_scalar("select count(*) from suppressions");
            count.fetch_one(t.pool()).await.unwrap()
        };
        assert_eq!(suppressed().await, 0);

        let one_click = t.http.post(format!("{}{unsubscribe}", t.web));
        let one_click = one_click.body("List-Unsubscribe=One-Click").send();
        assert_eq!(one_click.await.unwrap().status(), 200);
        assert_eq!(suppressed().await, 1);
        t.advance(25 * 60).await;
        assert_eq!(
            t.story(&waiting[0].conversation).await,
            ["cancelled (opted_out)"]
        );
    })
    .await;
}

#[tokio::test]
async fn an_sms_is_delivered_when_the_provider_says_so() {
    run_test(async |t| {
        let chat = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        let texts = t.texts();
        assert_eq!(texts.len(), 1);
        assert_eq!(texts[0].to, PHONE);
        let reminder = &t.reminders().await[0];
        let link = format!("{}/r/{}", t.web, reminder.token);
        assert!(texts[0].body.contains(&link), "{}", texts[0].body);
        let left = (reminder.due_at + TimeDelta::hours(1) - t.now()).num_seconds();
        assert_eq!(texts[0].validity_period.map(i64::from), Some(left - 10));
        t.advance(1).await;
        eventually("the SMS is delivered", async || {
            t.story(&chat).await == ["delivered"]
        })
        .await;
        // The number was needed until then; now the keyed hash is all that is left.
        let addresses: i64 = sqlx::query_scalar("select count(address) from attempts")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(addresses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_visitor_with_both_addresses_gets_the_e_mail_alone() {
    run_test(async |t| {
        let opening = t.world().conversation(ACCOUNT, CUSTOMER_CARE);
        let chat = opening.email(ANN).phone(PHONE).time_zone("UTC").start();
        t.world().consumer_says(&chat, "Do you have it in green?");
        t.world().agent_says(&chat, "Yes, we do.");
        t.tick().await;
        t.advance(10).await;
        assert_eq!((t.mails().len(), t.texts().len()), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn stop_in_whatever_words_stops_text_messages_and_start_allows_them_again() {
    run_test(async |t| {
        let texts = async |body: &str| {
            let twilio = t.sandbox.twilio().account();
            let answer = twilio.inbound(PHONE, "+15005550006", body, None).await;
            assert_eq!(answer.unwrap().0, 200);
        };
        texts("please don't write to me any more").await;
        let stopped = t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        // The no is older than the episode: its later steps are asked for again.
        assert_eq!(
            t.story(&stopped).await,
            ["cancelled (opted_out)", "scheduled"]
        );
        texts("START").await;
        t.answered(PHONE);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.texts().len(), 1);
    })
    .await;
}
