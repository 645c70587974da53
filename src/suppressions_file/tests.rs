//! What lists say, layout by layout and encoding by encoding, and that no line of any text vanishes.

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::domain::contact::Address;

const OPTED_OUT: Suppression = Suppression::OptedOut;
const BAD: Suppression = Suppression::BadAddress;
const COMPLAINT: Suppression = Suppression::Complaint;
const BLOCKED: Suppression = Suppression::Blocked;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/fixtures/suppressions/", $name)).as_slice()
    };
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn hasher() -> Hasher {
    Hasher::new(b"key")
}

fn begin(file: &[u8]) -> Result<ListReader, UnreadableFile> {
    let account: AccountId = "12345678".parse().unwrap();
    let defaults = Defaults {
        accounts: vec![account.clone()],
        account,
        region: Some("US".to_owned()),
        reason: OPTED_OUT,
        now: now(),
    };
    ListReader::begin(file, hasher(), defaults)
}

fn read(file: &[u8]) -> Result<ParsedList, UnreadableFile> {
    let mut reading = begin(file)?;
    while reading.read(2)? {}
    reading.finish()
}

fn rows(list: &ParsedList) -> Vec<SuppressionRow> {
    let account = "12345678".parse().unwrap();
    list.rows(&account, 3).flatten().collect()
}

/// Who is suppressed, by why: a known address for each row, in the order of the names.
fn who(list: &ParsedList) -> Vec<(&'static str, Suppression)> {
    const KNOWN: [&str; 12] = [
        "ann@example.com",
        "ben@example.com",
        "cid@example.com",
        "dan@example.com",
        "eve@example.com",
        "ann@example.invalid",
        "+12025550143",
        "+12025550144",
        "+12025550145",
        "+12025550146",
        "+12025550147",
        "+12025550148",
    ];
    let rows = rows(list);
    let reason = |known: &str| {
        let hash = hasher().address(&address(known, None).unwrap());
        rows.iter()
            .find(|row| row.hash == hash)
            .map(|row| row.reason)
    };
    let found: Vec<_> = KNOWN
        .iter()
        .filter_map(|known| Some((*known, reason(known)?)))
        .collect();
    assert_eq!(found.len(), rows.len(), "somebody else is suppressed");
    found
}

