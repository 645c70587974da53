//! Types of the domain as columns: bound as they are and decoded as they are, alone and in arrays.
//!
//! A word that this version does not know, from a newer version or an older one, is an error of its row. What reads many rows reads
//! them with [`readable`], so that the others do not suffer.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef, Postgres};
use sqlx::types::Json;
use sqlx::{Decode, Encode, FromRow, Type};

use super::circuits::Proof;
use super::journal::Sink;
use super::suppressions::Source;
use crate::domain::access::{AccountLimit, Role};
use crate::domain::channel::PerChannel;
use crate::domain::contact::Suppression;
use crate::domain::decide::{Cause, Reason, Stage, Verdict};
use crate::domain::hold;
use crate::domain::ids::{AccountId, Channel, Provider, ReminderId, SkillId};
use crate::domain::local_time::ZoneSource;
use crate::domain::opt_out::Doubt;
use crate::domain::outcome::OutcomeKind;
use crate::domain::read_state::ReadStatus;
use crate::domain::refusals;
use crate::domain::reminder::ReminderState;

/// A column holds a word that is none of its vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{word:?} is no {what} that this version knows")]
pub struct UnknownWord {
    pub what: &'static str,
    pub word: String,
}

/// What a text column reads as.
trait TextColumn: Sized {
    const WHAT: &'static str;

    fn read(word: &str) -> Option<Self>;

    fn checked(word: &str) -> Result<Self, UnknownWord> {
        Self::read(word).ok_or_else(|| UnknownWord {
            what: Self::WHAT,
            word: word.to_owned(),
        })
    }
}

fn parsed<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

macro_rules! words {
    ($($type:ty, $what:literal, $read:path;)+) => {$(
        impl TextColumn for $type {
            const WHAT: &'static str = $what;

            fn read(word: &str) -> Option<Self> {
                $read(word)
            }
        }

        impl Type<Postgres> for $type {
            fn type_info() -> PgTypeInfo {
                <str as Type<Postgres>>::type_info()
            }

            fn compatible(info: &PgTypeInfo) -> bool {
                <str as Type<Postgres>>::compatible(info)
            }
        }

        impl PgHasArrayType for $type {
            fn array_type_info() -> PgTypeInfo {
                <&str as PgHasArrayType>::array_type_info()
            }

            fn array_compatible(info: &PgTypeInfo) -> bool {
                <&str as PgHasArrayType>::array_compatible(info)
            }
        }

        impl Encode<'_, Postgres> for $type {
            fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <&str as Encode<'_, Postgres>>::encode_by_ref(&self.as_str(), buf)
            }
        }

        impl Decode<'_, Postgres> for $type {
            fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                let word = <&str as Decode<'_, Postgres>>::decode(value)?;
                Ok(Self::checked(word)?)
            }
        }
    )+};
}

words! {
    AccountId, "account id", parsed;
    Channel, "channel", parsed;
    Provider, "provider", Provider::parse;
    ReminderState, "state of a reminder", ReminderState::parse;
    ReadStatus, "read state", ReadStatus::parse;
    OutcomeKind, "outcome", OutcomeKind::parse;
    Reason, "reason", Reason::parse;
    Cause, "reason", parsed;
    Stage, "stage", Stage::parse;
    Verdict, "verdict", Verdict::parse;
    Suppression, "reason of a suppression", Suppression::parse;
    Source, "source of a suppression", Source::parse;
    Doubt, "doubt", Doubt::parse;
    Proof, "proof", Proof::parse;
    ZoneSource, "source of a time zone", ZoneSource::parse;
    hold::HoldKind, "kind of hold", hold::HoldKind::parse;
    hold::HoldEnd, "end of a hold", hold::HoldEnd::parse;
    refusals::RefusalKind, "kind of refusal", refusals::RefusalKind::parse;
    Sink, "place of a journal", Sink::parse;
    Role, "role", parsed;
}

macro_rules! numbers {
    ($($type:ident),+) => {$(
        impl Type<Postgres> for $type {
            fn type_info() -> PgTypeInfo {
                <i64 as Type<Postgres>>::type_info()
            }
        }

        impl PgHasArrayType for $type {
            fn array_type_info() -> PgTypeInfo {
                <i64 as PgHasArrayType>::array_type_info()
            }
        }

        impl Encode<'_, Postgres> for $type {
            fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <i64 as Encode<'_, Postgres>>::encode_by_ref(&self.0, buf)
            }
        }

        impl Decode<'_, Postgres> for $type {
            fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                Ok(Self(<i64 as Decode<'_, Postgres>>::decode(value)?))
            }
        }
    )+};
}

numbers!(SkillId, ReminderId);

/// An array of accounts; null: no limit. One that cannot be read is an error, never a wider limit.
impl Type<Postgres> for AccountLimit {
    fn type_info() -> PgTypeInfo {
        <Vec<AccountId> as Type<Postgres>>::type_info()
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        <Vec<AccountId> as Type<Postgres>>::compatible(info)
    }
}

