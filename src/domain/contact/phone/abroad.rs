//! Foreign mobiles that have lost their plus.
//!
//! `41791234567` is a mobile in Switzerland, and in Germany a fixed line without its trunk zero: plans with numbers of any length have
//! a number for nearly everything. Whoever reads it by the region texts a stranger, or files a no under a stranger's number.

use rlibphonenumber::{
    PHONE_NUMBER_UTIL as PLANS, PhoneNumber, PhoneNumberFormat, PhoneNumberType, Region,
};

use super::{format, international};

/// Where people write mobiles with and without the trunk prefix: the plans (libphonenumber) have the prefix as optional in formats.
const PREFIX_IS_OPTIONAL: [Region; 8] = [
    Region::AR,
    Region::IN,
    Region::KZ,
    Region::LT,
    Region::RU,
    Region::SY,
    Region::TR,
    Region::VN,
];

/// Whether what was read by the region may as well be a mobile of another country: behind a plus it is one, and it is not what people
/// in the region write. A number that has a prefix of the region's is theirs.
pub(super) fn is_another(written: &str, found: &PhoneNumber, region: Region) -> bool {
    let written = digits(written);
    let has_prefix = found.get_national_significant_number() != written;
    !has_prefix && !is_as_people_write(&written, found, region) && is_mobile_abroad(&written, found)
}

pub(super) fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}

fn is_mobile_abroad(digits: &str, found: &PhoneNumber) -> bool {
    international(digits)
        .is_some_and(|other| format(&other) != format(found) && is_mobile(kind(&other)))
}

/// A mobile without a trunk prefix where mobiles have none; a fixed line, too, if it is as long as fixed lines are there.
fn is_as_people_write(written: &str, found: &PhoneNumber, region: Region) -> bool {
    let national = PLANS.format(found, PhoneNumberFormat::National);
    let has_no_prefix = digits(&national) == written;
    match kind(found) {
        kind if is_mobile(kind) => has_no_prefix || PREFIX_IS_OPTIONAL.contains(&region),
        PhoneNumberType::FixedLine => has_no_prefix && is_as_long_as_usual(written, region),
        _ => false,
    }
}

fn is_as_long_as_usual(written: &str, region: Region) -> bool {
    PLANS
        .get_example_number_for_type_and_region(region, PhoneNumberType::FixedLine)
        .is_ok_and(|example| example.get_national_significant_number().len() == written.len())
}

fn kind(number: &PhoneNumber) -> PhoneNumberType {
    PLANS.get_number_type(number)
}

/// In North America nobody can tell.
fn is_mobile(kind: PhoneNumberType) -> bool {
    matches!(
        kind,
        PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile
    )
}