fn skipped(list: &ParsedList) -> Vec<(Skip, usize)> {
    list.skipped
        .iter()
        .map(|(skip, count)| (*skip, *count))
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_layout_says_who_and_why() {
    use Skip::{AboutTheSender, Expired, NoAddress, NotAnOptOut, Temporary};
    const A: &str = "ann@example.com";
    const B: &str = "ben@example.com";
    const C: &str = "cid@example.com";
    const D: &str = "dan@example.com";
    const E: &str = "eve@example.com";
    type Expected<'e> = (
        &'e str,
        &'e [u8],
        &'e [(&'e str, Suppression)],
        &'e [(Skip, usize)],
    );
    let table: &[Expected<'_>] = &[
        (
            "SendGrid unsubscribes",
            fixture!("sendgrid_unsubscribes.csv"),
            &[(A, OPTED_OUT), (B, OPTED_OUT)],
            &[],
        ),
        // A full mailbox and a silent server pass.
        (
            "SendGrid bounces",
            fixture!("sendgrid_bounces.csv"),
            &[(A, BAD), (B, BAD)],
            &[(Temporary, 2)],
        ),
        // Blocks have the columns of bounces, and say nothing of the mailbox.
        (
            "SendGrid blocks",
            fixture!("sendgrid_blocks.csv"),
            &[],
            &[(Temporary, 1), (AboutTheSender, 1)],
        ),
        (
            "SendGrid spam reports",
            fixture!("sendgrid_spam_reports.csv"),
            &[(A, COMPLAINT)],
            &[],
        ),
        (
            "SendGrid invalid",
            fixture!("sendgrid_invalid_emails.csv"),
            &[("ann@example.invalid", BAD)],
            &[],
        ),
        // `Address` is the postal one, and the phone number was not asked about.
        (
            "Mailchimp unsubscribed",
            fixture!("mailchimp_unsubscribed.csv"),
            &[(A, OPTED_OUT), (B, COMPLAINT)],
            &[],
        ),
        (
            "Mailchimp cleaned",
            fixture!("mailchimp_cleaned.csv"),
            &[(A, BAD)],
            &[],
        ),
        (
            "Mailgun bounces",
            fixture!("mailgun_bounces.csv"),
            &[(A, BAD), (B, BAD), (C, COMPLAINT)],
            &[(AboutTheSender, 1)],
        ),
        (
            "Mailgun unsubscribes",
            fixture!("mailgun_unsubscribes.csv"),
            &[(A, OPTED_OUT), (B, OPTED_OUT)],
            &[],
        ),
        (
            "Mailgun complaints",
            fixture!("mailgun_complaints.csv"),
            &[(A, COMPLAINT)],
            &[],
        ),
        (
            "Amazon SES",
            fixture!("ses_suppressions.csv"),
            &[(A, BAD), (B, COMPLAINT)],
            &[],
        ),
        (
            "Amazon SES, console",
            fixture!("ses_console.csv"),
            &[(A, BAD)],
            &[],
        ),
        (
            "Postmark suppressions",
            fixture!("postmark_suppressions.csv"),
            &[(A, BAD), (B, COMPLAINT), (C, OPTED_OUT), (D, BLOCKED)],
            &[],
        ),
        (
            "Postmark bounces",
            fixture!("postmark_bounces.csv"),
            &[(A, BAD), (C, COMPLAINT), (E, OPTED_OUT)],
            &[(Temporary, 1), (AboutTheSender, 1)],
        ),
        // Who wrote STOP, and who had written it before (21610); not whom we wrote to.
        (
            "Twilio",
            fixture!("twilio_messages.csv"),
            &[
                ("+12025550143", OPTED_OUT),
                ("+12025550144", OPTED_OUT),
                ("+12025550146", OPTED_OUT),
            ],
            &[(NotAnOptOut, 3)],
        ),
        (
            "Brevo",
            fixture!("brevo_blocked.csv"),
            &[(A, OPTED_OUT), (B, BAD), (C, COMPLAINT), (D, BLOCKED)],
            &[],
        ),
        (
            "Klaviyo",
            fixture!("klaviyo_suppressed.csv"),
            &[(A, OPTED_OUT), (B, BAD), (C, COMPLAINT), (D, BLOCKED)],
            &[],
        ),
        // TRUE for one kind of message is a no, too.
        (
            "HubSpot",
            fixture!("hubspot_unsubscribes.csv"),
            &[(A, OPTED_OUT), (B, BAD), (C, COMPLAINT), (D, OPTED_OUT)],
            &[(NotAnOptOut, 1)],
        ),
        (
            "a customer database",
            fixture!("customer_database.csv"),
            &[
                (A, OPTED_OUT),
                ("+12025550143", OPTED_OUT),
                ("+12025550145", OPTED_OUT),
            ],
            &[(NotAnOptOut, 1), (NoAddress, 1)],
        ),
    ];
    for (name, file, suppressed, left) in table {
        let list = read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(who(&list), *suppressed, "{name}");
        assert_eq!(skipped(&list), *left, "{name}");
        assert_eq!(list.problems, [], "{name}");
    }
    let own = read(fixture!("own.csv")).unwrap();
    assert_eq!(own.len(), 2);
    assert_eq!(skipped(&own), [(Expired, 1)]);
}

