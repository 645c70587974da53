//! The colours of the style sheets: enough contrast between what is put on each other, in both schemes (WCAG 2.2, 1.4.3 and 1.4.11).

use std::collections::BTreeMap;

const CSS: &str = include_str!("../../../templates/web/unread.css");

/// Text, and what it is written on.
const TEXTS: [(&str, &[&str]); 8] = [
    ("ink", &["bg", "card", "line"]),
    ("soft", &["bg", "card"]),
    ("accent", &["bg", "card"]),
    ("accent-strong", &["bg", "card", "accent-bg"]),
    ("accent-ink", &["accent", "accent-strong"]),
    ("good", &["bg", "card", "good-bg"]),
    ("bad", &["bg", "card", "bad-bg"]),
    ("wait", &["bg", "card", "wait-bg"]),
];

/// Edges of fields and buttons, the ring of the focus, bars of a drawing.
const EDGES: [(&str, &[&str]); 4] = [
    ("email", &["card"]),
    ("sms", &["card"]),
    ("edge", &["bg", "card"]),
    ("accent", &["bg", "card", "line"]),
];

/// The values of a block of custom properties.
fn values(block: &str) -> BTreeMap<&str, [f64; 3]> {
    let pairs = block.split(['{', ';', '}']).filter_map(|pair| {
        let (name, value) = pair.trim().strip_prefix("--")?.split_once(':')?;
        Some((name, colour(value.trim().strip_prefix('#')?)?))
    });
    pairs.collect()
}

fn colour(digits: &str) -> Option<[f64; 3]> {
    let wide: String = match digits.len() {
        3 => digits.chars().flat_map(|c| [c, c]).collect(),
        6 => digits.to_owned(),
        _ => return None,
    };
    let part = |at: usize| {
        u8::from_str_radix(wide.get(at..at + 2)?, 16)
            .ok()
            .map(f64::from)
    };
    Some([part(0)?, part(2)?, part(4)?])
}

fn luminance(colour: [f64; 3]) -> f64 {
    let [r, g, b] = colour.map(|part| {
        let part = part / 255.0;
        if part <= 0.04045 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_colour_can_be_told_from_what_it_is_put_on() {
    assert!((contrast([0.0; 3], [255.0; 3]) - 21.0).abs() < 0.001);
    let (light, rest) = CSS.split_once("prefers-color-scheme: dark").unwrap();
    let dark = rest.split("}\n}").next().unwrap();
    let light = values(light);
    let mut faults = Vec::new();
    for (scheme, own) in [("light", &light), ("dark", &values(dark))] {
        assert_eq!(
            own.len(),
            light.len(),
            "{scheme}: every colour has its value"
        );
        let texts = TEXTS.iter().map(|pair| (pair, 4.5));
        for ((over, grounds), needed) in texts.chain(EDGES.iter().map(|pair| (pair, 3.0))) {
            for ground in *grounds {
                let found = contrast(own[over], own[ground]);
                if found < needed {
                    faults.push(format!("{scheme}: {over} on {ground} has {found:.2}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
