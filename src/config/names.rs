//! A mistyped name must not be taken for a setting left at its default: unknown names are refused.

use toml::{Table, Value};

use super::inherit;
use super::keys;
use super::problem::SettingProblem;
use super::shown::shown_name;

/// Variables with our prefix that are no settings, as problems; those with a prefix that other programs use too, as warnings.
pub fn in_environment<'e>(
    names: impl Iterator<Item = &'e String>,
) -> (Vec<SettingProblem>, Vec<String>) {
    let mut known: Vec<String> = Vec::new();
    for key in keys::all() {
        let mut names = vec![key.env.to_owned()];
        if inherit::SECTIONS.contains(&key.section()) {
            names.push(format!("{}{}", inherit::PREFIX, key.env));
        }
        let files = names.iter().filter(|_| key.secret);
        known.extend(files.map(|name| format!("{name}_FILE")));
        known.append(&mut names);
    }
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for name in names.filter(|name| !known.contains(name)) {
        let meant = did_you_mean(name, &known);
        let is_shared = ["LE_", "SMTP_", "TWILIO_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if name.starts_with("UNREAD_") && !is_service_link(name) {
            let shown = shown_name(name).unwrap_or("A variable that begins with UNREAD_");
            problems.push(unknown(shown, meant));
        } else if let Some(meant) = meant.filter(|_| is_shared) {
            let shown = shown_name(name).unwrap_or("A variable");
            warnings.push(format!(
                "{shown} is set but not read. Did you mean {meant}?"
            ));
        }
    }
    (problems, warnings)
}

/// What the file holds beside settings. Accounts are looked at one by one, with [`in_table`].
pub fn in_file(root: &Table, file: &str) -> Vec<SettingProblem> {
    let mut known = fields("");
    known.extend(
        keys::all()
            .map(|key| key.section().to_owned())
            .filter(|name| !name.is_empty()),
    );
    let mut problems = Vec::new();
    for (name, value) in root.iter().filter(|(name, _)| *name != "account") {
        let is_section = keys::all().any(|key| key.section() == name);
        match value {
            Value::Table(table) if is_section => {
                problems.extend(in_table(name, table, &format!("[{name}] of {file}")));
            }
            _ if is_section => {
                let fix = format!("Begin a line with [{name}] and write its settings below.");
                problems.push(SettingProblem::new(
                    format!("{name} in {file}"),
                    "is not a table",
                    fix,
                ));
            }
            _ if known.contains(name) => {}
            _ => problems.push(unknown(&named(name, file), did_you_mean(name, &known))),
        }
    }
    problems
}

/// What a table of an account holds beside its settings and the sections that it may have of its own.
pub fn in_account(table: &Table, place: &str) -> Vec<SettingProblem> {
    let mut of_account = table.clone();
    let mut problems = Vec::new();
    for section in inherit::SECTIONS {
        match of_account.remove(*section) {
            Some(Value::Table(own)) => {
                problems.extend(in_table(
                    section,
                    &own,
                    &format!("[account.{section}] of {place}"),
                ));
            }
            Some(_) => {
                let fix = format!("Write the settings below a line [account.{section}].");
                let name = format!("{section} in {place}");
                problems.push(SettingProblem::new(name, "is not a table", fix));
            }
            None => {}
        }
    }
    problems.extend(in_table("account", &of_account, place));
    problems
}

/// What a section of the file holds beside its settings.
pub fn in_table(section: &str, table: &Table, place: &str) -> Vec<SettingProblem> {
    let known = fields(section);
    let unknown_names = table.keys().filter(|name| !known.contains(name));
    unknown_names
        .map(|name| unknown(&named(name, place), did_you_mean(name, &known)))
        .collect()
}

/// The names that a section of the file may hold; `""` is the top.
fn fields(section: &str) -> Vec<String> {
    let mut fields = Vec::new();
    for key in keys::all().filter(|key| key.section() == section) {
        let Some(field) = key.field() else { continue };
        fields.push(field.to_owned());
        if key.secret {
            fields.push(format!("{field}_file"));
        }
    }
    fields
}

/// Where it is and, if it is plainly a name, what.
fn named(name: &str, place: &str) -> String {
    format!("{} in {place}", shown_name(name).unwrap_or("a name"))
}

fn unknown(name: &str, meant: Option<&str>) -> SettingProblem {
    let fix = match meant {
        Some(meant) => format!("Did you mean {meant}?"),
        None => "Remove it; docs/configuration.md lists all settings.".to_owned(),
    };
    SettingProblem::new(name, "is not a setting", fix)
}

/// Kubernetes tells every pod about every Service: one named `unread` gives `UNREAD_SERVICE_HOST`, `UNREAD_PORT_3000_TCP_ADDR` …
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"))
}

/// The known name that `name` was probably meant to be.
fn did_you_mean<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let tolerated = (name.len() / 4).clamp(1, 3);
    known
        .iter()
        .map(|candidate| (resemblance(name, candidate), candidate.as_str()))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance, where a name that only goes on after the other (`SMTP_PASSWORD`, `SMTP_PASS`) counts as one edit.
fn resemblance(name: &str, candidate: &str) -> usize {
    if name.starts_with(candidate) || candidate.starts_with(name) {
        return 1;
    }
    let mut row: Vec<usize> = (0..=candidate.len()).collect();
    for (i, a) in name.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in candidate.bytes().enumerate() {
            let substituted = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[candidate.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_recognised() {
        let known = ["SMTP_PASS", "SMTP_PORT", "UNREAD_PUBLIC_URL", "PORT"].map(str::to_owned);
        let meant = |name| did_you_mean(name, &known);
        assert_eq!(meant("UNREAD_PUBLC_URL"), Some("UNREAD_PUBLIC_URL"));
        assert_eq!(meant("UNREAD_PUBLICURL"), Some("UNREAD_PUBLIC_URL"));
        assert_eq!(meant("SMTP_PASSWORD"), Some("SMTP_PASS"));
        assert_eq!(meant("smtp_pass"), Some("SMTP_PASS"));
        assert_eq!(meant("UNREAD_COLOUR"), None);
        assert_eq!(meant("X"), None);
    }
}
