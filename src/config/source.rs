//! Where settings come from: the environment, a `.env` file beside it, a TOML file.
//!
//! The only place that looks at this process's environment. Everything after it works on [`Sources`], so that tests need none.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::problem::SettingProblem;
use super::shown::shown_path;

/// All that the settings are read from.
pub struct Sources {
    /// The environment over `.env`.
    pub environment: BTreeMap<String, String>,
    /// Name and content of the TOML file.
    pub file: Option<(String, String)>,
    /// Reads a mounted secret.
    pub read_secret: fn(&Path) -> io::Result<String>,
}

impl Sources {
    /// The sources of this process. `file` is the path given on the command line.
    pub fn of_process(file: Option<&Path>) -> Result<Self, Vec<SettingProblem>> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        Self::gather(Path::new(""), variables, file)
    }

    fn gather(
        folder: &Path,
        variables: impl Iterator<Item = (String, String)>,
        file: Option<&Path>,
    ) -> Result<Self, Vec<SettingProblem>> {
        let mut problems = Vec::new();
        let mut environment = BTreeMap::new();
        match read_text(&folder.join(".env")) {
            Ok(text) => match parse_dotenv(&text) {
                Ok(values) => environment = values,
                Err(found) => problems.extend(found),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => problems.push(unreadable(".env", &error)),
        }
        for (name, value) in variables {
            // An empty variable counts as left out, and so does not hide a line of `.env`.
            if value.trim().is_empty() {
                environment.entry(name).or_insert(value);
            } else {
                environment.insert(name, value);
            }
        }
        let named = environment
            .get("UNREAD_CONFIG")
            .map(|path| within_marks(path).trim());
        let named = named.filter(|path| !path.is_empty());
        // Whoever calls it on the command line sees the path there.
        let name = match (file, named) {
            (Some(path), _) => path.display().to_string(),
            (None, named) => shown_path(named.unwrap_or("unread.toml"))
                .unwrap_or("the file that UNREAD_CONFIG names")
                .to_owned(),
        };
        let named = file
            .map(Path::to_owned)
            .or_else(|| named.map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| "unread.toml".into());
        let file = match read_text(&folder.join(&path)) {
            Ok(text) => Some((name, text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => None,
            Err(error) => {
                problems.push(unreadable(&name, &error));
                None
            }
        };
        if problems.is_empty() {
            Ok(Self {
                environment,
                file,
                read_secret: read_text,
            })
        } else {
            Err(problems)
        }
    }
}

/// A file's text, without the mark (BOM) that some editors put before it.
fn read_text(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    let zeros = bytes.iter().take(512).filter(|byte| **byte == 0).count();
    let encoding = match bytes.as_slice() {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Some("UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("UTF-16"),
        _ if zeros > 0 && zeros * 3 > bytes.len().min(512) => Some("UTF-16"),
        _ => None,
    };
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    if let Some(encoding) = encoding {
        let what =
            format!("it is written in {encoding}, as PowerShell's `>` does; save it as UTF-8");
        return Err(wrong(what));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong("it is not UTF-8; save it as UTF-8".to_owned()))?;
    Ok(without_mark(&text).to_owned())
}

/// A text without the mark (BOM) that some editors put before it.
pub fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// A value without the quotation marks around the whole of it, which `--env-file` and the like take for a part of it.
pub fn within_marks(value: &str) -> &str {
    let bare = value.trim();
    let inner = MARKS
        .iter()
        .find_map(|mark| bare.strip_prefix(*mark)?.strip_suffix(*mark));
    let is_one = |inner: &&str| {
        !MARKS
            .iter()
            .any(|mark| bare.starts_with(*mark) && inner.contains(*mark))
    };
    inner.filter(is_one).unwrap_or(value)
}

/// Single marks and backticks hold a value as it is.
const MARKS: [char; 3] = ['"', '\'', '`'];

fn unreadable(path: &str, error: &io::Error) -> SettingProblem {
    SettingProblem::new(
        path,
        format!("cannot be read: {error}"),
        "Check that the path is right and that this user may read the file.",
    )
}

/// Reads `NAME=value` lines, which end in LF, CRLF or CR: blank lines, `#` comments, `export`, single quotes and backticks (as is) and
/// double quotes (with `\n`, `\"`, `\\`). A later line wins. Nothing is expanded: a `$` in a password is a `$`.
pub fn parse_dotenv(text: &str) -> Result<BTreeMap<String, String>, Vec<SettingProblem>> {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    let text = without_mark(text).replace("\r\n", "\n");
    for (number, line) in (1..).zip(text.split(['\n', '\r'])) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        match assignment(line) {
            Ok((name, value)) => {
                values.insert(name.to_owned(), value);
            }
            // Not the line itself: it may hold a password.
            Err((what, fix)) => {
                problems.push(SettingProblem::new(
                    format!("line {number} of .env"),
                    what,
                    fix,
                ));
            }
        }
    }
    if problems.is_empty() {
        Ok(values)
    } else {
        Err(problems)
    }
}

fn assignment(line: &str) -> Result<(&str, String), (&'static str, &'static str)> {
    let wrong = (
        "is not NAME=value",
        "Write one NAME=value on each line; begin a comment with #.",
    );
    let (name, value) = line.split_once('=').ok_or(wrong)?;
    let name = name.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(wrong);
    }
    let value = value.trim();
    let value = match value.chars().next() {
        Some(quote) if MARKS.contains(&quote) => quoted(&value[1..], quote).ok_or((
            "has a quotation mark that does not end",
            "End the value with the same mark, on the same line, and write nothing but a comment after it.",
        ))?,
        _ => unquoted(value).to_owned(),
    };
    Ok((name, value))
}

/// A `#` begins a comment only after a space: passwords may hold one.
fn unquoted(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let end = value.find(" #").or_else(|| value.find("\t#"));
    value[..end.unwrap_or(value.len())].trim_end()
}

fn quoted(rest: &str, quote: char) -> Option<String> {
    let mut value = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            c if c == quote => break,
            '\\' if quote == '"' => match chars.next()? {
                'n' => value.push('\n'),
                c @ ('"' | '\\') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    let rest = chars.as_str().trim_start();
    (rest.is_empty() || rest.starts_with('#')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_file_is_read_as_people_write_it() {
        let text = "\u{feff}# the seed\r\nPORT=3000\r\n\nexport LE_ACCOUNT = 12345678 # ours\n\
            SMTP_PASS=p#ss$word\nA='single \\n # kept'\nB=\"two\\nlines \\\"x\\\" \\d\" # out\nEMPTY=\nNOTE=# none\nPORT=3001\n";
        let values = parse_dotenv(text).unwrap();
        let expected = [
            ("A", "single \\n # kept"),
            ("B", "two\nlines \"x\" \\d"),
            ("EMPTY", ""),
            ("LE_ACCOUNT", "12345678"),
            ("NOTE", ""),
            ("PORT", "3001"),
            ("SMTP_PASS", "p#ss$word"),
        ];
        assert!(
            values
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .eq(expected)
        );
    }

    #[test]
    fn a_cr_ends_a_line_and_backticks_are_marks() {
        for end in ["\n", "\r", "\r\n"] {
            let text = [
                "PORT=1",
                "# x",
                "SMTP_PASS=`a 'b' \"c\" \\n # d`",
                "",
                "LE_ACCOUNT='7'",
            ]
            .join(end);
            let values = parse_dotenv(&text).unwrap();
            assert_eq!(values["SMTP_PASS"], "a 'b' \"c\" \\n # d", "{end:?}");
            assert_eq!(
                (values["PORT"].as_str(), values["LE_ACCOUNT"].as_str()),
                ("1", "7"),
                "{end:?}"
            );
            assert_eq!(values.len(), 3, "{end:?}");
        }
        let problems = parse_dotenv("A=1\rhunter2\rB=2").unwrap_err();
        assert_eq!(problems[0].key, "line 2 of .env");
    }

    #[test]
    fn marks_around_the_whole_of_a_value_are_none_of_it() {
        for (value, inner) in [
            ("\"The Shop\"", "The Shop"),
            ("'x'", "x"),
            ("`x`", "x"),
            (" \"x\" ", "x"),
            ("\"\"", ""),
            ("\"x", "\"x"),
            ("\"", "\""),
            ("x\"", "x\""),
            ("\"x'", "\"x'"),
            ("\"a\",\"b\"", "\"a\",\"b\""),
            ("The \"Shop\"", "The \"Shop\""),
            ("", ""),
        ] {
            assert_eq!(within_marks(value), inner, "{value}");
        }
    }

    #[test]
    fn files_are_found_where_they_are_expected() {
        let folder = std::env::temp_dir().join(format!("unread-sources-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        let gather = |variables: &[(&str, &str)], file: Option<&str>| {
            let variables = variables
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            Sources::gather(&folder, variables, file.map(Path::new))
        };
        let text = |sources: &Sources| sources.file.as_ref().map(|(_, text)| text.clone());

        let bare = gather(&[], None).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert!(bare.environment.is_empty() && bare.file.is_none());

        write(".env", "PORT=1\nLE_ACCOUNT=1\nUNREAD_CONFIG=b.toml");
        write("unread.toml", "usual");
        write("b.toml", "named");
        let both = gather(&[("PORT", "2")], None).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(
            (both.environment["PORT"].as_str(), text(&both).as_deref()),
            ("2", Some("named"))
        );
        let usual = gather(&[("UNREAD_CONFIG", "")], Some("unread.toml"));
        let usual = usual.unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(text(&usual).as_deref(), Some("usual"));
        let kept = gather(&[("PORT", " "), ("LE_ACCOUNT", "")], Some("unread.toml"));
        let kept = kept.unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(
            (
                kept.environment["PORT"].as_str(),
                kept.environment["LE_ACCOUNT"].as_str()
            ),
            ("1", "1")
        );
        let absent = gather(&[], Some("absent.toml")).err().unwrap_or_default();
        assert_eq!(absent[0].key, "absent.toml");

        let written = |bytes: &[u8]| {
            std::fs::write(folder.join("secret"), bytes).unwrap();
            read_text(&folder.join("secret")).map_err(|error| error.to_string())
        };
        assert_eq!(
            written(b"\xEF\xBB\xBFhunter2\n"),
            Ok("hunter2\n".to_owned())
        );
        let units = |text: &str, bytes: fn(u16) -> [u8; 2]| {
            text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
        };
        for (bytes, encoding) in [
            (units("\u{feff}PORT=1\r\n", u16::to_le_bytes), "UTF-16"),
            (units("\u{feff}PORT=1\r\n", u16::to_be_bytes), "UTF-16"),
            (units("PORT=1\r\n", u16::to_le_bytes), "UTF-16"),
            (units("PORT=1\r\n", u16::to_be_bytes), "UTF-16"),
            (b"\xFF\xFE\0\0P\0\0\0".to_vec(), "UTF-32"),
            (b"PORT=\xFC".to_vec(), "not UTF-8"),
        ] {
            let told = written(&bytes).unwrap_err();
            assert!(
                told.contains(encoding) && told.contains("save it as UTF-8"),
                "{told}"
            );
            std::fs::write(folder.join(".env"), &bytes).unwrap();
            let told = gather(&[], Some("unread.toml")).err().unwrap_or_default();
            assert!(
                told[0].key == ".env" && told[0].what.contains(encoding),
                "{told:?}"
            );
        }

        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_wrong_line_is_told_by_its_number_and_not_by_its_content() {
        let problems =
            parse_dotenv("OK=1\nhunter2\nB A=2\nC=\"hunter2\nD='a' hunter2\n").unwrap_err();
        let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "line 2 of .env",
                "line 3 of .env",
                "line 4 of .env",
                "line 5 of .env"
            ]
        );
        assert!(!format!("{problems:?}").contains("hunter2"));
    }
}
