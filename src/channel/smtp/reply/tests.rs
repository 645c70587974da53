//! Replies by their octets.

use proptest::prelude::*;

use super::reader::InvalidReply;
use super::*;

/// Code, enhanced code and text.
type Parts = (u16, Option<Enhanced>, String);

/// Reads the first reply of these octets, given in pieces of this size; and how many octets are left.
fn read(octets: &[u8], piece: usize) -> Result<Option<(ReplyLines, usize)>, InvalidReply> {
    let mut reader = ReplyReader::default();
    let mut taken = 0;
    for piece in octets.chunks(piece) {
        let (n, lines) = reader.take(piece)?;
        taken += n;
        if let Some(lines) = lines {
            return Ok(Some((lines, octets.len() - taken)));
        }
    }
    Ok(None)
}

fn reply(octets: &[u8]) -> Option<Reply> {
    let read = read(octets, octets.len()).ok()??;
    Some(read.0.reply())
}

#[test]
fn replies_are_read_as_the_protocol_allows() {
    let long = [b"550 5.1.1 ".as_slice(), &vec![b'x'; 70_000], b"\r\n"].concat();
    let some = |code, enhanced, text: &str| Some((code, enhanced, text.to_owned()));
    let e = |class, subject, detail| Some(Enhanced(class, subject, detail));
    #[rustfmt::skip]
    let cases: [(&[u8], Option<Parts>); 48] = [
        (b"250 ok\r\n", some(250, None, "ok")),
        // RFC 5321, 4.2: text may be missing, and (4.2.1) the blank before it, too.
        (b"250\r\n", some(250, None, "")),
        (b"250 \r\n", some(250, None, "")),
        (b"250\n", some(250, None, "")),
        (b"550 no\n", some(550, None, "no")),
        (b"550 no\r\r\n", some(550, None, "no")),
        (b"550\tno\r\n", some(550, None, "no")),
        // Any three digits; the first one decides.
        (b"299 fine\r\n", some(299, None, "fine")),
        (b"571 no\r\n", some(571, None, "no")),
        (b"499 later\r\n", some(499, None, "later")),
        (b"550-a\r\n550-b\r\n550 c\r\n", some(550, None, "a b c")),
        (b"550-\r\n550-b\r\n550\r\n", some(550, None, "b")),
        // Codes of one class may differ from line to line: the last one counts.
        (b"550-a\r\n554 c\r\n", some(554, None, "a c")),
        (b"550-a\r\nwithout a code\r\n550 c\r\n", some(550, None, "a without a code c")),
        (b"\r\n\n550 no\r\n", some(550, None, "no")),
        // Not UTF-8: Latin-1.
        (b"550 Empf\xe4nger\r\n", some(550, None, "Empf\u{e4}nger")),
        (b"550 \xff\xfe\x00\r\n", some(550, None, "\u{ff}\u{fe}\0")),
        ("550 Empfänger unbekannt\r\n".as_bytes(), some(550, None, "Empfänger unbekannt")),
        // Enhanced codes, however they are written.
        (b"550 5.7.1 no\r\n", some(550, e(5, 7, 1), "no")),
        (b"550 5.7.1: no\r\n", some(550, e(5, 7, 1), "no")),
        (b"550 5.7.1 : no\r\n", some(550, e(5, 7, 1), "no")),
        (b"550 #5.7.1 no\r\n", some(550, e(5, 7, 1), "no")),
        (b"550 (#5.7.1) no\r\n", some(550, e(5, 7, 1), "no")),
        (b"550 [5.7.1] no\r\n", some(550, e(5, 7, 1), "no")),
        (b"550 <5.7.1> no\r\n", some(550, e(5, 7, 1), "no")),
        (b"550 no (#5.7.1)\r\n", some(550, e(5, 7, 1), "no (#5.7.1)")),
        (b"550 no (#5.1.1 - chkuser)\r\n", some(550, e(5, 1, 1), "no (#5.1.1 - chkuser)")),
        (b"550 said: 550-5.1.1 gone\r\n", some(550, e(5, 1, 1), "said: 550-5.1.1 gone")),
        (b"550 no, 5.7.1.\r\n", some(550, e(5, 7, 1), "no, 5.7.1.")),
        (b"550-no\r\n550 5.7.1 never\r\n", some(550, e(5, 7, 1), "no never")),
        (b"550-no #5.1.1\r\n550 5.7.1 never\r\n", some(550, e(5, 7, 1), "no #5.1.1 never")),
        (b"550-5.7.26 a\r\n550 5.7.26 b\r\n", some(550, e(5, 7, 26), "a b")),
        (b"550 5.7.515 no\r\n", some(550, e(5, 7, 515), "no")),
        // Of another class, or no code at all.
        (b"550 4.2.2 odd\r\n", some(550, None, "4.2.2 odd")),
        (b"550 192.0.2.1 is listed\r\n", some(550, None, "192.0.2.1 is listed")),
        (b"550 5.1.1.1 odd\r\n", some(550, None, "5.1.1.1 odd")),
        (b"550 see mx-5.1.1.example.com\r\n", some(550, None, "see mx-5.1.1.example.com")),
        (b"550 Server/5.1.1 v5.1.1 5.96.2 5.1.1234\r\n", some(550, None, "Server/5.1.1 v5.1.1 5.96.2 5.1.1234")),
        // The number of a section, of a rule or of a program is no code, even at the end of its line.
        (b"550 see section 5.1.1 of it\r\n", some(550, None, "see section 5.1.1 of it")),
        (b"550-see section\r\n550 5.1.1 of it\r\n", some(550, None, "see section 5.1.1 of it")),
        (b"550 no (rule #5.1.1)\r\n", some(550, None, "no (rule #5.1.1)")),
        (b"550 no (MailGuard 5.1.1)\r\n", some(550, None, "no (MailGuard 5.1.1)")),
        (b"550 Some Security (5.1.1)\r\n", some(550, None, "Some Security (5.1.1)")),
        ("550 siehe § 5.1.1\r\n".as_bytes(), some(550, None, "siehe § 5.1.1")),
        (b"550 section 5.1.1 says: 5.7.1 no\r\n", some(550, e(5, 7, 1), "section 5.1.1 says: 5.7.1 no")),
        // A marked code behind a program's name, and one behind a colon.
        (b"550 refused by server (#5.1.1)\r\n", some(550, e(5, 1, 1), "refused by server (#5.1.1)")),
        (b"550 Exim: 5.1.1\r\n", some(550, e(5, 1, 1), "Exim: 5.1.1")),
        (&long, some(550, e(5, 1, 1), &"x".repeat(LINE_KEPT - 10))),
    ];
    for (octets, expected) in cases {
        let shown = String::from_utf8_lossy(&octets[..octets.len().min(60)]).into_owned();
        let got = reply(octets).map(|r| (r.code, r.enhanced, r.text));
        assert_eq!(got, expected, "{shown}");
    }
}

