//! The test channel, which only a test build has.

use super::{SettingKey, key, preset, secret};

#[rustfmt::skip]
pub const PROBE: &[SettingKey] = &[
    key("PROBE_URL", "probe.url", "The test channel's endpoint. It is on when this is set."),
    secret("PROBE_SECRET", "probe.secret", "What is signed with, in both directions."),
    preset("PROBE_RATE_PER_SECOND", "probe.rate_per_second", "10", "Messages per second, by all workers together."),
];
