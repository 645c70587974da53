//! Files of rules, imported into a real database.

use unread::control::ControlError;
use unread::control::rules::{self, ChangeAuthor, ImportedRules};
use unread::domain::ids::Channel;

use crate::harness::{TestApp, run_test};

async fn import(t: &TestApp, file: &str) -> Result<ImportedRules, ControlError> {
    let by = ChangeAuthor {
        name: "file",
        now: t.now(),
    };
    let around = |account: &_| rules::around(t.config(), Some(account));
    rules::import((t.pool(), t.wording(), &Channel::ALL), around, file, by).await
}

/// The ids that the account has had on more than one channel.
async fn ids_of_several_channels(t: &TestApp) -> Vec<i32> {
    sqlx::query_scalar(
        "select (s ->> 'id')::int from rule_versions, jsonb_array_elements(settings -> 'steps') s
         group by 1 having count(distinct s ->> 'channel') > 1 order by 1",
    )
    .fetch_all(t.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn rules_that_come_in_one_file_share_no_id_across_channels() {
    run_test(async |t| {
        let rule = |skill: i64, channel: Channel| {
            let step =
                |after: i64| format!("{{ channel = \"{channel}\", after_minutes = {after} }}");
            let steps: Vec<String> = (1..=6).map(|n| step(n * 30)).collect();
            format!(
                "[[rule]]\naccount = \"12345678\"\nskill = {skill}\nsteps = [{}]\n",
                steps.join(", ")
            )
        };
        // More steps than the default rule has on either channel: some of both are new.
        let file = format!(
            "version = 2\n{}{}",
            rule(700, Channel::Sms),
            rule(701, Channel::Email)
        );
        assert_eq!(import(t, &file).await.unwrap().changed(), 2);
        assert_eq!(ids_of_several_channels(t).await, Vec::<i32>::new());
        assert_eq!(import(t, &file).await.unwrap().changed(), 0, "nothing new");
    })
    .await;
}

#[tokio::test]
async fn the_example_of_the_documentation_is_imported_as_it_stands() {
    run_test(async |t| {
        let page = include_str!("../../../docs/rules-file.md");
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let imported = import(t, example).await.unwrap();
        assert_eq!(imported.rules.len(), 1);
        assert_eq!(imported.merged, Vec::<String>::new());
    })
    .await;
}
