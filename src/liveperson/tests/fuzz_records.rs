//! Whatever LivePerson sends: no panic, and every record is either read or named.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::SearchPage;
use super::{BY_ID_V1, SEARCH_PAGE, page, parse};

/// What may stand where something else is expected.
fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof!["undefined", "null", "0", "-1", "[0-9]{1,25}", "\\PC{0,12}"]
            .prop_map(Value::from),
        Just(json!("\u{0}")),
        Just(json!("x".repeat(50_000))),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, 1, "x", [[]], { "a": [] }])),
    ]
}

/// Replaces the `nth` value of the tree, counted in depth, by `by`.
fn replace(tree: &mut Value, nth: &mut usize, by: &Value) {
    if *nth == 0 {
        *tree = by.clone();
    }
    let Some(left) = nth.checked_sub(1) else {
        *nth = usize::MAX;
        return;
    };
    *nth = left;
    match tree {
        Value::Array(items) => items.iter_mut().for_each(|item| {
            if *nth != usize::MAX {
                replace(item, nth, by);
            }
        }),
        Value::Object(fields) => fields.values_mut().for_each(|field| {
            if *nth != usize::MAX {
                replace(field, nth, by);
            }
        }),
        _ => {}
    }
}

fn is_whole(page: &SearchPage) -> bool {
    page.received as usize == page.records.len() + page.unreadable.len()
}

proptest! {
    #[test]
    fn a_record_with_anything_anywhere_is_read_or_named(
        changes in proptest::collection::vec((0..250_usize, junk()), 1..6),
        which in 0..14_usize,
    ) {
        let sample: Value = serde_json::from_str(if which == 13 { BY_ID_V1 } else { SEARCH_PAGE }).unwrap();
        let mut record = sample["conversationHistoryRecords"][which % 13].clone();
        for (mut nth, by) in changes {
            replace(&mut record, &mut nth, &by);
        }
        let good = sample["conversationHistoryRecords"][0].clone();
        let page = parse(&super::envelope(&json!([record, good]))).unwrap();
        prop_assert!(is_whole(&page));
        prop_assert!(page.records.iter().any(|r| r.id == good["info"]["conversationId"]));
    }

    #[test]
    fn damaged_bytes_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = SEARCH_PAGE.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for body in [&bytes[..], &bytes[..end.index(bytes.len())]] {
            if let Ok(page) = page(body, 0, 100, "search") {
                prop_assert!(is_whole(&page));
            }
        }
    }
}