#[test]
fn bare_codes_say_something_only_where_no_blocks_are_listed() {
    // The columns of SendGrid's bounces are those of its blocks.
    let list = read(b"status,reason,email,created\n550,550,ann@example.com,1443651125\n5.1.1,,ben@example.com,1443651125\n,,cid@example.com,1443651125\n");
    let list = list.unwrap();
    assert_eq!(
        who(&list),
        [("ben@example.com", BAD), ("cid@example.com", OPTED_OUT)]
    );
    assert_eq!(skipped(&list), [(Skip::AboutTheSender, 1)]);
    // Who is put on Mailgun's list by hand has its default code and no words.
    let list = read(b"address,code,error,created_at\nann@example.com,550,,\nben@example.com,550,5.7.1,\ncid@example.com,550,sender rejected,\n");
    let list = list.unwrap();
    assert_eq!(who(&list), [("ann@example.com", BAD)]);
    assert_eq!(skipped(&list), [(Skip::AboutTheSender, 2)]);
}

#[test]
fn the_newest_word_in_a_log_of_messages_decides() {
    const ANN: &str = "+12025550143";
    let in_at = |date: &str, body: &str| format!("{ANN},+12025550100,{body},{date},,inbound\n");
    let out_at =
        |date: &str, error: &str| format!("+12025550100,{ANN},Hi,{date},{error},outbound-api\n");
    let (y22, y24, y25) = (
        "2022-05-01T12:00:00Z",
        "2024-05-01T12:00:00Z",
        "2025-05-01T12:00:00Z",
    );
    let now = "2024-10-01T12:00:00Z"; // before the list is read
    let stopped = [(ANN, OPTED_OUT)].to_vec();
    // In any order of lines: logs have the newest first, or last.
    let table = [
        (vec![in_at(y22, "STOP"), in_at(y24, "START")], vec![]),
        (vec![in_at(y22, "STOP"), in_at(y24, "unstop")], vec![]),
        (vec![out_at(y22, "21610"), in_at(y24, "START")], vec![]),
        (
            vec![in_at(y22, "STOP"), in_at(y24, "STOP"), in_at(now, "START")],
            vec![],
        ),
        (
            vec![in_at(y22, "START"), in_at(y24, "STOP")],
            stopped.clone(),
        ),
        (
            vec![in_at(y22, "STOP"), in_at(y24, "START"), in_at(now, "STOP")],
            stopped.clone(),
        ),
        (
            vec![in_at(y22, "START"), out_at(y24, "21610")],
            stopped.clone(),
        ),
        // Of one moment; without a date; an answer to anything; what we wrote.
        (
            vec![in_at(y24, "STOP"), in_at(y24, "START")],
            stopped.clone(),
        ),
        (
            vec![in_at(y22, "STOP"), in_at("", "START")],
            stopped.clone(),
        ),
        (
            vec![in_at("", "STOP"), in_at(y24, "START")],
            stopped.clone(),
        ),
        (vec![in_at(y22, "STOP"), in_at(y24, "Yes")], stopped.clone()),
        (
            vec![
                in_at(y22, "STOP"),
                out_at(y25, "").replace(",Hi,", ",START,"),
            ],
            stopped,
        ),
        // Somebody who sues over text messages is not asked again.
        (
            vec![out_at(y22, "30640"), in_at(y24, "START")],
            vec![(ANN, BLOCKED)],
        ),
    ];
    for (mut lines, expected) in table {
        for _ in 0..2 {
            lines.reverse();
            let other = "+12025550144,+12025550100,STOP,2022-05-01T12:00:00Z,,inbound\n";
            let file = format!(
                "From,To,Body,SentDate,ErrorCode,Direction\n{}{other}",
                lines.concat()
            );
            let list = read(file.as_bytes()).unwrap();
            let mut all = expected.clone();
            all.push(("+12025550144", OPTED_OUT));
            assert_eq!(who(&list), all, "{file}");
            let counted = list.taken + list.skipped.values().sum::<usize>();
            assert_eq!((counted, list.problems.len()), (list.lines, 0), "{file}");
        }
    }
    // Of what cannot be a number nobody has to be told.
    let list = read(b"From,To,Body,SentDate,ErrorCode,Direction\n12345,+12025550100,START,2024-05-01T12:00:00Z,,inbound\n+12025550144,+12025550100,STOP,,,inbound\n");
    assert_eq!(list.unwrap().problems, []);
}

