use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A row of the oracle's table: see `tests/fixtures/phones/oracle.py`.
struct Row {
    region: Option<&'static str>,
    written: String,
    number: Option<&'static str>,
    country: Option<&'static str>,
    /// What the oracle says; an extension after an x.
    google: Option<&'static str>,
    /// Why it is not followed.
    why: &'static str,
}

fn rows() -> Vec<Row> {
    let some = |cell: &'static str| Some(cell).filter(|cell| !["", "-"].contains(cell));
    include_str!("../../../../tests/fixtures/phones/numbers.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let [region, written, number, country, google, why] = cells[..] else {
                panic!("{line}");
            };
            Row {
                region: some(region),
                written: serde_json::from_str(written).unwrap(),
                number: some(number),
                country: some(country),
                google: some(google),
                why,
            }
        })
        .collect()
}

#[test]
fn numbers_are_read_as_the_oracle_reads_them() {
    let rows = rows();
    let countries: BTreeSet<_> = rows.iter().filter_map(|row| row.country).collect();
    assert!(rows.len() >= 320 && countries.len() >= 80);
    for row in rows {
        let case = format!("{:?} {:?}", row.region, row.written);
        assert!(row.number == row.google || !row.why.is_empty(), "{case}");
        let read = e164(&row.written, row.region);
        assert_eq!(read.as_deref(), row.number, "{case} {}", row.why);
        let Some(number) = read else { continue };
        assert_eq!(country(&number).as_deref(), row.country, "{case}");
        // Whatever was written is the same number to everybody who names it.
        for region in [None, Some("US"), Some("DE"), Some("RU"), row.region] {
            assert_eq!(e164(&number, region).as_ref(), Some(&number), "{case}");
        }
        assert_eq!(sender(&number).as_ref(), Some(&number), "{case}");
    }
}

/// What people write without a plus: see `tests/fixtures/phones/without_plus.py`. Mobiles of one country are not texted as numbers of
/// another, and nothing that people write at home is lost.
#[test]
fn a_foreign_mobile_without_its_plus_is_nobody_s() {
    let (mut homes, mut abroad, mut at_home) = (BTreeSet::new(), 0, 0);
    for line in include_str!("../../../../tests/fixtures/phones/without_plus.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let cells: Vec<&str> = line.split('\t').collect();
        let [kind, region, digits, right, google, ..] = cells[..] else {
            panic!("{line}");
        };
        let right = Some(right).filter(|right| *right != "-");
        assert_eq!(e164(digits, Some(region)).as_deref(), right, "{line}");
        assert_eq!(
            is_of_two_countries(digits, Some(region)),
            right.is_none(),
            "{line}"
        );
        match kind {
            "abroad" => {
                homes.insert(region);
                abroad += usize::from(right.is_none());
            }
            // Behind its trunk prefix it is never doubtful.
            "national" => {
                assert_eq!(right, Some(google), "{line}");
                at_home += 1;
            }
            // Germany's mobiles without the zero that is written there have the digits of North American numbers.
            _ => assert!(right == Some(google) || region == "DE", "{line}"),
        }
    }
    assert!(homes.len() >= 40 && abroad > 700 && at_home > 450);
}

#[test]
fn the_plus_or_the_zero_says_which_country_is_meant() {
    for (region, written, right) in [
        ("DE", "41791234567", None),
        ("DE", "41 79 123 45 67", None),
        ("DE", "41 (0)79 123 45 67", None),
        ("DE", "Mobil: 41791234567", None),
        ("DE", "5215512345678", None), // as a messenger names a Mexican
        ("DE", "+41791234567", Some("+41791234567")),
        ("DE", "0041791234567", Some("+41791234567")),
        ("DE", "041791234567", Some("+4941791234567")),
        ("CH", "41791234567", Some("+41791234567")),
        ("AT", "33612345678", None),
        ("FI", "4740612345", None),
        ("FI", "047 40612345", Some("+3584740612345")),
        ("BR", "51912345678", Some("+5551912345678")), // Porto Alegre, as written there
        ("CN", "18092345678", Some("+8618092345678")),
        ("IN", "6737123456", Some("+916737123456")), // written without a zero as often as with one
    ] {
        let read = e164(written, Some(region));
        assert_eq!(read.as_deref(), right, "{region} {written}");
        let doubtful = is_of_two_countries(written, Some(region));
        assert_eq!(doubtful, right.is_none(), "{region} {written}");
    }
}

