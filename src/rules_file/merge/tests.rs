use super::*;
use crate::domain::ids::SkillId;
use crate::rules_file::{parse, print};

/// A file from before: each rule a skill (0: the default), a channel, its settings.
fn file(rules: &[(i64, &str, &str)]) -> String {
    let rules = rules.iter().map(|(skill, channel, settings)| {
        let skill = if *skill == 0 {
            String::new()
        } else {
            format!("skill = {skill}\n")
        };
        format!("[[rule]]\naccount = \"12345678\"\n{skill}channel = \"{channel}\"\n{settings}\n")
    });
    rules.collect()
}

fn merged(rules: &[(i64, &str, &str)]) -> RulesFile {
    parse(&file(rules), &Channel::ALL).unwrap()
}

/// "email 10, sms 10?": the question mark is for a step that is sent if the customer was not reached.
fn steps(settings: &RuleSettings) -> String {
    let steps = settings.steps.iter().map(|step| {
        let condition = if step.when == When::Always { "" } else { "?" };
        format!("{} {}{condition}", step.channel, step.after.num_minutes())
    });
    steps.collect::<Vec<_>>().join(", ")
}

fn after(minutes: &[i64]) -> String {
    let steps = minutes
        .iter()
        .map(|minutes| format!("{{ after_minutes = {minutes} }}"));
    format!("steps = [{}]", steps.collect::<Vec<_>>().join(", "))
}

#[test]
fn untouched_rules_become_the_default_rule() {
    let file = merged(&[(0, "sms", ""), (0, "email", "")]);
    let mut default = RuleSettings::default_for(&[Channel::Email, Channel::Sms]);
    for step in &mut default.steps {
        step.id = 0;
    }
    assert_eq!(file.rules.len(), 1);
    assert!(file.rules[0].enabled);
    assert_eq!(file.rules[0].settings, default);
    assert_eq!(
        file.merged[1..],
        [
            "12345678/default: merged from e-mail and SMS: e-mail after 10 minutes, SMS after 10 minutes if the customer was not reached, \
             e-mail after 24 hours, SMS after 24 hours if the customer was not reached."
        ]
    );
    // It is one of today from then on.
    assert_eq!(parse(&print(&file.rules), &[]).unwrap().rules, file.rules);
}

#[test]
fn steps_of_two_channels_never_go_at_once() {
    #[rustfmt::skip]
    let cases: [(&[i64], &[i64], i64, &str); 9] = [
        (&[10], &[10], 120, "email 10, sms 10?"),
        (&[10, 1440], &[30, 1440], 120, "email 10, sms 30?, email 1440, sms 1440?"),
        (&[10, 1440], &[240], 120, "email 10, sms 240, email 1440"),
        (&[30], &[5], 120, "sms 5, email 30?"),
        (&[10], &[130], 120, "email 10, sms 130"),
        (&[10], &[129], 120, "email 10, sms 129?"),
        (&[10, 20], &[15], 0, "email 10, sms 15, email 20"),
        (&[10], &[10], 0, "email 10, sms 10?"),
        // Closer than the gap on one channel: as before, the gap holds it.
        (&[10, 60], &[60], 120, "email 10, email 60, sms 60?"),
    ];
    for (email, sms, gap, expected) in cases {
        let gap = format!("\ncaps.gap_minutes = {gap}");
        let (email, sms) = (after(email) + &gap, after(sms) + &gap);
        let file = merged(&[(0, "email", &email), (0, "sms", &sms)]);
        assert_eq!(steps(&file.rules[0].settings), expected);
        assert_eq!(file.rules[0].settings.validate(), []);
    }
}

#[test]
fn a_channel_that_was_off_has_no_step_and_a_skill_keeps_what_the_default_did() {
    let (early, late) = (after(&[5]), after(&[9]));
    let off = format!("enabled = false\n{late}");
    #[rustfmt::skip]
    #[expect(clippy::type_complexity, reason = "the columns of a table")]
    let cases: [(&[(i64, &str, &str)], bool, &str, &str); 8] = [
        (&[(0, "email", &early), (0, "sms", &off)], true, "email 5", " No step by SMS, which was off."),
        (&[(0, "email", &off), (0, "sms", &off)], false, "email 9, sms 9?", " It is off, as before."),
        (&[(0, "sms", &early)], true, "sms 5", "12345678/default: from SMS alone: SMS after 5 minutes."),
        (&[(0, "email", &early), (7, "sms", &late)], true, "email 5, sms 9?",
            " The skill had no rule of its own for e-mail: it keeps what the account's default says."),
        (&[(0, "email", &early), (7, "email", &off)], false, "email 9", " It is off, as before."),
        (&[(0, "email", &early), (0, "sms", &early), (7, "email", &off)], true, "sms 5", " No step by e-mail, which was off."),
        (&[(0, "email", &off), (7, "sms", &early)], true, "sms 5", " No step by e-mail, which was off."),
        (&[(7, "sms", &early)], true, "sms 5", "12345678/7: from SMS alone: SMS after 5 minutes."),
    ];
    for (given, enabled, expected, said) in cases {
        let read = merged(given);
        // A skill comes behind the default.
        let rule = read.rules.last().unwrap();
        assert_eq!(
            (rule.enabled, steps(&rule.settings).as_str()),
            (enabled, expected),
            "{said}"
        );
        assert!(
            read.merged.last().unwrap().contains(said),
            "{:?}",
            read.merged
        );
        assert_eq!(read.merged.len(), 1 + read.rules.len());
    }
    let file = merged(&[(0, "email", &early), (7, "sms", &late), (8, "email", "")]);
    let skills: Vec<_> = file.rules.iter().map(|rule| rule.skill).collect();
    assert_eq!(skills, [None, Some(SkillId(7)), Some(SkillId(8))]);
}