#[test]
fn a_number_of_two_countries_is_a_problem_and_not_a_stranger_s_opt_out() {
    let account: AccountId = "12345678".parse().unwrap();
    let read_in_germany = |file: &str| {
        let defaults = Defaults {
            accounts: vec![account.clone()],
            account: account.clone(),
            region: Some("DE".to_owned()),
            reason: OPTED_OUT,
            now: now(),
        };
        let mut reading = ListReader::begin(file.as_bytes(), hasher(), defaults).unwrap();
        while reading.read(2).unwrap() {}
        reading.finish().unwrap()
    };
    for file in [
        "phone\n4915123456789\n41791234567\n+41791234567\n",
        "address\n4915123456789\n41791234567\n+41791234567\n",
        "4915123456789\n41791234567\n+41791234567\n",
    ] {
        let list = read_in_germany(file);
        assert_eq!((list.len(), list.problems.len()), (2, 1), "{file}");
        let what = list.problems[0].what;
        assert!(what.contains("of two countries"), "{file}: {what}");
    }
}

#[test]
fn every_encoding_separator_and_line_end_gives_the_same_list() {
    for (name, file) in [
        ("UTF-8", fixture!("utf8.csv")),
        ("UTF-8 with a mark", fixture!("utf8_bom.csv")),
        ("UTF-16LE with its mark", fixture!("utf16le_bom.csv")),
        ("UTF-16BE with its mark", fixture!("utf16be_bom.csv")),
        ("UTF-16LE", fixture!("utf16le.csv")),
        ("UTF-16BE", fixture!("utf16be.csv")),
        ("Windows-1252", fixture!("windows1252.csv")),
        ("CR", fixture!("bare_cr.csv")),
        ("CRLF", fixture!("crlf.csv")),
        ("mixed", fixture!("mixed_line_ends.csv")),
        ("tabs", fixture!("tabs.csv")),
        ("commas", fixture!("commas.csv")),
        ("sep=;", fixture!("sep.csv")),
    ] {
        let list = read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            who(&list),
            [
                ("ann@example.com", OPTED_OUT),
                ("ben@example.com", OPTED_OUT)
            ],
            "{name}"
        );
        assert_eq!((list.lines, list.problems.len()), (2, 0), "{name}");
    }
}

#[test]
fn names_of_columns_are_known_in_any_case_order_and_company() {
    for header in [
        "EMAIL,CREATED",
        " Email , Created ",
        "\"email\",\"created\"",
        "E-Mail,created",
    ] {
        let list = read(format!("{header}\nann@example.com,1443651125\n").as_bytes()).unwrap();
        assert_eq!(
            rows(&list)[0].created_at.timestamp(),
            1_443_651_125,
            "{header}"
        );
    }
    let list =
        read(b"more,created_at,ERROR,x,Address,Code\n1,,user unknown,y,ann@example.com,550\n")
            .unwrap();
    assert_eq!(who(&list), [("ann@example.com", BAD)]);
}

