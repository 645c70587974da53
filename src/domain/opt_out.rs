//! What a no means: how sure it is, and how far it reaches.

use serde::Serialize;

/// Why an opt-out that somebody wrote in their own words is doubtful. It holds at once all the same, and a person should look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// A word like "stop" stands in a sentence that no rule explains.
    StopWord,
    /// A single word that nearly is a keyword.
    Misspelling,
    /// A word that says stop in one sense or language and something else in another ("fine"), or a keyword with more behind it
    /// ("Cancel. I have it").
    AmbiguousWord,
    /// "Not interested".
    NotInterested,
    /// "I am not Maria".
    WrongPerson,
    /// "Get lost".
    Dismissal,
    /// "You will hear from my lawyer", "this is spam", "the third time today".
    Complaint,
    /// It is about our messages or their number, and about nothing else.
    AboutMessages,
}

impl Doubt {
    pub const ALL: [Self; 8] = [
        Self::StopWord,
        Self::Misspelling,
        Self::AmbiguousWord,
        Self::NotInterested,
        Self::WrongPerson,
        Self::Dismissal,
        Self::Complaint,
        Self::AboutMessages,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::StopWord => "stop_word",
            Self::Misspelling => "misspelling",
            Self::AmbiguousWord => "ambiguous_word",
            Self::NotInterested => "not_interested",
            Self::WrongPerson => "wrong_person",
            Self::Dismissal => "dismissal",
            Self::Complaint => "complaint",
            Self::AboutMessages => "about_messages",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|doubt| doubt.as_str() == word)
    }
}

/// The ways in which a consumer says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// STOP in whatever words, by SMS or RCS.
    Stop,
    /// The link in a reminder, or a mail program's button (RFC 8058).
    Unsubscribe,
    /// "This is spam", as the mailbox provider reports it.
    Complaint,
}

impl No {
    pub const ALL: [Self; 3] = [Self::Stop, Self::Unsubscribe, Self::Complaint];
}

/// How far a no reaches: the setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// STOP holds for the number in every account of the installation; the others in their account.
    #[default]
    Installation,
    /// STOP holds in the accounts that share the sender it was sent to, or its Messaging Service.
    Sender,
    /// Every no holds in all accounts and on all channels, as far as the consumer's other addresses are known.
    Everything,
}

impl Reach {
    pub const ALL: [Self; 3] = [Self::Installation, Self::Sender, Self::Everything];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installation => "installation",
            Self::Sender => "sender",
            Self::Everything => "everything",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reach| reach.as_str() == word)
    }

    /// In which accounts a no holds.
    pub fn accounts(self, no: No) -> OptOutAccounts {
        match (self, no) {
            (Self::Everything, _) | (Self::Installation, No::Stop) => OptOutAccounts::All,
            (Self::Sender, No::Stop) => OptOutAccounts::SharingSender,
            (_, No::Unsubscribe | No::Complaint) => OptOutAccounts::Own,
        }
    }

    /// Whether a no holds for the consumer's other addresses too, on this channel and the others.
    pub fn covers_other_addresses(self) -> bool {
        self == Self::Everything
    }
}

/// The accounts in which a no holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptOutAccounts {
    /// The one whose reminder was answered.
    Own,
    /// Those that send from the number or Messaging Service that was answered.
    SharingSender,
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for doubt in Doubt::ALL {
            assert_eq!(Doubt::parse(doubt.as_str()), Some(doubt));
        }
        for reach in Reach::ALL {
            assert_eq!(Reach::parse(reach.as_str()), Some(reach));
        }
        assert_eq!((Doubt::parse(""), Reach::parse("")), (None, None));
    }

    #[test]
    fn a_no_never_reaches_less_far_than_its_own_account() {
        use OptOutAccounts::{All, Own, SharingSender};
        let table = [
            (Reach::Installation, [All, Own, Own], false),
            (Reach::Sender, [SharingSender, Own, Own], false),
            (Reach::Everything, [All, All, All], true),
        ];
        for (reach, accounts, others) in table {
            assert_eq!(No::ALL.map(|no| reach.accounts(no)), accounts, "{reach:?}");
            assert_eq!(reach.covers_other_addresses(), others, "{reach:?}");
        }
    }
}