#[test]
fn where_rules_differ_the_one_is_taken_by_which_less_is_sent() {
    #[rustfmt::skip]
    let cases = [
        ("caps.gap_minutes = 240", "", "caps.gap_minutes is 240, the longer (e-mail 240, SMS 120)."),
        ("caps.gap_minutes = 10", "", "caps.gap_minutes is 120, the longer (e-mail 10, SMS 120)."),
        ("caps.per_conversation_24h = 5", "", "caps.per_conversation_24h is 2, the smaller (e-mail 5, SMS 2)."),
        ("", "debounce_minutes = 7", "debounce_minutes is 7, the longer (e-mail 2, SMS 7)."),
        ("remind_in_queue = true", "", "remind_in_queue is false, which sends less (e-mail true, SMS false)."),
        ("holdout_percent = 10", "", "holdout_percent is 10, the larger (e-mail 10, SMS 0)."),
        ("time_zone = \"Asia/Kolkata\"\nquiet_hours.allowed = [{ from = \"09:00\", to = \"20:00\" }]", "time_zone = \"Europe/Berlin\"",
            "time_zone is Europe/Berlin, that of SMS."),
        ("in_quiet_hours = \"drop\"\nquiet_hours.allowed = [{ from = \"09:00\", to = \"20:00\" }]", "",
            "in_quiet_hours is drop, which sends less (e-mail drop, SMS move)."),
        // Without hours they do nothing, so there is nothing to choose.
        ("in_quiet_hours = \"drop\"\ntime_zone = \"Asia/Kolkata\"", "", "reached."),
        // Each channel has its own.
        ("max_age_minutes = 5\nlatest_minutes = 50\ncaps.per_recipient_24h = 7", "caps.per_recipient_24h = 1", "reached."),
    ];
    for (email, sms, said) in cases {
        let file = merged(&[(0, "email", email), (0, "sms", sms)]);
        assert!(file.merged[1].ends_with(said), "{:?}", file.merged);
    }
}

#[test]
fn what_is_of_a_channel_stays_its_own() {
    let email = "sender = \"help@example.com\"\nmax_age_minutes = 5\nlatest_minutes = 50\nresend_unknown = true\ncaps.per_recipient_24h = 7";
    let sms = "enabled = false\n[rule.templates.en]\ntext = \"{{link}}\"";
    let file = merged(&[(0, "email", email), (0, "sms", sms)]);
    let (email, sms) = (
        &file.rules[0].settings.channels[Channel::Email],
        &file.rules[0].settings.channels[Channel::Sms],
    );
    assert_eq!(
        (
            email.sender.as_deref(),
            email.resend_unknown,
            email.per_address_24h
        ),
        (Some("help@example.com"), true, 7)
    );
    assert_eq!(
        (email.max_age.num_minutes(), email.latest),
        (5, Some(TimeDelta::minutes(50)))
    );
    // Somebody has written them, and a step may be added.
    assert_eq!(sms.templates["en"].text, "{{link}}");
    assert_eq!(file.rules[0].settings.caps.per_consumer_24h, 3);
}

#[test]
fn what_is_wrong_is_told_by_the_names_of_such_a_file() {
    let many = after(&[10, 20, 30, 40, 50]);
    #[rustfmt::skip]
    let cases = [
        (file(&[(0, "email", ""), (0, "email", "")]), "rule 2: is for the same account, skill and channel as rule 1; keep one"),
        (file(&[(0, "email", ""), (0, "fax", "")]), "rule 2, channel: "),
        (file(&[(0, "email", "")]) + "[[rule]]\naccount = \"1\"", "rule 2, channel: is missing"),
        (file(&[(0, "sms", "max_age_minutes = 0")]), "rule 1, max_age_minutes: must be 1 to 129600"),
        (file(&[(0, "sms", "caps.per_recipient_24h = 99")]), "rule 1, caps.per_recipient_24h: must be 1 to 24"),
        (file(&[(0, "sms", "colour = 1")]), "rule 1, colour: there is no such setting; there are steps,"),
        (file(&[(0, "sms", "templates.en.subject = \"a\"\ntemplates.en.text = \"b\"")]), "rule 1, templates.en.subject: is for e-mail only"),
        (file(&[(0, "sms", "channels.email.max_age_minutes = 5")]), "rule 1, channels: is of version 2"),
        (file(&[(0, "sms", "caps.per_consumer_24h = 5")]), "rule 1, caps.per_consumer_24h: is of version 2"),
        (file(&[(0, "sms", "steps = [{ channel = \"sms\", after_minutes = 5 }]")]), "rule 1, steps[0].channel: is of version 2"),
        (file(&[(0, "email", &many), (0, "sms", &many)]),
            "rule 12345678/default: has 10 steps over e-mail and SMS; one rule over all channels has at most 8"),
    ];
    for (text, told) in cases {
        let error = parse(&text, &Channel::ALL).unwrap_err();
        assert_eq!(error.0.len(), 1, "{error}");
        assert!(error.to_string().contains(&format!("  {told}")), "{error}");
    }
}