#[test]
fn no_column_of_addresses_is_left_out_and_no_title_is_an_address() {
    const TWO: [(&str, Suppression); 2] = [(A, OPTED_OUT), (PHONE, OPTED_OUT)];
    const A: &str = "ann@example.com";
    const PHONE: &str = "+12025550143";
    for (file, expected) in [
        (
            "E-Mail;Mobiltelefon\nann@example.com;(202) 555-0143\n",
            &TWO[..],
        ),
        (
            "E-postadress;Mobilnummer\nann@example.com;(202) 555-0143\n",
            &TWO,
        ),
        (
            "Téléphone portable,Courriel\n202 555 0143,ann@example.com\n",
            &TWO,
        ),
        (
            "メールアドレス\t電話番号\nann@example.com\t2025550143\n",
            &TWO,
        ),
        (
            "Work Email,Home Email,Phone\nann@example.com,ben@example.com,n/a\n",
            &[(A, OPTED_OUT), ("ben@example.com", OPTED_OUT)],
        ),
        // The prefix of a spreadsheet, and an empty line as it keeps one.
        (
            "sep = ;\n;\n;;\nname;email\nAnn;ann@example.com\n",
            &TWO[..1],
        ),
        ("phone\n12025550143.0\n", &TWO[1..]),
        // What somebody wants, and where.
        (
            "email,subscribed\nann@example.com,false\nben@example.com,true\n",
            &TWO[..1],
        ),
        ("phone,opt_in\n2025550143,N\n2025550144,Y\n", &TWO[1..]),
        (
            "email,phone,Email Opt Out,SMS Opt Out\nann@example.com,2025550144,1,0\nben@example.com,2025550143,0,1\n",
            &TWO,
        ),
        (
            "E-Mail;Status\nann@example.com;abgemeldet\nben@example.com;aktiv\n",
            &TWO[..1],
        ),
        (
            "Email,Email permission status\nann@example.com,Unsubscribed\nben@example.com,Active\n",
            &TWO[..1],
        ),
        // A doubt about a text that came in is a no, as it is when it comes in.
        (
            "From,To,Body,Direction\n+12025550143,+12025550100,not interested,Incoming\n",
            &TWO[1..],
        ),
    ] {
        let list = read(file.as_bytes()).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(who(&list), *expected, "{file}");
        assert_eq!(list.problems, [], "{file}");
    }
    // A title has a date in it, which has the digits of a phone number.
    let error = read(b"Export of 202-555-0143,,\nemail,created,\nann@example.com,2024-01-01,\n");
    assert!(error.unwrap_err().0.contains("no column has addresses"));
}

#[test]
fn dates_become_the_time_of_the_suppression_but_never_in_the_future() {
    let created = |cell: &str| {
        let file = format!("email;created\nann@example.com;{cell}\n");
        rows(&read(file.as_bytes()).unwrap())[0].created_at
    };
    assert_eq!(
        created("2019-03-04 12:00:01").to_rfc3339(),
        "2019-03-04T12:00:01+00:00"
    );
    for future in ["2099-01-01", "4102444800"] {
        assert_eq!(created(future), now());
    }
    for unreadable in ["", "03/04/2019", "soon", "0"] {
        assert_eq!(
            created(unreadable),
            now(),
            "a person is not lost for a date"
        );
    }
    // An address that was bad years ago and is still listed is not tried for another while.
    let old = rows(&read(fixture!("mailgun_bounces.csv")).unwrap());
    let bad = old.iter().find(|row| row.reason == BAD).unwrap();
    assert_eq!(bad.expires_at, BAD.lasts().map(|span| now() + span));
}

#[test]
fn plain_addresses_are_hashed_whatever_their_spelling() {
    let text = "\u{feff}dana@Example.com\r\n\r\n(202) 555-0143\n'+12025550143\nAnn <mailto:ann@example.com>\n=\"+12025550144\"\n";
    let list = read(text.as_bytes()).unwrap();
    assert_eq!((list.lines, list.taken, list.len()), (5, 5, 4));
    let rows = rows(&list);
    assert!(
        rows.iter()
            .any(|row| row.hash == hasher().address(&Address::email("dana@example.com").unwrap()))
    );
    assert!(
        rows.iter()
            .all(|row| row.reason == OPTED_OUT && row.expires_at.is_none())
    );
    // Pasted on one line.
    let list = read(b"ann@example.com; ben@example.com; +12025550143").unwrap();
    assert_eq!(list.len(), 3);
    let pasted = "ann@example.com,".repeat(1_001) + "\nben@example.com\n";
    let list = read(pasted.as_bytes()).unwrap();
    assert_eq!(list.problems.len(), 1);
}

