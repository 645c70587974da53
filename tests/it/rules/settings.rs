//! The settings of a rule on its pages: each has a field, keeps its value, and is called by its name.

use unread::domain::access::Role;
use unread::domain::ids::Channel;
use unread::domain::rule::settings::{Input, SETTINGS};

use super::pages::{fields, hidden, path};
use crate::harness::run_test;

/// The value of a field that is shown.
fn hidden_or_not(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" ")).unwrap();
    let (_, value) = rest.split_once("value=\"").unwrap();
    value.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_setting_is_a_field_of_the_page_and_has_its_name_in_the_history_and_the_audit_trail()
{
    run_test(async |t| {
        let boss = t.person(Role::Administrator).await;
        let page = boss.get("/rules/12345678/default").await;
        assert_eq!(page.status, 200, "{}", page.text);
        for setting in SETTINGS {
            // Of those that each channel has, one for each that is set up.
            let usual = |of: &Option<Channel>| {
                of.is_none_or(|of| [Channel::Email, Channel::Sms].contains(&of))
            };
            for of in setting.places().filter(usual) {
                let name = match (&setting.input, of) {
                    (Input::Steps, _) => "step".to_owned(),
                    (Input::Hours, Some(channel)) => format!("{channel}_w0_from"),
                    (Input::Texts, Some(channel)) => format!("{channel}_t0_text"),
                    _ => setting.path(of),
                };
                let field = format!("name=\"{name}\"");
                assert!(
                    page.text.contains(&field),
                    "{field} is not in {}",
                    page.text
                );
            }
        }
        for (minutes, gap) in [("3", "120"), ("4", "90")] {
            let seen = hidden(&boss.get(&path()).await.text, "seen");
            let mut form = fields(&seen, minutes, "publish");
            form.retain(|(name, _)| *name != "caps.gap_minutes");
            form.push(("caps.gap_minutes", gap));
            let done = boss.form(&path(), &form).await;
            assert_eq!(done.status, 303, "{}", done.text);
        }
        let history = boss.get(&format!("{}/history", path())).await.text;
        for words in [
            "Minimum time between reminders",
            "2 hours",
            "1 hour 30 minutes",
            "E-mail 4 min",
        ] {
            assert!(history.contains(words), "{words} is not in {history}");
        }
        let activity = boss.get("/activity").await.text;
        for words in [
            "published version 2",
            "What changed",
            "Minimum time between reminders",
            "1 hour 30 minutes",
            "E-mail 4 min",
        ] {
            assert!(activity.contains(words), "{words} is not in {activity}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_share_without_reminders_is_a_field_like_any_other() {
    run_test(async |t| {
        let ann = t.person(Role::Editor).await;
        let shown = async || ann.get(&path()).await.text;
        assert_eq!(hidden_or_not(&shown().await, "holdout_percent"), "0");
        for (share, status, kept) in [("10", 303, "10"), ("51", 422, "51"), ("0", 303, "0")] {
            let seen = hidden(&shown().await, "seen");
            let mut form = fields(&seen, "3", "publish");
            form.push(("holdout_percent", share));
            let done = ann.form(&path(), &form).await;
            assert_eq!(done.status, status, "{share}: {}", done.text);
            let page = if status == 303 {
                shown().await
            } else {
                done.text
            };
            assert_eq!(hidden_or_not(&page, "holdout_percent"), kept);
        }
    })
    .await;
}
