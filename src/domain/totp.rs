//! Codes of six digits that change every half minute (RFC 6238 with SHA-1, as all apps for phones have it).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Seconds that a code lasts.
const STEP: i64 = 30;

/// Steps that a phone's clock may be off, before and after.
const WINDOW: i64 = 1;

/// Bytes of a secret: as many as SHA-1 gives, as RFC 4226 recommends.
pub const SECRET: usize = 20;

/// The step whose code this is at a moment (in seconds of Unix), if it is one that is good then.
pub fn step_of(secret: &[u8], code: &str, now: i64) -> Option<i64> {
    let given: u32 = code
        .parse()
        .ok()
        .filter(|_| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))?;
    let this = now.div_euclid(STEP);
    (this - WINDOW..=this + WINDOW).rfind(|step| code_at(secret, *step, 1_000_000) == given)
}

/// RFC 4226 over the number of the step.
fn code_at(secret: &[u8], step: i64, modulus: u32) -> u32 {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret)
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 15);
    let word = [
        hash[offset],
        hash[offset + 1],
        hash[offset + 2],
        hash[offset + 3],
    ];
    (u32::from_be_bytes(word) & 0x7fff_ffff) % modulus
}

/// As people type it where they cannot scan it: base32 (RFC 4648), without padding.
pub fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(LETTERS[(held >> bits & 31) as usize]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(LETTERS[(held << (5 - bits) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &[u8] = b"12345678901234567890";

    /// Appendix B of RFC 6238, which has eight digits; apps show the last six.
    #[test]
    fn the_codes_of_the_rfc() {
        for (at, code) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            assert_eq!(code_at(KEY, at / 30, 100_000_000), code, "{at}");
            let six = format!("{:06}", code % 1_000_000);
            assert_eq!(step_of(KEY, &six, at), Some(at / 30), "{at}");
        }
        // Appendix D of RFC 4226.
        let counted = [
            755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871,
            520_489,
        ];
        for (step, code) in (0..).zip(counted) {
            assert_eq!(code_at(KEY, step, 1_000_000), code);
        }
    }

    #[test]
    fn a_code_is_good_in_its_half_minute_and_the_ones_beside() {
        let at = 1_234_567_890;
        let code = format!("{:06}", code_at(KEY, at / 30, 1_000_000));
        for (off, good) in [
            (-60, false),
            (-30, true),
            (0, true),
            (29, true),
            (30, true),
            (59, true),
            (60, false),
        ] {
            assert_eq!(step_of(KEY, &code, at + off).is_some(), good, "{off}");
        }
        for nonsense in [
            "",
            "00592",
            "0005924",
            "+05924",
            " 05924",
            "00592a",
            "٠٠٥٩٢٤",
        ] {
            assert_eq!(step_of(KEY, nonsense, at), None, "{nonsense}");
        }
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
    }

    proptest! {
        #[test]
        fn fuzz_codes(code in "\\PC{0,8}", at in any::<i32>()) {
            if step_of(KEY, &code, i64::from(at)).is_some() {
                prop_assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()));
            }
        }
    }
}