#[test]
fn of_several_rows_about_one_address_the_strongest_holds() {
    let file = b"email;reason\nann@example.com;HardBounce\nANN@example.com;SpamComplaint\nann@example.com;Unsubscribe\n";
    let list = read(file).unwrap();
    assert_eq!(
        (list.taken, who(&list)),
        (3, vec![("ann@example.com", COMPLAINT)])
    );
}

#[test]
fn what_was_exported_is_imported_as_it_was() {
    let row = SuppressionRow {
        account: "12345678".parse().unwrap(),
        channel: Channel::Email,
        hash: *b"0123456789abcdef",
        reason: COMPLAINT,
        source: Source::UnsubscribeLink,
        created_at: now() - TimeDelta::days(3),
        expires_at: Some(now() + TimeDelta::days(1)),
    };
    let text = format!("{HEADER}{}", print(&row));
    assert_eq!(rows(&read(text.as_bytes()).unwrap()), [row]);
}

#[test]
fn a_line_that_is_not_understood_is_told_by_its_number_and_not_quoted() {
    for (text, told) in [
        (
            "ok@example.com\nsecret person\n",
            vec![
                "line 2: not an e-mail address and not a phone number; without a first line that names the columns, each line has addresses only",
            ],
        ),
        (
            "ok@example.com\nann@example.com,1443651125\n",
            vec![
                "line 2: not an e-mail address and not a phone number; without a first line that names the columns, each line has addresses only",
            ],
        ),
        (
            "email\nok@example.com\n\n\nsecret\n",
            vec!["line 5: not an e-mail address"],
        ),
        (
            "phone\n+12025550143\n4.91702E+11\n12\n",
            vec![
                "line 3: a spreadsheet has shortened the phone number (4.9E+11); export the column as text",
                "line 4: not a phone number",
            ],
        ),
        (
            "email,x\nok@example.com,\nann@example.com,a,b\n",
            vec![
                "line 3: more fields than the first line names columns; a field that holds the separator needs quotation marks",
            ],
        ),
        (
            "address,channel\nok@example.com,\nann@example.com,fax\nann@example.com,sms\n",
            vec![
                "line 3: the channel is neither email nor sms",
                "line 4: the address is not one of its channel",
            ],
        ),
        (
            "address,reason,account,expires_at\nok@example.com,,,\na@example.com,rude,,\na@example.com,,87654321,\na@example.com,,,soon\n",
            vec![
                "line 3: the reason is not opted_out, bad_address, complaint or blocked",
                "line 4: the account is not configured here",
                "line 5: expires_at is not like 2026-01-31T12:00:00Z",
            ],
        ),
        // The mark ends on line 4, so two people would be gone without a word.
        (
            "email,note\nok@example.com,\nann@example.com,\"never closed\nben@example.com,fine\ncid@example.com,\"ok\"\n",
            vec![
                "lines 3 to 5: a quotation mark on the first of these lines takes in lines that look like rows of their own; close it where its field ends",
            ],
        ),
    ] {
        let list = read(text.as_bytes()).unwrap();
        let problems: Vec<_> = list.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, told, "{text:?}");
        assert!(!list.is_empty());
    }
    // Notes of several lines are no fault.
    let list =
        read(b"email,note\nann@example.com,\"asked twice\n\nben@example.com wrote\"\n").unwrap();
    assert_eq!(who(&list), [("ann@example.com", OPTED_OUT)]);
}

