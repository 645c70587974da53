use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vector {
    name: String,
    token: String,
    url: String,
    signature: String,
    valid: bool,
    params: Option<Vec<(String, String)>>,
    body: Option<String>,
}

impl Vector {
    fn body(&self) -> String {
        match &self.params {
            Some(params) => form_urlencoded::Serializer::new(String::new())
                .extend_pairs(params)
                .finish(),
            None => self.body.clone().unwrap(),
        }
    }

    /// The public address, and the path and query as they came in.
    fn split(&self) -> (Url, &str, Option<&str>) {
        let host = self.url.find("://").unwrap() + 3;
        let path = host + self.url[host..].find('/').unwrap();
        let (path_only, query) = match self.url[path..].split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&self.url[path..], None),
        };
        (self.url[..path].parse().unwrap(), path_only, query)
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!(
        "../../../../tests/fixtures/channels/twilio-signatures.json"
    ))
    .unwrap()
}

#[test]
fn signatures_are_judged_as_twilios_own_library_does() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 18);
    for vector in vectors {
        let (base, path, query) = vector.split();
        let tokens = vec![Secret::new("another"), Secret::new(&*vector.token)];
        let verdict = Verifier::new(tokens, &base).verify(&Request {
            path,
            query,
            signature: Some(&vector.signature),
            body: vector.body().as_bytes(),
        });
        assert_eq!(verdict.is_ok(), vector.valid, "{}", vector.name);
    }
}

fn sign(token: &str, url: &str, body: &str) -> String {
    let mut fields: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    fields.sort();
    let signed = fields
        .iter()
        .fold(url.to_owned(), |s, (name, value)| s + name + value);
    let mac = mac(&Secret::new(token)).chain_update(signed);
    STANDARD.encode(mac.finalize().into_bytes())
}

fn verified(query: Option<&str>, body: &str) -> WebhookFields {
    let base: Url = "https://reminders.example.com/hooks/".parse().unwrap();
    let url = format!(
        "https://reminders.example.com/hooks/twilio{}",
        query.map_or(String::new(), |q| format!("?{q}"))
    );
    let request = Request {
        path: "/twilio",
        query,
        signature: Some(&sign("t", &url, body)),
        body: body.as_bytes(),
    };
    let verifier = Verifier::new(vec![Secret::new("t")], &base);
    verifier.verify(&request).ok().unwrap()
}

#[test]
fn an_unsigned_or_garbled_request_is_turned_away() {
    let base: Url = "https://reminders.example.com".parse().unwrap();
    let verifier = Verifier::new(vec![Secret::new("t")], &base);
    let verdict = |signature, body: &[u8]| {
        let request = Request {
            path: "/twilio",
            query: None,
            signature,
            body,
        };
        verifier.verify(&request).err().unwrap()
    };
    assert_eq!(verdict(None, b"a=b"), RejectedWebhook::Unsigned);
    let long = "A".repeat(100_000);
    for wrong in ["", "%%%", "AAAA", &long] {
        assert_eq!(
            verdict(Some(wrong), b"a=b"),
            RejectedWebhook::WrongSignature
        );
    }
    assert_eq!(
        verdict(Some("AAAA"), &vec![b'a'; MAX_BODY + 1]),
        RejectedWebhook::TooLarge
    );
    assert_eq!(
        verdict(Some("AAAA"), "a=b&".repeat(300).as_bytes()),
        RejectedWebhook::TooLarge
    );
}

#[test]
fn without_tokens_nobody_is_believed() {
    let base: Url = "https://reminders.example.com".parse().unwrap();
    let request = Request {
        path: "/x",
        query: None,
        signature: Some(&sign("", "https://reminders.example.com/x", "")),
        body: b"",
    };
    for tokens in [vec![], vec![Secret::new("")]] {
        let verdict = Verifier::new(tokens, &base).verify(&request);
        assert_eq!(verdict.err(), Some(RejectedWebhook::WrongSignature));
    }
}

const CALLBACK: &str = "SmsSid=SM00000000000000000000000000000004&SmsStatus=undelivered&MessageStatus=undelivered&To=%2B14155550123&MessageSid=SM00000000000000000000000000000004&AccountSid=AC00000000000000000000000000000001&From=%2B14155550100&ApiVersion=2010-04-01&ErrorCode=30003&RawDlrDoneDate=2611221406";

