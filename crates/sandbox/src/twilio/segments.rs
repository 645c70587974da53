//! How many segments a text costs: GSM-7 when every character is in that alphabet, else UCS-2 for the whole text.

/// One septet each.
const BASIC: &str = "\n\r !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz\
                     ¡£¤¥§¿ÄÅÆÇÉÑÖØÜßàäåæèéìñòöøùüΓΔΘΛΞΠΣΦΨΩ";
/// An escape and a septet each.
const EXTENSION: &str = "\u{c}[\\]^{|}~€";

/// The number of segments; an empty text has one.
pub fn count(text: &str) -> usize {
    let septets = |letter: char| match () {
        () if BASIC.contains(letter) => Some(1),
        () if EXTENSION.contains(letter) => Some(2),
        () => None,
    };
    match text.chars().map(septets).collect::<Option<Vec<_>>>() {
        Some(units) => fill(&units, 160, 153),
        None => fill(
            &text.chars().map(char::len_utf16).collect::<Vec<_>>(),
            70,
            67,
        ),
    }
}

/// Fills segments with characters, none of which is split. A text of several segments has less room in each.
fn fill(units: &[usize], alone: usize, shared: usize) -> usize {
    if units.iter().sum::<usize>() <= alone {
        return 1;
    }
    let (mut segments, mut used) = (1, 0);
    for unit in units {
        if used + unit > shared {
            segments += 1;
            used = 0;
        }
        used += unit;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_counted_as_twilio_counts_them() {
        let samples: serde_json::Value = serde_json::from_str(include_str!(
            "../../../../tests/fixtures/channels/sms-segments.json"
        ))
        .unwrap();
        for sample in samples.as_array().unwrap() {
            assert_eq!(
                count(sample["text"].as_str().unwrap()) as u64,
                sample["segments"],
                "{}",
                sample["case"]
            );
        }
    }
}
