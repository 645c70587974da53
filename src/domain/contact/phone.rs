//! Phone numbers as people write them, read into E.164.
//!
//! The numbering plans are Google's (libphonenumber). Where that library guesses, because it was made to find numbers in running
//! text, this module does not ask it: a wrong guess is a reminder to a stranger. So the text is brought to plain ASCII first, a
//! number that carries its country code is read without regard to the account's region, and letters count only as a word.

use rlibphonenumber::{
    CountryCodeSource, PHONE_NUMBER_UTIL as PLANS, PhoneNumber, PhoneNumberFormat, PhoneNumberType,
    Region,
};

use super::name::is_invisible;

mod abroad;

/// In characters, after the marks that nobody sees are gone. The longest way to write the longest number has half of it.
const LONGEST: usize = 64;
/// In bytes, before anything is looked at.
const LONGEST_RAW: usize = 4 * LONGEST;
/// What may stand between a plus or a prefix for calls abroad and the country code.
const PUNCTUATION: [char; 9] = ['+', ' ', '(', ')', '[', ']', '-', '.', '/'];
/// A plus and fifteen digits (ITU-T E.164).
const LONGEST_E164: usize = 16;

/// The number in E.164, if it is one of its country's plan and can be texted. `region` (ISO 3166) is for national form only.
pub(super) fn e164(raw: &str, region: Option<&str>) -> Option<String> {
    let text = plain(raw)?;
    let written = without_label(&text)?;
    let number = read(written, region.and_then(region_of))?;
    let e164 = format(&number);
    let fits = can_be_texted(&number)
        && is_spelt_by_a_word(written, &number)
        && e164.len() <= LONGEST_E164;
    fits.then_some(e164)
}

/// Who sent a message, as Twilio names them: E.164, behind `rcs:` or `whatsapp:` for those channels. A number that the plans do not
/// know is kept as it came: it may be newer than they are, and a STOP from it must count. Short codes and names are nobody whom
/// we could have texted.
pub(super) fn sender(raw: &str) -> Option<String> {
    let number = ["rcs:", "whatsapp:"]
        .iter()
        .find_map(|scheme| raw.strip_prefix(scheme))
        .unwrap_or(raw);
    if !number.starts_with('+') {
        return None;
    }
    e164(number, None)
        .or_else(|| e164(&with_ninth_digit(number)?, None))
        .or_else(|| is_e164(number).then(|| number.to_owned()))
}

/// A Brazilian mobile by the number it had before a nine came before its eight digits (complete on 6 November 2016: Anatel,
/// Resolution 553). Messengers still name senders so. Only for what a network reports: typed by a person, it is as likely one of
/// today's numbers with a digit missing.
fn with_ninth_digit(e164: &str) -> Option<String> {
    let (area, old) = e164.strip_prefix("+55")?.split_at_checked(2)?;
    let mobile = old.len() == 8 && old.starts_with(['6', '7', '8', '9']);
    mobile.then(|| format!("+55{area}9{old}"))
}

/// One key for all numbers by which one phone is known.
///
/// In Argentina a mobile's ten digits stand behind `+54 9` for calls from abroad and behind `+54` for texts, and both are
/// written; no fixed line has the digits of a mobile.
pub(super) fn key(e164: &str) -> String {
    match e164.strip_prefix("+54") {
        Some(national) if national.len() == 10 => format!("+549{national}"),
        _ => e164.to_owned(),
    }
}

/// The ISO 3166 country; `None` for numbers of no country (+800) or of no plan.
pub(super) fn country(e164: &str) -> Option<String> {
    let number = PLANS.parse(e164, None).ok()?;
    let region = PLANS.get_region_for_number(&number)?;
    (region != Region::World).then(|| region.to_string())
}

/// Whether the number is one of a place: not toll-free, of a company everywhere, or of a person who moves.
pub fn is_of_a_place(e164: &str) -> bool {
    let kind = PLANS.parse(e164, None).ok();
    !matches!(
        kind.map(|number| PLANS.get_number_type(&number)),
        Some(
            PhoneNumberType::TollFree
                | PhoneNumberType::SharedCost
                | PhoneNumberType::PremiumRate
                | PhoneNumberType::PersonalNumber
                | PhoneNumberType::UAN
                | PhoneNumberType::VoiceMail
        )
    )
}