impl Encode<'_, Postgres> for AccountLimit {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self.ids() {
            Some(ids) => <&[AccountId] as Encode<'_, Postgres>>::encode_by_ref(&ids, buf),
            None => Ok(IsNull::Yes),
        }
    }
}

impl Decode<'_, Postgres> for AccountLimit {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let ids = <Option<Vec<AccountId>> as Decode<'_, Postgres>>::decode(value)?;
        Ok(ids.map_or(Self::NONE, Self::to))
    }
}

/// Causes by the words of channels. What stands beside a word that this version does not know is the business of the version that wrote
/// it.
impl From<Json<BTreeMap<String, String>>> for PerChannel<Option<Cause>> {
    fn from(Json(words): Json<BTreeMap<String, String>>) -> Self {
        Self::of(|channel| words.get(channel.as_str()).map(|word| Cause::parse(word)))
    }
}

/// The rows as they are meant. One with a word that this version does not know is left out: it is the business of the version that
/// wrote it. The log says once in a process which word that was.
pub fn readable<T: for<'r> FromRow<'r, PgRow>>(rows: &[PgRow]) -> sqlx::Result<Vec<T>> {
    let read = rows.iter().map(T::from_row);
    read.filter_map(|row| match row {
        Ok(row) => Some(Ok(row)),
        Err(error) => match unknown_word(&error) {
            Some(unknown) => {
                say_once(unknown);
                None
            }
            None => Some(Err(error)),
        },
    })
    .collect()
}

/// The word that an error is about, if it is about one.
pub fn unknown_word(error: &sqlx::Error) -> Option<&UnknownWord> {
    match error {
        sqlx::Error::ColumnDecode { source, .. } | sqlx::Error::Decode(source) => {
            source.downcast_ref()
        }
        _ => None,
    }
}

/// Words that are remembered as said.
const MOST_SAID: usize = 1_000;

fn say_once(unknown: &UnknownWord) {
    static SAID: Mutex<BTreeSet<UnknownWord>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() >= MOST_SAID {
        said.clear();
    }
    if said.insert(unknown.clone()) {
        tracing::warn!("A row is passed over: {unknown}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_told_with_what_it_should_be() {
        fn told<T: TextColumn>(word: &str) -> String {
            T::checked(word)
                .err()
                .map_or_else(String::new, |unknown| unknown.to_string())
        }
        for (told, expected) in [
            (
                told::<Channel>("fax"),
                "\"fax\" is no channel that this version knows",
            ),
            (
                told::<Channel>("Email"),
                "\"Email\" is no channel that this version knows",
            ),
            (told::<Channel>("email"), ""),
            (
                told::<AccountId>("a b"),
                "\"a b\" is no account id that this version knows",
            ),
            (
                told::<Provider>("pigeon"),
                "\"pigeon\" is no provider that this version knows",
            ),
            (
                told::<ReminderState>("queued"),
                "\"queued\" is no state of a reminder that this version knows",
            ),
            (
                told::<ReadStatus>("skimmed"),
                "\"skimmed\" is no read state that this version knows",
            ),
            (
                told::<OutcomeKind>("perhaps"),
                "\"perhaps\" is no outcome that this version knows",
            ),
            (
                told::<Reason>("rain"),
                "\"rain\" is no reason that this version knows",
            ),
            (told::<Cause>("rcpt 550"), ""),
            (
                told::<Stage>("attic"),
                "\"attic\" is no stage that this version knows",
            ),
            (
                told::<Verdict>("guilty"),
                "\"guilty\" is no verdict that this version knows",
            ),
            (
                told::<Suppression>(""),
                "\"\" is no reason of a suppression that this version knows",
            ),
            (
                told::<Source>("rumour"),
                "\"rumour\" is no source of a suppression that this version knows",
            ),
            (
                told::<Doubt>("none"),
                "\"none\" is no doubt that this version knows",
            ),
            (
                told::<Proof>("pudding"),
                "\"pudding\" is no proof that this version knows",
            ),
            (
                told::<ZoneSource>("sun"),
                "\"sun\" is no source of a time zone that this version knows",
            ),
            (
                told::<hold::HoldKind>("grudge"),
                "\"grudge\" is no kind of hold that this version knows",
            ),
            (
                told::<hold::HoldEnd>("never"),
                "\"never\" is no end of a hold that this version knows",
            ),
            (
                told::<refusals::RefusalKind>("whim"),
                "\"whim\" is no kind of refusal that this version knows",
            ),
            (
                told::<Sink>("bottle"),
                "\"bottle\" is no place of a journal that this version knows",
            ),
            (
                told::<Role>("king"),
                "\"king\" is no role that this version knows",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn only_an_unknown_word_is_passed_over() {
        let unknown = UnknownWord {
            what: "channel",
            word: "fax".to_owned(),
        };
        let of_column = sqlx::Error::ColumnDecode {
            index: "channel".to_owned(),
            source: Box::new(unknown.clone()),
        };
        assert_eq!(unknown_word(&of_column), Some(&unknown));
        assert_eq!(unknown_word(&sqlx::Error::Decode("a null".into())), None);
        assert_eq!(unknown_word(&sqlx::Error::RowNotFound), None);
    }
}
