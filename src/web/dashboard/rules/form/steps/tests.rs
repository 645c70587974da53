use super::super::{OpenLanguages, mark, model};
use super::*;
use crate::control::Fault;
use crate::domain::rule::RuleSettings;

/// A row as a person writes it: channel, wait, unit, condition.
type Written = (&'static str, &'static str, &'static str, &'static str);

fn rows(written: &[Written], wish: &str) -> FormFields {
    let mut pairs = vec![("do".to_owned(), wish.to_owned())];
    for (at, (channel, count, unit, when)) in written.iter().enumerate() {
        let id = (at + 1).to_string();
        for (name, value) in [
            ("step_id", id.as_str()),
            ("step_channel", channel),
            ("step", count),
            ("step_unit", unit),
            ("step_when", when),
        ] {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    }
    FormFields(pairs)
}

#[test]
fn steps_are_put_in_order_and_moved_by_their_buttons() {
    const A: &str = "always";
    const R: &str = "if_not_reached";
    let usual = [
        ("email", "10", "minutes", A),
        ("sms", "", "minutes", R),
        ("email", "24", "hours", A),
        ("sms", "26", "hours", R),
    ];
    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<Written>, &str, &str)> = vec![
        ("as they are", usual.to_vec(), "save", "1 email 10 A, 2 sms 10 R, 3 email 1440 A, 4 sms 1560 R"),
        ("a longer wait of the first is that of what follows at once", vec![("email", "30", "minutes", A), usual[1]], "", "1 email 30 A, 2 sms 30 R"),
        ("a rung moves as a whole", vec![("email", "2", "days", A), usual[1], ("sms", "5", "minutes", A)], "", "3 sms 5 A, 1 email 2880 A, 2 sms 2880 R"),
        ("what is no number stays where it is", vec![("email", "soon", "minutes", A), ("sms", "5", "minutes", A)], "", "1 email soon A, 2 sms 5 A"),
        ("up: over which channel changes", usual.to_vec(), "step_up_1", "2 sms 10 A, 1 email 10 R, 3 email 1440 A, 4 sms 1560 R"),
        ("down", usual.to_vec(), "step_down_2", "1 email 10 A, 2 sms 10 R, 4 sms 1440 A, 3 email 1560 R"),
        ("the first has none before it", usual.to_vec(), "step_up_0", "1 email 10 A, 2 sms 10 R, 3 email 1440 A, 4 sms 1560 R"),
        ("nor the last one after it", usual.to_vec(), "step_down_3", "1 email 10 A, 2 sms 10 R, 3 email 1440 A, 4 sms 1560 R"),
        ("removed: the next of the rung begins it", usual.to_vec(), "step_remove_0", "2 sms 10 A, 3 email 1440 A, 4 sms 1560 R"),
        ("removed", usual.to_vec(), "step_remove_1", "1 email 10 A, 3 email 1440 A, 4 sms 1560 R"),
        ("one more", usual[..1].to_vec(), "step_add", "1 email 10 A, 0 email 1440 A"),
        ("no such row", usual[..1].to_vec(), "step_remove_9", "1 email 10 A"),
        ("no such wish", usual[..1].to_vec(), "step_sideways_0", "1 email 10 A"),
    ];
    for (what, written, wish, expected) in cases {
        let read = super::written(&rows(&written, wish));
        let read = read.as_array().unwrap().iter().map(|step| {
            let when = if step["when"] == A { "A" } else { "R" };
            format!(
                "{} {} {} {when}",
                text(&step["id"]),
                text(&step["channel"]),
                text(&step["after_minutes"])
            )
        });
        assert_eq!(read.collect::<Vec<_>>().join(", "), expected, "{what}");
    }
}

