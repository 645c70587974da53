//! Reads an e-mail as a mail program would, by a parser that was not written here: it does not share the service's mistakes, nor those of
//! the library that builds its mails.

use mail_parser::{Header, HeaderValue, MessageParser, MessagePart, MimeHeaders as _, PartType};

/// What a reader of the mail gets to see.
#[derive(Debug, Default, PartialEq)]
pub struct Parsed {
    /// Header fields in order: unfolded, encoded words decoded.
    pub headers: Vec<(String, String)>,
    /// The first text/plain part.
    pub text: Option<String>,
    /// The first text/html part.
    pub html: Option<String>,
}

/// Without `parts` only the headers are read.
pub fn parse(raw: &[u8], parts: bool) -> Parsed {
    let parser = MessageParser::new()
        .with_mime_headers()
        .default_header_text();
    let message = if parts {
        parser.parse(raw)
    } else {
        parser.parse_headers(raw)
    };
    let Some(message) = message else {
        return Parsed::default();
    };
    let headers = message.headers().iter();
    let first = |subtype| {
        let mut found = message.parts.iter().filter(|_| parts);
        found.find_map(|part| words_of(part, subtype))
    };
    Parsed {
        headers: headers.map(|header| field(header, raw)).collect(),
        text: first("plain"),
        html: first("html"),
    }
}

fn field(header: &Header<'_>, raw: &[u8]) -> (String, String) {
    let value = if let HeaderValue::Text(text) = &header.value {
        text.to_string()
    } else {
        // Taken apart for the parts' sake: shown as it stands there.
        let place = header.offset_start as usize..header.offset_end as usize;
        let line = String::from_utf8_lossy(raw.get(place).unwrap_or_default());
        line.replace("\r\n", "").trim().to_owned()
    };
    (header.name.as_str().to_owned(), value)
}

/// A part's words, if it is text of this kind. Text that does not say its kind is plain (RFC 2045, 5.2).
fn words_of(part: &MessagePart<'_>, subtype: &str) -> Option<String> {
    let kind = part.content_type();
    let own = kind.map_or(Some("plain"), |kind| kind.subtype());
    let (PartType::Text(words) | PartType::Html(words)) = &part.body else {
        return None;
    };
    let is_it = own.is_some_and(|own| own.eq_ignore_ascii_case(subtype));
    is_it.then(|| words.to_string())
}
