use super::*;

#[test]
fn settings_and_their_values_are_called_what_a_person_calls_them() {
    for (field, name) in [
        (
            "/settings/debounce_minutes",
            "Wait until the agent has been quiet for",
        ),
        ("/settings/steps/1/after_minutes", "Step 2"),
        ("steps[0].when", "Step 1"),
        ("/settings/steps", "Steps"),
        (
            "/settings/caps/gap_minutes",
            "Minimum time between reminders",
        ),
        ("caps", "Limits"),
        ("channels.email.quiet_hours.allowed", "E-mail: Hours"),
        (
            "/settings/channels/sms/quiet_hours/by_country/US/0",
            "SMS: Hours for US numbers",
        ),
        (
            "channels.sms.max_age_minutes",
            "SMS: Don't send if late by more than",
        ),
        (
            "channels.sms.templates.pt-BR.text",
            "SMS: Message pt-BR, text",
        ),
        ("enabled", "Active"),
        ("/to", "Test message to"),
        ("/code", "Code of the test message"),
        ("/settings", "settings"),
        ("of_the_future", "of the future"),
    ] {
        assert_eq!(label(field), name, "{field}");
    }
    let window = json!([{ "days": ["Mon"], "from": "09:00", "to": "12:00" }]);
    for (path, value, words) in [
        ("enabled", json!(true), "yes"),
        (
            "steps",
            json!([
                { "channel": "email", "after_minutes": 10 },
                { "channel": "sms", "after_minutes": 10, "when": "if_not_reached" },
                { "channel": "email", "after_minutes": 2880 },
                { "channel": "sms", "after_minutes": 2940, "when": "if_not_reached" },
            ]),
            "E-mail 10 min → SMS if not reached → E-mail 2 days → SMS 49 h if not reached",
        ),
        ("debounce_minutes", json!(90), "1 hour 30 minutes"),
        (
            "channels.sms.latest_minutes",
            Value::Null,
            "24 hours for e-mail, 17 hours for SMS; longer if it may be late by more",
        ),
        ("holdout_percent", json!(10), "10 percent"),
        ("holdout_percent", Value::Null, "0 percent"),
        ("in_quiet_hours", json!("drop"), "don't send"),
        ("time_zone", json!("Asia/Kolkata"), "Asia/Kolkata"),
        (
            "channels.sms.quiet_hours.allowed",
            window,
            "on Mon between 09:00 and 12:00",
        ),
        (
            "channels.email.quiet_hours.allowed",
            json!([]),
            "at any hour",
        ),
        (
            "channels.sms.templates.de",
            json!({ "text": "Hallo" }),
            "Hallo",
        ),
        ("channels.sms.templates.de", Value::Null, "nothing"),
        ("of_the_future", json!(["a"]), "[\"a\"]"),
    ] {
        assert_eq!(said(path, &value), words, "{path}");
    }
}