#[test]
fn steps_are_shown_in_rungs_with_what_is_wrong_beside_them() {
    let stored = RuleSettings::default_for(&[Channel::Email, Channel::Sms]);
    let mut model = model(
        &[Channel::Email, Channel::Sms],
        &json!(stored),
        &OpenLanguages::default(),
    );
    let fault = Fault {
        field: "/settings/steps/2/after_minutes".to_owned(),
        detail: "must be a whole number".to_owned(),
    };
    mark(&mut model, &[fault]);
    let page = |may_edit: bool| {
        let values = json!({ "form": model, "may_edit": may_edit });
        crate::web::templates::rendered("rule_steps.hbs", &values).unwrap()
    };
    let shown = page(true);
    assert_eq!(
        shown.matches("class=\"step follows\"").count(),
        2,
        "{shown}"
    );
    assert_eq!(
        shown.matches("placeholder=\"at once\"").count(),
        2,
        "{shown}"
    );
    assert!(
        shown.contains("id=\"step-2-fault\">must be a whole number<"),
        "{shown}"
    );
    assert!(
        shown.contains("value=\"step_up_3\"") && !shown.contains("value=\"step_up_0\""),
        "{shown}"
    );
    assert!(
        shown.contains("value=\"step_add\"") && !page(false).contains("<button"),
        "{shown}"
    );
}

/// What the page shows of rows, sent again as it stands.
fn sent_again(shown: &Value) -> FormFields {
    let chosen = |row: &Value, list: &str, name: &str| {
        let all = row[list].as_array().unwrap().iter();
        let mut chosen = all.filter(|choice| choice["chosen"] == true);
        text(&chosen.next().unwrap()[name])
    };
    let mut pairs = Vec::new();
    for row in shown["rows"].as_array().unwrap() {
        for (name, value) in [
            ("step_id", text(&row["step_id"])),
            ("step_channel", text(&row["channel"])),
            ("step", text(&row["count"])),
            ("step_unit", chosen(row, "units", "name")),
            ("step_when", chosen(row, "conditions", "word")),
        ] {
            pairs.push((name.to_owned(), value));
        }
    }
    FormFields(pairs)
}

#[test]
fn a_wait_that_is_no_number_is_one_fault_at_its_own_step_and_fixed_there() {
    const BOTH: [Channel; 2] = [Channel::Email, Channel::Sms];
    let stored = json!(RuleSettings::default_for(&BOTH));
    let usual = sent_again(&shown(&BOTH, &stored));
    assert_eq!(
        super::written(&usual),
        stored["steps"],
        "as it is shown, it can be saved"
    );
    for (row, wrong, unit) in [(0, "soon", "minutes"), (2, "", "hours"), (2, "1.5", "days")] {
        let with = |mut fields: FormFields, count: &str| {
            let nth = |wanted| {
                fields
                    .0
                    .iter()
                    .enumerate()
                    .filter(move |(_, (name, _))| name == wanted)
                    .nth(row)
                    .unwrap()
                    .0
            };
            let (at, unit_at) = (nth("step"), nth("step_unit"));
            count.clone_into(&mut fields.0[at].1);
            unit.clone_into(&mut fields.0[unit_at].1);
            fields
        };
        let mut settings = stored.clone();
        settings["steps"] = super::written(&with(sent_again(&shown(&BOTH, &stored)), wrong));
        let problems = RuleSettings::parse(&BOTH, settings.clone()).unwrap_err();
        let faults = problems.into_iter().map(|problem| Fault {
            field: format!(
                "/settings/{}",
                problem.field.replace(['.', '['], "/").replace(']', "")
            ),
            detail: problem.message,
        });
        let faults = placed(faults.collect(), &settings);
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        let of_row = format!("/settings/steps/{row}");
        assert!(
            matches!(fields[..], [only] if only.starts_with(&of_row)),
            "{wrong}: {fields:?}"
        );
        let mut model = model(&BOTH, &settings, &OpenLanguages::default());
        mark(&mut model, &faults);
        let marked = model["steps"]["rows"].as_array().unwrap().iter();
        let marked: Vec<bool> = marked.map(|row| !row["wrong"].is_null()).collect();
        assert_eq!(
            marked,
            (0..4).map(|at| at == row).collect::<Vec<_>>(),
            "{wrong}"
        );
        assert_eq!(model["steps"]["rows"][row]["count"], wrong);
        let fixed = super::written(&with(sent_again(&model["steps"]), "5"));
        assert!(
            RuleSettings::parse(&BOTH, json!({ "steps": fixed })).is_ok(),
            "{wrong}: {fixed}"
        );
    }
}
