//! JSON values as LivePerson sends them: numbers as strings and strings as numbers, "undefined" and null for nothing, objects
//! where a list should be. A value of the wrong kind is absent, never an error.
//!
//! Every text is bounded: one that is too long, or has control characters (which PostgreSQL or a header would choke on), is
//! dropped as a whole. Cutting it would make another, wrong value out of it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// No id, name, address or time that is of use is longer, in bytes.
pub const MAX_TEXT: usize = 1024;

/// A string, or a number shown as one. Absent: null, "", "undefined", "null", the mark of deleted data, other kinds.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "Scalar")]
pub struct Text(pub Option<String>);

/// A whole number, or a string of one.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(from = "Scalar")]
pub struct Int(pub Option<i64>);

/// True or false, also as a string or 1 and 0.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(from = "Scalar")]
pub struct TolerantFlag(pub Option<bool>);

impl Deref for Text {
    type Target = Option<String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Text {
    /// Whether the text is this word, in any case.
    pub fn is(&self, word: &str) -> bool {
        self.0
            .as_deref()
            .is_some_and(|text| text.eq_ignore_ascii_case(word))
    }
}

enum Scalar {
    Text(String),
    Int(i64),
    Flag(bool),
    Nothing,
}

impl Scalar {
    fn text(raw: &str) -> Self {
        let raw = raw.trim();
        let absent = raw.is_empty()
            || raw.len() > MAX_TEXT
            || raw.eq_ignore_ascii_case("undefined")
            || raw.eq_ignore_ascii_case("null")
            || raw.contains("LP deleted data")
            || raw.chars().any(char::is_control);
        if absent {
            Self::Nothing
        } else {
            Self::Text(raw.to_owned())
        }
    }
}

impl From<Scalar> for Text {
    fn from(scalar: Scalar) -> Self {
        Self(match scalar {
            Scalar::Text(text) => Some(text),
            Scalar::Int(number) => Some(number.to_string()),
            Scalar::Flag(_) | Scalar::Nothing => None,
        })
    }
}

impl From<Scalar> for Int {
    fn from(scalar: Scalar) -> Self {
        Self(match scalar {
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Int(number) => Some(number),
            Scalar::Flag(_) | Scalar::Nothing => None,
        })
    }
}

impl From<Scalar> for TolerantFlag {
    fn from(scalar: Scalar) -> Self {
        Self(match scalar {
            Scalar::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Scalar::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Scalar::Int(number) => Some(number != 0),
            Scalar::Flag(flag) => Some(flag),
            Scalar::Text(_) | Scalar::Nothing => None,
        })
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Scalar, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(number).map_or(Scalar::Nothing, Scalar::Int))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and within the range that a float represents exactly"
    )]
    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        let whole = number.fract() == 0.0 && number.abs() < 9e15;
        Ok(if whole {
            Scalar::Int(number as i64)
        } else {
            Scalar::Nothing
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::text(text))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Scalar, A::Error> {
        skip_seq(seq)?;
        Ok(Scalar::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
        skip_map(map)?;
        Ok(Scalar::Nothing)
    }
}

/// An object, or nothing where something else stands.
pub struct Object<T>(pub Option<T>);

/// A list of objects; one object alone counts as a list of one.
pub struct TolerantList<T> {
    /// `None`: null or not sent.
    pub items: Option<Vec<T>>,
    /// Something that is not an object was left out.
    pub damaged: bool,
}

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Default for TolerantList<T> {
    fn default() -> Self {
        Self {
            items: None,
            damaged: false,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TolerantList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// What a visitor makes of the kinds it does not look into.
macro_rules! other_scalars {
    ($value:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any JSON value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    other_scalars!(Object(None));

    fn visit_str<E>(self, _: &str) -> Result<Object<T>, E> {
        Ok(Object(None))
    }

    fn visit_unit<E>(self) -> Result<Object<T>, E> {
        Ok(Object(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Object<T>, A::Error> {
        skip_seq(seq)?;
        Ok(Object(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|item| Object(Some(item)))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<T> TolerantList<T> {
    fn unusable() -> Self {
        Self {
            items: None,
            damaged: true,
        }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = TolerantList<T>;

    other_scalars!(TolerantList::unusable());

    fn visit_str<E>(self, text: &str) -> Result<TolerantList<T>, E> {
        Ok(match Scalar::text(text) {
            Scalar::Nothing => TolerantList::default(),
            _ => TolerantList::unusable(),
        })
    }

    fn visit_unit<E>(self) -> Result<TolerantList<T>, E> {
        Ok(TolerantList::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TolerantList<T>, A::Error> {
        let mut items = Vec::new();
        let mut damaged = false;
        while let Some(Object(item)) = seq.next_element()? {
            match item {
                Some(item) => items.push(item),
                None => damaged = true,
            }
        }
        Ok(TolerantList {
            items: Some(items),
            damaged,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TolerantList<T>, A::Error> {
        let item = T::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TolerantList {
            items: Some(vec![item]),
            damaged: false,
        })
    }
}

fn skip_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}