#[test]
fn a_status_callback_names_the_attempt_and_what_became_of_it() {
    let query = Some("rid=17");
    assert_eq!(
        StatusCallback::parse(query, &verified(query, CALLBACK)),
        Some(StatusCallback {
            attempt: Some("17".to_owned()),
            message_sid: "SM00000000000000000000000000000004".to_owned(),
            account_sid: "AC00000000000000000000000000000001".to_owned(),
            status: MessageStatus::Undelivered,
            error_code: Some(30003),
        })
    );
}

#[test]
fn a_callback_without_a_message_is_none() {
    for body in [
        "",
        "MessageStatus=sent",
        "MessageStatus=sent&MessageSid=nonsense",
    ] {
        assert_eq!(
            StatusCallback::parse(None, &verified(None, body)),
            None,
            "{body}"
        );
    }
}

const INBOUND: &str = "ToCountry=US&SmsMessageSid=SM00000000000000000000000000000069&NumMedia=0&FromZip=&SmsStatus=received&Body=Stop&To=%2B14155550100&MessageSid=SM00000000000000000000000000000069&AccountSid=AC00000000000000000000000000000001&From=%2B14155550123&MessagingServiceSid=MG00000000000000000000000000000001&OptOutType=STOP";

#[test]
fn a_status_of_the_future_still_proves_that_twilio_has_the_message() {
    let body = CALLBACK.replace("undelivered", "teleported");
    let callback = StatusCallback::parse(None, &verified(None, &body)).unwrap();
    assert_eq!(callback.status, MessageStatus::Accepted);
}

#[test]
fn an_inbound_message_is_read() {
    let inbound = Inbound::parse(&verified(None, INBOUND)).unwrap();
    assert_eq!(inbound.from, Address::Phone("+14155550123".to_owned()));
    assert_eq!(
        (inbound.to.as_str(), inbound.body.as_str()),
        ("+14155550100", "Stop")
    );
    assert_eq!(inbound.opt_out, Some(OptOut::Stop));
    let shown = format!("{inbound:?}");
    assert!(
        !shown.contains("1415") && !shown.contains("body"),
        "{shown}"
    );
}

/// All complete numbers of the table, as each channel reports them, come from the address that is texted.
#[test]
fn a_message_comes_from_the_address_that_is_texted() {
    let table = include_str!("../../../../tests/fixtures/phones/numbers.tsv");
    let mut senders = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let number = line.split('\t').nth(2).unwrap();
        let Some(address) = Address::phone(number, None) else {
            continue;
        };
        senders += 1;
        for channel in ["", "rcs:", "whatsapp:"] {
            let from = format!("{channel}{number}").replace('+', "%2B");
            let body = INBOUND.replace("From=%2B14155550123", &format!("From={from}"));
            let inbound = Inbound::parse(&verified(None, &body)).unwrap();
            assert_eq!(inbound.from.expose(), address.expose(), "{from}");
        }
    }
    assert!(senders > 250, "{senders}");
    for (from, texted) in [
        ("whatsapp%3A%2B5215512345678", "+52 55 1234 5678"),
        ("%2B5215512345678", "+52 55 1234 5678"),
        ("whatsapp%3A%2B553187654321", "+55 31 98765-4321"),
        ("%2B541123456789", "+54 9 11 2345-6789"),
        ("%2B5491123456789", "+54 11 2345-6789"),
    ] {
        let body = INBOUND.replace("From=%2B14155550123", &format!("From={from}"));
        let inbound = Inbound::parse(&verified(None, &body)).unwrap();
        let address = Address::phone(texted, None).unwrap();
        assert_eq!(inbound.from.suppression_key(), address.suppression_key());
    }
}

#[test]
fn hostile_fields_are_bounded_or_ignored() {
    let long =
        format!("{INBOUND}&x=1").replace("Body=Stop", &format!("Body={}", "x".repeat(50_000)));
    assert_eq!(
        Inbound::parse(&verified(None, &long)).unwrap().body.len(),
        MAX_TEXT
    );
    for from in [
        "",
        "12345",
        "AMAZON",
        "rcs%3Aagent",
        "%2B0123",
        "%2B1415555012345678",
    ] {
        let body = INBOUND.replace("From=%2B14155550123", &format!("From={from}"));
        assert_eq!(Inbound::parse(&verified(None, &body)), None, "{from}");
    }
}