#[test]
fn a_code_among_words_stands_in_passing() {
    for (text, in_passing) in [
        ("5.1.1 no", false),
        ("no\n5.1.1 never", false),
        ("no (#5.1.1)", false),
        ("no [5.1.1]", false),
        ("no <5.1.1>", false),
        ("said: 550 5.1.1 no", false),
        ("said: 550-5.1.1 no", false),
        ("Error: 5.1.1: no", true),
        ("no 5.1.1", true),
        ("said: 554 5.1.1 no", true),
        ("no", false),
    ] {
        assert_eq!(Reply::new(550, text).in_passing, in_passing, "{text}");
    }
}

#[test]
fn a_reply_names_either_side_or_strangers() {
    for (text, expected) in [
        ("no", QuotedParty::Nobody),
        ("customer.example", QuotedParty::Nobody),
        ("mx.customer.example acme.example", QuotedParty::Nobody),
        ("<dana@customer.example>", QuotedParty::Recipient),
        (
            "<dana@elsewhere.example> robot@mail.acme.example",
            QuotedParty::Recipient,
        ),
        ("<robot@mail.acme.example>", QuotedParty::Sender),
        ("mail.acme.example", QuotedParty::SenderDomain),
        ("bounce.mail.acme.example", QuotedParty::SenderDomain),
        ("acme.example", QuotedParty::SenderDomain),
        ("out7.host.example said no", QuotedParty::SenderDomain),
        ("notacme.example", QuotedParty::Strangers),
        ("Acme", QuotedParty::Nobody),
        ("see https://acme.example/help", QuotedParty::Nobody),
        ("version 1.2.3 of 192.0.2.1", QuotedParty::Nobody),
    ] {
        let reply = Reply::new(550, text).answering(
            "robot@mail.acme.example",
            "dana@customer.example",
            "out7.host.example",
        );
        assert_eq!(reply.names, expected, "{text}");
    }
}

#[test]
fn of_very_many_lines_the_first_are_kept() {
    let said = b"550-5.1.1 so\r\n".repeat(MOST_LINES - 1);
    let reply = reply(&[said.as_slice(), b"550 and so on\r\n"].concat()).unwrap();
    assert_eq!(reply.enhanced, Some(Enhanced(5, 1, 1)));
    assert!(reply.text.starts_with("so so") && reply.text.len() <= TEXT_KEPT);
}

