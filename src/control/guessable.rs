//! Whether a password is among those that are tried first.
//!
//! No rules of composition: they make `Password1234!` and refuse four good words. Two judges instead. A list of the passwords that were
//! found most often; and an estimate of how many guesses somebody needs who knows words, names, dates, keyboards and the usual ways
//! to put them together, and who knows whose password it is.

use zxcvbn::Score;

use crate::hashing;

/// SHA-256 of each, cut to [`WIDTH`] bytes, in order: not to be read in passing, since people are named in them. In lower case, 12 characters and
/// more: of the 400,000 commonest of the ten million passwords that Mark Burnett gave to the public domain in 2015 those of that length, with
/// those of the lists of Django (BSD-3-Clause) and zxcvbn-ts (MIT).
const COMMON: &[u8] = include_bytes!("common_passwords.bin");
const WIDTH: usize = 6;

/// Enough for any estimate. Of what comes after it nothing is believed.
const JUDGED: usize = 64;

/// Guesses, in powers of ten, that are left when the words are taken away that everybody would try here.
const LEFT: f64 = 8.0;

/// Words that whoever tries passwords here begins with.
const PRODUCT: &[&str] = &["unread", "liveperson"];

/// Whether somebody would guess it who knows that it is this person's, here, and the words of this installation (its brands).
pub fn is_guessable(password: &str, name: &str, own_words: &[String]) -> bool {
    let password: String = password.chars().take(JUDGED).collect();
    let lower = password.to_lowercase();
    if is_common(&lower) {
        return true;
    }
    let words = known_words(name, own_words);
    let inputs: Vec<&str> = words.iter().map(String::as_str).collect();
    // At least 10^10 guesses. A year between two seasons is at 10^8, two words that do not belong together above 10^11.
    if zxcvbn::zxcvbn(&password, &inputs).score() < Score::Four {
        return true;
    }
    // `Unread-2026-Brand`: what is left is a year.
    let left = words
        .iter()
        .fold(lower.clone(), |left, word| left.replace(word, ""));
    left != lower && zxcvbn::zxcvbn(&left, &[]).guesses_log10() < LEFT
}

fn is_common(lower: &str) -> bool {
    let hash = hashing::digest(lower);
    let (entries, _) = COMMON.as_chunks::<WIDTH>();
    entries
        .binary_search_by(|entry| entry[..].cmp(&hash[..WIDTH]))
        .is_ok()
}

/// Whole and in parts: `ann@shop.example` is also `ann` and `shop`. The longest come first.
fn known_words(name: &str, own_words: &[String]) -> Vec<String> {
    let given = own_words
        .iter()
        .map(String::as_str)
        .chain([name])
        .chain(PRODUCT.iter().copied());
    let mut words: Vec<String> = Vec::new();
    for whole in given.map(str::to_lowercase) {
        words.push(whole.replace(char::is_whitespace, ""));
        words.extend(
            whole
                .split(|c: char| !c.is_alphanumeric())
                .map(str::to_owned),
        );
        words.push(whole);
    }
    words.retain(|word| word.chars().count() >= 3);
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessable(password: &str) -> bool {
        is_guessable(password, "bob@shop.example", &["Acme Outdoor".to_owned()])
    }

    #[test]
    fn what_everybody_tries_first_is_guessable() {
        for weak in [
            // Of the security review.
            "Password12345",
            "qwerty123456",
            "123456123456",
            "passw0rd1234",
            "Password1234!",
            "unread123456",
            "bobbobbobbob",
            "summer2026summer",
            // The commonest that are long enough.
            "123456789012",
            "administrator",
            "qwertyuiopas",
            "letmeinletmein",
            "iloveyouiloveyou",
            "changemechangeme",
            "1qaz2wsx3edc4rfv",
            "motherfucker",
            "GFHJKMGFHJKM",
            "needforspeed",
            // Words with years, digits and signs; walks over the keyboard; repetitions.
            "Welcome2026!!",
            "Winter2025!!!!",
            "P@ssw0rd12345",
            "december2025!",
            "football12345",
            "superman12345",
            "sommer2026sommer",
            "asdfghjkl123",
            "zxcvbnm12345",
            "abcdefghijkl",
            "abcabcabcabc",
            "aaaaaaaaaaab",
            "111111222222",
            "monkeymonkey1",
            "AdminAdmin2026",
            "Passwort12345",
            // The person, the product and the brand.
            "bob@shop.example",
            "bob@shop.example1",
            "Bob-Shop-2026!",
            "unreadunread",
            "Unread-2026-Acme",
            "AcmeOutdoor2026!",
            "acme outdoor 1",
            "OutdoorAcme123!",
            "LivePerson2026",
        ] {
            assert!(guessable(weak), "{weak}");
        }
    }

    /// Whatever they are made of: there are no rules of composition.
    #[test]
    fn what_nobody_tries_is_taken() {
        for good in [
            "correct horse battery",
            "correcthorsebatterystaple",
            "another good password",
            "tractor lemon quietly seven",
            "maple tree window lamp",
            "purple-otter-sings",
            "zeppelin karotte",
            "Zaun Wolke Hering Takt",
            "der mond ist aus kaese",
            "my cat eats blue cheese",
            "acme purple otter sings loudly",
            "bob and the yellow tractor",
            "k7Jm0m8cG5m3cV2n",
            "Vq8#tLz0pR!x",
            "vqwtlzyprmxk",
            "ÄÖÜäöüßéèêñç",
            "日本語のパスワードですよ",
        ] {
            assert!(!guessable(good), "{good}");
        }
    }

    #[test]
    fn the_list_is_in_order_and_long_enough() {
        let (entries, rest) = COMMON.as_chunks::<WIDTH>();
        assert!(
            rest.is_empty() && entries.is_sorted() && entries.len() >= 3_000,
            "{}",
            entries.len()
        );
        assert!(is_common("qazwsxedcrfv") && !is_common("qazwsxedcrfu"));
    }

    /// Above all with what can be read in many ways: of those there would be no end if each were looked at.
    #[test]
    fn an_estimate_takes_no_time_to_speak_of() {
        let began = std::time::Instant::now();
        for hostile in [
            "4@8({<369&#!1/|0$5+7%2",
            "aA1@",
            "1.1.1",
            "abcdefg",
            "p4ssw0rd",
            "acme",
        ] {
            is_guessable(&hostile.repeat(50), "bob", &["acme".to_owned()]);
        }
        let took = began.elapsed();
        println!("{took:.1?}");
        assert!(took.as_secs() < 120, "{took:?}");
    }
}