/// Whether numbers in national form can be read by the plan of this country (ISO 3166, in any case).
pub fn is_region(code: &str) -> bool {
    region_of(code).is_some()
}

fn region_of(code: &str) -> Option<Region> {
    let region = Region::from_code(code).ok()?;
    let known = region != Region::World && PLANS.get_country_code_for_region(region).is_some();
    known.then_some(region)
}

/// The number in ASCII where its characters have an ASCII form, without invisible marks and what surrounds it. A line break
/// or another control character inside stands between two things, or is an attack.
fn plain(raw: &str) -> Option<String> {
    if raw.len() > LONGEST_RAW {
        return None;
    }
    let is_hidden = |c: char| is_invisible(c) || matches!(c, '\u{ad}' | '\u{200c}' | '\u{200d}');
    let text: String = raw
        .trim_matches(|c: char| c.is_whitespace() || c.is_control() || is_hidden(c))
        .chars()
        .filter(|c| !is_hidden(*c))
        .map(ascii)
        .collect();
    let ok = text.chars().count() <= LONGEST && !text.contains(char::is_control);
    ok.then_some(text)
}

fn ascii(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{2028}' | '\u{2029}' => '\n',
        c if c.is_whitespace() && !c.is_control() => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fc}' | '\u{fe58}' | '\u{fe63}' => '-',
        '\u{2053}' | '\u{223c}' | '\u{301c}' => '~',
        // The full-width forms of Japanese and Chinese keyboards.
        '\u{ff01}'..='\u{ff5e}' => shifted(c, '\u{ff01}', '!'),
        c => {
            let zero = ZEROS
                .iter()
                .find(|zero| (0..10).contains(&u32::from(c).wrapping_sub(u32::from(**zero))));
            zero.map_or(c, |zero| shifted(c, *zero, '0'))
        }
    }
}

/// The character that is as far from `to` as `c` is from `from`.
fn shifted(c: char, from: char, to: char) -> char {
    char::from_u32(u32::from(to) + (u32::from(c) - u32::from(from))).unwrap_or(c)
}

/// The zeros of the scripts that are written today and have decimal digits of their own, one to nine following (Unicode `Nd`).
#[rustfmt::skip]
const ZEROS: [char; 35] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}', '\u{c66}', '\u{ce6}',
    '\u{d66}', '\u{de6}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{1090}', '\u{17e0}', '\u{1810}', '\u{1946}',
    '\u{19d0}', '\u{1a80}', '\u{1a90}', '\u{1b50}', '\u{1bb0}', '\u{1c40}', '\u{1c50}', '\u{a620}', '\u{a8d0}', '\u{a900}',
    '\u{a9d0}', '\u{a9f0}', '\u{aa50}', '\u{abf0}',
];

/// The number from its first plus or digit on, without a label ("Mobile:", `tel:`, `whatsapp:`) and closing punctuation. What
/// stands before it must not touch it: `a0151…` may be anything.
fn without_label(text: &str) -> Option<&str> {
    let start = text.find(|c: char| c == '+' || c.is_ascii_digit())?;
    if text[..start].ends_with(char::is_alphanumeric) {
        return None;
    }
    let written = text[start..].trim_end_matches(|c: char| !c.is_alphanumeric() && c != '#');
    written.is_ascii().then_some(written)
}

/// Whether it is one number where the region dials it and, behind a plus, a mobile of another country: nobody's, until somebody writes
/// the plus or the region's trunk prefix.
pub fn is_of_two_countries(raw: &str, region: Option<&str>) -> bool {
    let text = plain(raw).unwrap_or_default();
    let written = without_label(&text).unwrap_or_default();
    let Some(region) = region.and_then(region_of) else {
        return false;
    };
    let found = dialled_anywhere(written, Some(region));
    found.is_some_and(|found| abroad::is_another(written, &found, region))
}

