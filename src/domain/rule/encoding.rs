//! How settings are written in JSON and TOML.

use serde::{Deserialize, Deserializer};

use super::settings::LONGEST_MINUTES;
use super::{ChannelSettings, PerChannel};
use crate::domain::ids::Channel;
use crate::domain::zone::Zone;

/// UTC is none chosen: earlier versions stored it for a rule without one.
pub(super) fn chosen_zone<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Zone>, D::Error> {
    let zone = Option::<Zone>::deserialize(d)?;
    Ok(zone.filter(|zone| *zone != Zone::UTC))
}

/// Left out where it is not used: programs of the version before do not know it.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
pub(super) fn is_zero(percent: &u8) -> bool {
    *percent == 0
}

/// Whole minutes, the unit in which people set reminders.
pub(super) mod minutes {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::LONGEST_MINUTES;

    pub fn serialize<S: Serializer>(d: &TimeDelta, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(d.num_minutes())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<TimeDelta, D::Error> {
        let minutes = i64::deserialize(d)?;
        if (0..=LONGEST_MINUTES).contains(&minutes) {
            Ok(TimeDelta::minutes(minutes))
        } else {
            let message = format!("minutes must be between 0 and {LONGEST_MINUTES} (90 days)");
            Err(D::Error::custom(message))
        }
    }

    /// The same where it may be left out.
    pub mod optional {
        use super::{Deserialize, Deserializer, Serializer, TimeDelta};

        #[expect(clippy::ref_option, reason = "serde asks for this signature")]
        pub fn serialize<S: Serializer>(d: &Option<TimeDelta>, s: S) -> Result<S::Ok, S::Error> {
            match d {
                Some(d) => super::serialize(d, s),
                None => s.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<TimeDelta>, D::Error> {
            #[derive(Deserialize)]
            struct Minutes(#[serde(with = "super")] TimeDelta);
            Ok(Option::<Minutes>::deserialize(d)?.map(|Minutes(d)| d))
        }
    }
}

/// The settings of channels, by their words. Those of a channel that is left out are its defaults.
pub(super) mod channel_settings {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, de::Error};

    use super::{Channel, ChannelSettings, PerChannel};

    pub fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<PerChannel<ChannelSettings>, D::Error> {
        /// A word that names no channel is a field that there is not, as any other.
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        struct Word(Channel);

        impl<'de> Deserialize<'de> for Word {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                const WORDS: &[&str] = &["email", "sms"];
                let word = String::deserialize(d)?;
                let channel = word
                    .parse()
                    .map_err(|_| D::Error::unknown_field(&word, WORDS))?;
                Ok(Self(channel))
            }
        }

        let mut given = BTreeMap::<Word, ChannelSettings>::deserialize(d)?;
        Ok(PerChannel::of(|channel| {
            let given = given.remove(&Word(channel));
            given.unwrap_or_else(|| ChannelSettings::default_for(channel))
        }))
    }
}
