//! One identity, one key: every way to write a phone number, wherever it is written, has the hash of the number that is texted.

use unread::control::consumers::guessed_address;
use unread::domain::contact::{Address, ContactPolicy, ContactSources, RawContact, choose};
use unread::domain::ids::Channel;
use unread::hashing::Hasher;
use unread::suppressions_file;

#[test]
fn contacts_imports_and_searches_mean_the_number_that_is_texted() {
    let hasher = Hasher::new(b"a key for tests");
    let mut numbers = 0;
    let table = include_str!("../fixtures/phones/numbers.tsv");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let region = Some(cells[0]).filter(|region| !region.is_empty());
        let written: String = serde_json::from_str(cells[1]).unwrap();
        let expected = Address::phone(cells[2], None).map(|address| hasher.address(&address));
        let contact = choose(
            &ContactSources {
                authenticated: vec![RawContact {
                    phone: Some(written.clone()),
                    ..RawContact::default()
                }],
                ..ContactSources::default()
            },
            Channel::Sms,
            &ContactPolicy {
                default_region: region.map(str::to_owned),
                unauthenticated: false,
            },
        );
        let hash = contact.map(|contact| hasher.address(&contact.address));
        assert_eq!(hash, expected, "contact {written:?}");
        if written.contains('@') {
            continue;
        }
        let imported = suppressions_file::address(&written, region);
        let hash = imported.map(|address| hasher.address(&address));
        assert_eq!(hash, expected, "import {written:?}");
        let Some(expected) = expected else { continue };
        numbers += 1;
        if !written.contains(char::is_alphabetic) {
            let guessed = guessed_address(&written, region).map(|a| hasher.address(&a));
            assert_eq!(guessed, Some(expected), "{written:?}");
        }
    }
    assert!(numbers > 250, "{numbers}");
}