#[test]
fn a_file_that_says_nothing_is_an_error_that_says_why() {
    for (file, words) in [
        (b"".as_slice(), "empty"),
        (b"\n\r\n \n", "empty"),
        (b"email,created\n", "no lines under it"),
        (b"sep=;\n", "empty"),
        (b"email,created\n\n", "no lines under it"),
        (
            b"email\nnobody\n",
            "nothing in the file could be read; line 2: not an e-mail address",
        ),
        (b"email\n-\nN/A\n", "no line has an address"),
        (b"nonsense\n", "nothing in the file could be read; line 1: "),
        (
            b"email\n\"ann@example.com\nben@example.com\n",
            "line 2: a quotation mark opens here and is never closed",
        ),
        (
            b"email\nann@example.com\n\"",
            "line 3: a quotation mark opens here and is never closed",
        ),
        (
            b"Name,Created,Telegram\nx,y,z\n",
            "no column has addresses: the first line has 3 columns, among them Name, Created; it needs a column named email",
        ),
        (
            b"Dana Smith,Berlin,1990\n",
            "the first line has 3 columns; it needs",
        ),
        (
            fixture!("mailchimp_subscribed.csv"),
            "Mailchimp's subscribers, not people who opted out",
        ),
    ] {
        let told = read(file).map(|list| list.lines).unwrap_err().0;
        assert!(told.contains(words), "{told}");
        assert!(
            !told.contains("nobody") && !told.contains("Dana") && !told.contains('@'),
            "{told}"
        );
    }
    let wide = vec!["x"; 501].join(",") + "\n";
    assert!(
        read(wide.as_bytes())
            .unwrap_err()
            .0
            .contains("too many columns")
    );
}

#[test]
fn a_list_without_opt_outs_is_understood() {
    let log = b"From,To,Body,Direction\n+12025550143,+12025550100,Thanks,inbound\n";
    let list = read(log).unwrap();
    assert!(list.is_empty());
    assert_eq!(skipped(&list), [(Skip::NotAnOptOut, 1)]);
}

/// Every record is one of three things, and there are as many as lines with something on them, where no quotation mark joins lines.
fn accounts_for_every_line(text: &str) {
    let mut records = 0;
    let Ok(mut reading) = begin(text.as_bytes()) else {
        return;
    };
    let has_header = reading.columns.is_some();
    while let Ok(true) = reading.read(3) {
        records += 3;
        assert!(reading.list.lines <= records);
    }
    let list = &reading.list;
    let skips: usize = list.skipped.values().sum();
    assert_eq!(list.lines, list.taken + skips + list.problems.len());
    let text = text.trim_start_matches('\u{feff}');
    if !text.contains('"') && !text.to_ascii_lowercase().contains("sep") {
        let lines = text
            .split(['\n', '\u{2028}', '\u{2029}'])
            .flat_map(|line| line.split('\r'));
        let lines = lines.filter(|line| !line.trim().is_empty()).count();
        assert_eq!(list.lines, lines - usize::from(has_header), "{text:?}");
    }
}

proptest! {
    #[test]
    fn fuzz_suppressions(
        header in "(|address|email,created|From;To;Body;Direction|email;status;reason|hash,channel,account,reason,expires_at)\n",
        text in "(?s).{0,200}",
        lines in prop::collection::vec("(\"?[a-z@.+0-9 ]{0,20}\"?[,;\t]){0,4}[a-z@.+0-9]{0,12}(\r|\n|\r\n)", 0..8),
    ) {
        accounts_for_every_line(&text);
        accounts_for_every_line(&format!("{header}{text}"));
        accounts_for_every_line(&format!("{header}{}", lines.concat()));
    }

    #[test]
    fn fuzz_suppressions_in_any_encoding(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_list_of_addresses_suppresses_everybody_on_it(
        names in prop::collection::btree_set("[a-z]{1,12}", 1..40),
        end in "(\n|\r|\r\n)",
        quoted in any::<bool>(),
    ) {
        let cell = |name: &String| if quoted { format!("\"{name}@example.com\"") } else { format!("{name}@example.com") };
        let cells: Vec<String> = names.iter().map(cell).collect();
        let list = read(cells.join(&end).as_bytes()).unwrap();
        prop_assert_eq!(list.len(), names.len());
    }
}
