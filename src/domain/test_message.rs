//! Test messages: how many somebody may send, and to whom words of their own may go.
//!
//! Somebody who writes rules could write anything to anybody in the brand's name. So the first message to an address is a fixed
//! text with a code, and words of one's own go to those who have entered theirs, or to whom the installation names.

use std::str::FromStr;

use chrono::TimeDelta;

use super::contact::Address;

/// What a day's limits count over.
pub const DAY: TimeDelta = TimeDelta::days(1);
/// Test messages that one person may send within a [`DAY`], those with a code included.
pub const A_DAY: i64 = 20;
/// Codes that one person may have sent within a [`DAY`], and that one address may get from all of them.
pub const CODES_A_DAY: i64 = 3;
/// How long a code can be entered.
pub const CODE_LASTS: TimeDelta = TimeDelta::minutes(15);
/// Times that a code may be entered: with three codes a day, a guess is right once in 66,000 days.
pub const TRIES: i16 = 5;

/// A code as it is sent: six digits.
pub fn code(number: u32) -> String {
    format!("{:06}", number % 1_000_000)
}

/// A code as somebody enters it, perhaps with blanks between its digits. `None` if it cannot be one.
pub fn entered(raw: &str) -> Option<String> {
    let digits: String = raw.chars().filter(|c| !c.is_whitespace()).collect();
    let is_code = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit());
    is_code.then_some(digits)
}

/// To whom own words go without a code: an entry of `UNREAD_TEST_RECIPIENTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestRecipient {
    Address(Address),
    /// Every address at this domain, not at those below it.
    Domain(String),
}

/// What an entry must look like.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an e-mail address, a phone number with its country (+12025550143), or a domain (@example.com)"
)]
pub struct InvalidRecipient;

impl FromStr for TestRecipient {
    type Err = InvalidRecipient;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let raw = raw.trim();
        if raw.starts_with('@') {
            // Read as the domain of an address is, so that both are written alike.
            return match Address::email(&format!("x{raw}")) {
                Some(address) => Ok(Self::Domain(address.traits())),
                None => Err(InvalidRecipient),
            };
        }
        let address = if raw.contains('@') {
            Address::email(raw)
        } else {
            Address::phone(raw, None)
        };
        address.map(Self::Address).ok_or(InvalidRecipient)
    }
}

impl TestRecipient {
    pub fn covers(&self, address: &Address) -> bool {
        match self {
            Self::Address(own) => own.suppression_key() == address.suppression_key(),
            Self::Domain(domain) => {
                matches!(address, Address::Email(_)) && address.traits() == *domain
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(raw: &str) -> Address {
        let address = Address::email(raw).or_else(|| Address::phone(raw, None));
        address.unwrap_or_else(|| panic!("{raw} is an address"))
    }

    #[test]
    fn an_entry_covers_what_it_names_in_every_spelling_and_nothing_else() {
        for (entry, given, covered) in [
            ("ann@example.com", "ann@example.com", true),
            ("Ann@Example.com", "aNN@EXAMPLE.COM", true),
            ("ann@example.com", "bob@example.com", false),
            ("ann@example.com", "ann@mail.example.com", false),
            ("@example.com", "bob@example.com", true),
            (" @Example.COM ", "bob@example.com", true),
            // A name below a domain may be somebody else's, and so is one that only ends like it.
            ("@example.com", "bob@mail.example.com", false),
            ("@example.com", "bob@anexample.com", false),
            ("@example.com", "bob@example.com.evil.example", false),
            ("@example.com", "+12025550143", false),
            ("@b\u{fc}cher.example", "ann@xn--bcher-kva.example", true),
            ("@xn--bcher-kva.example", "ann@B\u{dc}CHER.example", true),
            ("+1 202 555 0143", "+12025550143", true),
            ("+1 (202) 555-0143", "+12025550144", false),
            ("+49 170 1234567", "+491701234567", true),
        ] {
            let entry: TestRecipient = entry.parse().unwrap();
            assert_eq!(entry.covers(&address(given)), covered, "{entry:?} {given}");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for wrong in [
            "",
            "@",
            "@example",
            "@exa mple.com",
            "@.com",
            "@a@example.com",
            "example.com",
            "*@example.com.",
            "ann@",
            // A national number is one of any country.
            "0170 1234567",
            "*",
            "all",
        ] {
            assert_eq!(
                wrong.parse::<TestRecipient>(),
                Err(InvalidRecipient),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_code_is_six_digits_however_it_is_entered() {
        assert_eq!(code(7), "000007");
        assert_eq!(code(1_000_042), "000042");
        for (raw, read) in [
            ("123456", Some("123456")),
            (" 123 456\n", Some("123456")),
            ("000000", Some("000000")),
            ("12345", None),
            ("1234567", None),
            ("12345a", None),
            ("\u{661}23456", None),
            ("", None),
        ] {
            assert_eq!(entered(raw).as_deref(), read, "{raw:?}");
        }
    }

    #[test]
    fn what_the_audit_says_of_an_address_names_nobody() {
        for (raw, said) in [
            ("ann@example.com", "example.com"),
            ("+12025550143", "US …43"),
            ("+491701234567", "DE …67"),
        ] {
            assert_eq!(address(raw).traits(), said);
        }
    }
}