#[test]
fn what_is_no_reply_is_unreadable() {
    let endless = [b"250 ".as_slice(), &vec![b'x'; MOST_OCTETS]].concat();
    let many = b"250-x\r\n".repeat(MOST_LINES + 1);
    let blank = b"\r\n".repeat(MOST_LINES + 1);
    let cases: [&[u8]; 14] = [
        &blank,
        b"hello\r\n",
        b"25\r\n",
        b"2500 four digits\r\n",
        b"150 a class that SMTP does not have\r\n",
        b"650 no\r\n",
        b"+OK POP3 ready\r\n",
        b"* OK IMAP ready\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16\n",
        b"250-fine\r\n550 or not\r\n",
        &endless,
        &many,
    ];
    for octets in cases {
        let shown = String::from_utf8_lossy(&octets[..octets.len().min(30)]).into_owned();
        assert_eq!(read(octets, octets.len()), Err(InvalidReply), "{shown}");
    }
}

#[test]
fn offers_come_in_any_case_and_in_the_old_spelling() {
    let offers = |starttls, plain, login| Offers {
        starttls,
        plain,
        login,
        xoauth2: false,
    };
    let cases = [
        ("250 mx", offers(false, false, false)),
        (
            "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN",
            offers(true, true, true),
        ),
        (
            "250-mx\r\n250-starttls\r\n250 auth plain",
            offers(true, true, false),
        ),
        (
            "250-mx\r\n250-StartTLS\r\n250-AUTH=LOGIN PLAIN",
            offers(true, true, true),
        ),
        (
            "250-mx\r\n250-AUTH CRAM-MD5\r\n250 AUTH=login",
            offers(false, false, true),
        ),
        ("250-mx\r\n250 AUTH", offers(false, false, false)),
        (
            "250-mx\r\n250 XSTARTTLS AUTHPLAIN",
            offers(false, false, false),
        ),
        // The first line is a name, whatever it says.
        ("250 STARTTLS", offers(false, false, false)),
    ];
    for (answer, expected) in cases {
        let last = answer
            .rsplit("\r\n")
            .next()
            .unwrap()
            .replacen("250-", "250 ", 1);
        let begun = answer
            .rsplit_once("\r\n")
            .map_or(String::new(), |(b, _)| format!("{b}\r\n"));
        let octets = format!("{begun}{last}\r\n");
        let lines = read(octets.as_bytes(), 3).unwrap().unwrap().0;
        assert_eq!(Offers::of(&lines), expected, "{answer}");
    }
}

#[test]
fn tokens_are_offered_under_one_name() {
    for (answer, offered) in [
        ("250-mx\r\n250 AUTH LOGIN XOAUTH2\r\n", true),
        ("250-mx\r\n250 auth=xoauth2\r\n", true),
        ("250-mx\r\n250 AUTH OAUTHBEARER\r\n", false),
    ] {
        let lines = read(answer.as_bytes(), 3).unwrap().unwrap().0;
        assert_eq!(Offers::of(&lines).xoauth2, offered, "{answer}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_read_alike_however_they_are_cut(
        octets in prop::collection::vec(
            prop_oneof![4 => "[245][0-9]{2}[ -]\\PC{0,12}\r?\n".prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 0..9)],
            0..6,
        ),
        piece in 1..40_usize,
    ) {
        let octets = octets.concat();
        let whole = read(&octets, octets.len().max(1));
        prop_assert_eq!(&read(&octets, piece), &whole);
        if let Ok(Some((lines, left))) = whole {
            let reply = lines.reply();
            prop_assert!(left < octets.len());
            prop_assert!((200..600).contains(&reply.code));
            prop_assert!(reply.enhanced.is_none_or(|e| u16::from(e.0) == reply.class()));
            prop_assert!(reply.text.len() <= TEXT_KEPT * 4);
        }
    }

    #[test]
    fn a_code_in_any_spelling_is_found_at_any_place(
        class in prop::sample::select(vec![4_u8, 5]), subject in 0..8_u16, detail in 0..1000_u16,
        before in "[a-z ]{0,12}", after in "[a-z ]{0,12}", spelling in 0..6_usize, line in 0..3_usize,
    ) {
        let enhanced = Enhanced(class, subject, detail);
        let written = match spelling {
            0 => format!("{enhanced}"),
            1 => format!("{enhanced}:"),
            2 => format!("#{enhanced}"),
            3 => format!("(#{enhanced})"),
            4 => format!("[{enhanced}]"),
            _ => format!("<{enhanced}>"),
        };
        let mut lines = ["first", "second", "third"];
        let told = format!("{before} {written} {after}");
        lines[line] = &told;
        let reply = Reply::new(u16::from(class) * 100 + 50, &lines.join("\n"));
        prop_assert_eq!(reply.enhanced, Some(enhanced));
    }
}