/// A number of its country's plan. No country code begins with zero: a plus before 00 repeats it, or stands before the region's own
/// prefix for calls abroad (Australia's 0011); one before another zero means nothing.
fn read(written: &str, region: Option<Region>) -> Option<PhoneNumber> {
    // `tel:253-0000;phone-context=+1-650`: RFC 3966 writes the beginning of the number last.
    if let Some((rest, start)) = written.split_once(";phone-context=+") {
        return international(&format!("{start}-{rest}"));
    }
    let Some(after_plus) = written.strip_prefix('+') else {
        return dialled(written, region);
    };
    let number = after_plus.trim_start_matches(PUNCTUATION);
    match number.strip_prefix("00") {
        Some(rest) => international(rest).or_else(|| dialled(number, region)),
        None if number.starts_with('0') => dialled(number, region),
        None => international(number),
    }
}

/// A number that begins with its country code: its region is its own, whatever the account's is. A zero in brackets may be part of
/// it, as in Italy. Where it is one number with the zero and another without, it is nobody's.
fn international(number: &str) -> Option<PhoneNumber> {
    let number = number.trim_start_matches(PUNCTUATION);
    let complete = |number: &str| valid(&format!("+{number}"), None);
    let without_zero = without_trunk_zero(number).and_then(|number| complete(&number));
    only_one(complete(number), without_zero)
}

/// The number that two ways to read it come to; `None` where they come to two.
fn only_one(one: Option<PhoneNumber>, other: Option<PhoneNumber>) -> Option<PhoneNumber> {
    match (one, other) {
        (Some(one), Some(other)) if format(&one) != format(&other) => None,
        (one, other) => one.or(other),
    }
}

/// A number as it is dialled in the region, unless it is a mobile of another country that has lost its plus.
fn dialled(number: &str, region: Option<Region>) -> Option<PhoneNumber> {
    dialled_anywhere(number, region)
        .filter(|found| !region.is_some_and(|region| abroad::is_another(number, found, region)))
}

/// A number as it is dialled in the region, which has its own prefix for calls abroad; 00, which ITU-T E.164 recommends and most
/// countries have, is understood everywhere. Where the two disagree, the number is nobody's.
fn dialled_anywhere(number: &str, region: Option<Region>) -> Option<PhoneNumber> {
    let in_region = || {
        let region = Some(region?);
        let without_zero = without_trunk_zero(number).and_then(|number| valid(&number, region));
        let abroad = without_zero
            .filter(|number| number.country_code_source() == CountryCodeSource::FromNumberWithIdd);
        only_one(valid(number, region), abroad)
    };
    let by_region = region
        .and_then(|region| with_own_code(number, region))
        .or_else(in_region)
        .or_else(|| in_the_french_plan(number, region?));
    let by_itu = number.strip_prefix("00").and_then(international);
    only_one(by_region, by_itu)
}

/// France and its overseas departments dial each other by ten digits, as if they were one country; from abroad each group has a code
/// of its own (ARCEP, decision 2018-0881: 0690 is +590 690, 0692 is +262 692).
fn in_the_french_plan(number: &str, region: Region) -> Option<PhoneNumber> {
    use Region::{BL, FR, GF, GP, MF, MQ, RE, YT};
    let (french, digits) = ([FR, GP, RE, MQ, GF, YT, BL, MF], abroad::digits(number));
    let has_trunk_zero = digits.len() == 10 && digits.starts_with('0');
    if !has_trunk_zero || !french.contains(&region) {
        return None;
    }
    french.iter().find_map(|other| valid(number, Some(*other)))
}

/// A mobile that begins with its own country's code, without a plus, as networks and messengers write numbers. The plans of Germany
/// and Indonesia have fixed lines of any length, and 49 or 62 could begin one whose trunk zero was left out; nobody dials so.
fn with_own_code(number: &str, region: Region) -> Option<PhoneNumber> {
    let code = PLANS.get_country_code_for_region(region)?;
    let complete = number
        .strip_prefix(&code.to_string())
        .and_then(|_| international(number))?;
    let is_mobile = PLANS.get_number_type(&complete) == PhoneNumberType::Mobile;
    let in_region = valid(number, Some(region));
    let is_fixed = |number| PLANS.get_number_type(&number) == PhoneNumberType::FixedLine;
    (is_mobile && in_region.is_none_or(is_fixed)).then_some(complete)
}