/// All types of number, in all countries, as somebody abroad writes them: nobody's region touches them.
#[test]
fn a_complete_number_is_itself_whatever_the_region() {
    let mut regions: Vec<Region> = PLANS.get_supported_regions().collect();
    regions.sort_by_key(ToString::to_string);
    let kinds = [
        PhoneNumberType::FixedLine,
        PhoneNumberType::Mobile,
        PhoneNumberType::TollFree,
        PhoneNumberType::VoIP,
        PhoneNumberType::PersonalNumber,
        PhoneNumberType::UAN,
    ];
    let mut others = regions.iter().cycle();
    let mut tried = 0;
    for region in &regions {
        for kind in kinds {
            let Ok(example) = PLANS.get_example_number_for_type_and_region(*region, kind) else {
                continue;
            };
            let number = format(&example);
            if number.len() > LONGEST_E164 || !can_be_texted(&example) {
                continue;
            }
            tried += 1;
            let own = region.to_string();
            assert_eq!(e164(&number, Some(&own)).as_ref(), Some(&number), "{own}");
            for other in others.by_ref().take(8) {
                let other = other.to_string();
                let read = e164(&number, Some(&other));
                assert_eq!(read.as_ref(), Some(&number), "in {other}");
                let read = e164(&format!("00{}", &number[1..]), Some(&other));
                let same = read.is_none() || read.as_ref() == Some(&number);
                // Nine countries have prefixes for calls abroad that begin with 00 and go on with the carrier.
                let carriers = "BR CL CO HK ID KH KR SG TH TW UZ".contains(&other);
                assert!(same || carriers, "00 {number} in {other}: {read:?}");
            }
        }
    }
    assert!(tried > 700 && regions.len() > 240, "{tried}");
}

#[test]
fn a_sender_is_the_number_that_is_texted() {
    // As reported, and whom we text.
    #[rustfmt::skip]
    let cases = [
        ("+4915123456789", Some("+4915123456789")),
        ("rcs:+4915123456789", Some("+4915123456789")),
        ("whatsapp:+4915123456789", Some("+4915123456789")),
        // Messengers know Mexicans and Brazilians by the numbers that they had when they joined.
        ("whatsapp:+5215512345678", Some("+525512345678")),
        ("+5215512345678", Some("+525512345678")),
        ("whatsapp:+553187654321", Some("+5531987654321")),
        ("+553187654321", Some("+5531987654321")),
        ("+5531987654321", Some("+5531987654321")),
        ("+551134567890", Some("+551134567890")), // a fixed line of eight digits
        ("+22997123456", Some("+2290197123456")),
        // A number that the plans do not know may be newer than they are. What it says is kept under the number it says.
        ("+999123456789", Some("+999123456789")),
        ("rcs:+999123456789", Some("+999123456789")),
        ("+49151", Some("+49151")),
        ("+19005550143", Some("+19005550143")), // premium rate: never texted, but its STOP is one
        // Short codes, names, pages and agents have no number that we could text.
        ("12345", None),
        ("14155550123", None),
        ("AMAZON", None),
        ("rcs:brand_x_agent", None),
        ("messenger:1234567890123", None),
        ("client:+14155550123", None),
        ("+0123", None),
        ("+1415555012345678", None),
        ("+", None),
        ("", None),
        ("+1415555x123", None),
    ];
    for (raw, expected) in cases {
        assert_eq!(sender(raw).as_deref(), expected, "{raw}");
    }
}

#[test]
fn one_phone_has_one_key() {
    let key_of = |raw: &str, region| key(&e164(raw, region).unwrap());
    let mobile = key_of("+54 9 11 2345 6789", None);
    for (raw, region) in [
        ("+54 11 2345-6789", None),
        ("+54 11 15 2345-6789", None),
        ("011 15-2345-6789", Some("AR")),
        ("11 2345 6789", Some("AR")),
    ] {
        assert_eq!(key_of(raw, region), mobile, "{raw}");
    }
    assert_ne!(key_of("+54 9 11 2345 6780", None), mobile);
    assert_eq!(key("+14155550123"), "+14155550123");
}

#[test]
fn regions_are_those_with_a_plan() {
    for region in ["DE", "us", "Gb", "XK", "AC"] {
        assert!(is_region(region), "{region}");
    }
    for region in ["", "UK", "ZZ", "EU", "001", "DEU", "1", "Ä", "nowhere"] {
        assert!(!is_region(region), "{region}");
    }
}

proptest! {
    /// Its own sender, and the same under every region.
    #[test]
    fn nothing_written_with_a_plus_and_a_country_code_is_read_by_the_region(digits in "[1-9][0-9]{5,14}", region in "[A-Z]{2}") {
        let raw = format!("+{digits}");
        prop_assert_eq!(e164(&raw, Some(&region)), e164(&raw, None));
    }

    #[test]
    fn whatever_is_pasted_becomes_e164_or_nothing(raw in "[+0-9a-zA-Z٠-٩０-９ ()\\[\\]x#;,./~\u{200e}\u{202a}\u{0}=:-]{0,70}", region in prop::option::of("US|BR|KR|MX|DE|TH")) {
        for number in [e164(&raw, region.as_deref()), sender(&raw)].into_iter().flatten() {
            prop_assert!(is_e164(&number), "{}", number);
        }
    }

    /// A letter among the digits never becomes a digit.
    #[test]
    fn a_slip_of_the_finger_is_no_number(digits in "[2-9][0-9]{8,11}", at in 1usize..8, letter in "[a-zA-Z]{1,2}") {
        let raw = format!("+{}{letter}{}", &digits[..at], &digits[at..]);
        prop_assert_eq!(e164(&raw, None), None);
    }
}
