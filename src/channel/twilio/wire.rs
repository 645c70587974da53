//! Twilio's JSON, as far as it is read. Everything is optional until proven: gateways answer HTML, and fields change their types.

use serde::Deserialize;
use serde_json::Value;

use super::MessageStatus;

#[derive(Deserialize)]
pub(super) struct WireSms {
    sid: Option<String>,
    status: Option<String>,
    error_code: Option<Value>,
    pub body: Option<String>,
    pub direction: Option<String>,
    /// RFC 2822.
    pub date_created: Option<String>,
}

impl WireSms {
    /// The SID, if it is one.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref().filter(|sid| is_message_sid(sid))
    }

    /// An unknown status says no more than that Twilio has the message.
    pub fn status(&self) -> MessageStatus {
        let known = self.status.as_deref().and_then(MessageStatus::parse);
        known.unwrap_or(MessageStatus::Accepted)
    }

    pub fn error_code(&self) -> Option<u32> {
        number(self.error_code.as_ref()?)
    }
}

/// One page of a list.
pub(super) trait TwilioPage: serde::de::DeserializeOwned {
    type Item;
    fn into_parts(self) -> (Vec<Self::Item>, Option<String>);
}

#[derive(Deserialize)]
pub(super) struct Messages {
    messages: Vec<WireSms>,
    next_page_uri: Option<String>,
}

impl TwilioPage for Messages {
    type Item = WireSms;

    fn into_parts(self) -> (Vec<WireSms>, Option<String>) {
        (self.messages, self.next_page_uri)
    }
}

#[derive(Deserialize)]
pub(super) struct PhoneNumbers {
    incoming_phone_numbers: Vec<PhoneNumber>,
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct PhoneNumber {
    #[serde(rename = "phone_number")]
    pub number: Option<String>,
    /// Where inbound messages are posted.
    pub sms_url: Option<String>,
    capabilities: Option<Capabilities>,
}

#[derive(Deserialize)]
struct Capabilities {
    // Capital letters in older answers.
    #[serde(alias = "SMS")]
    sms: Option<bool>,
}

impl PhoneNumber {
    pub fn sends_sms(&self) -> bool {
        self.capabilities.as_ref().and_then(|c| c.sms) == Some(true)
    }
}

impl TwilioPage for PhoneNumbers {
    type Item = PhoneNumber;

    fn into_parts(self) -> (Vec<PhoneNumber>, Option<String>) {
        (self.incoming_phone_numbers, self.next_page_uri)
    }
}

/// The error code of a refusal: at the same place in Twilio's classic shape and in the RFC 9457 shape of its newer services.
pub(super) fn error_code(body: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct TwilioError {
        code: Option<Value>,
    }
    number(&serde_json::from_slice::<TwilioError>(body).ok()?.code?)
}

fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(n) => n.as_u64()?.try_into().ok(),
        Value::String(s) => s.parse().ok(),
        _ => None,
    }
}

/// `SM` or `MM` and 32 hexadecimal digits.
pub(in crate::channel) fn is_message_sid(sid: &str) -> bool {
    let digits = sid.strip_prefix("SM").or_else(|| sid.strip_prefix("MM"));
    digits.is_some_and(|d| d.len() == 32 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}