/// The number without the `(0)` that is written after a country code and dialled only inside the country. Where the zero is part
/// of the number, as in Italy, the number is valid with it and never comes here.
fn without_trunk_zero(number: &str) -> Option<String> {
    let compact = number.replace(' ', "");
    let (code, rest) = compact.split_once("(0)")?;
    code.ends_with(|c: char| c.is_ascii_digit() || ")-.".contains(c))
        .then(|| format!("{code} {rest}"))
}

/// The number, if the plan of its country has it, or has the number that replaced it.
fn valid(number: &str, region: Option<Region>) -> Option<PhoneNumber> {
    let parsed = PLANS.parse_and_keep_raw_input(number, region).ok()?;
    if PLANS.is_valid_number(&parsed) {
        return Some(parsed);
    }
    if parsed.extension.is_some() {
        return None;
    }
    let today = PLANS.parse(renumbered(&parsed)?, None).ok()?;
    PLANS.is_valid_number(&today).then_some(today)
}

/// Today's number for one in a form that its country has given up and that nothing else can be.
///
/// - Mexico, 3 August 2019 (IFT, ten-digit dialling): no more `1` before mobiles from abroad, no 01, 044, 045 before ten digits.
/// - Benin, 30 November 2024 (ARCEP Bénin): 01 before every number of eight digits.
fn renumbered(number: &PhoneNumber) -> Option<String> {
    let complete = number.country_code_source() != CountryCodeSource::FromDefaultCountry;
    let e164 = format(number);
    let prefixes: &[&str] = match number.country_code {
        52 if complete => &["044", "045", "01", "1"],
        // Ten digits after a one are a North American number if nothing says that they are Mexican.
        52 => &["044", "045", "01"],
        229 if complete && e164.len() == 12 => return Some(e164.replacen("+229", "+22901", 1)),
        _ => &[],
    };
    let national = e164.strip_prefix("+52")?;
    let mut ten = prefixes.iter().filter_map(|p| national.strip_prefix(p));
    let ten = ten.find(|rest| rest.len() == 10)?;
    Some(format!("+52{ten}"))
}

/// Nobody reads a text at an extension. Whoever gives a premium-rate or shared-cost number would have the brand pay for it.
fn can_be_texted(number: &PhoneNumber) -> bool {
    let costly = matches!(
        PLANS.get_number_type(number),
        PhoneNumberType::PremiumRate | PhoneNumberType::SharedCost
    );
    !costly && number.extension.is_none()
}

/// Whether letters, if there are any, are the word that a number is advertised by (1-800-FLOWERS): the end of a North American or
/// freephone number that is none without them. Elsewhere letters are a slip or a remark.
fn is_spelt_by_a_word(written: &str, number: &PhoneNumber) -> bool {
    // The parameters of a `tel:` URI (RFC 3966) have names.
    let written = written.split(';').next().unwrap_or_default();
    let Some(start) = written.find(|c: char| c.is_ascii_alphabetic()) else {
        return true;
    };
    let (digits, word) = written.split_at(start);
    let letters = word.chars().filter(char::is_ascii_alphabetic).count();
    let freephone = PLANS.get_number_type(number) == PhoneNumberType::TollFree;
    let stands_alone = !digits.ends_with(|c: char| c.is_ascii_digit());
    let advertised = freephone || (number.country_code == 1 && stands_alone);
    let complete = PLANS
        .parse(digits, PLANS.get_region_for_number(number))
        .is_ok_and(|number| PLANS.is_valid_number(&number));
    letters >= 3 && !word.contains(|c: char| c.is_ascii_digit()) && advertised && !complete
}

fn is_e164(raw: &str) -> bool {
    raw.strip_prefix('+').is_some_and(|digits| {
        (2..LONGEST_E164).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn format(number: &PhoneNumber) -> String {
    PLANS.format(number, PhoneNumberFormat::E164).into_owned()
}

#[cfg(test)]
mod tests;
