//! The pure parts of a scan and of a delivery, without database or network: `cargo bench --bench rules`.
//!
//! What is measured is what happens per page of conversations or per reminder; everything else of their cost is I/O.

use std::hint::black_box;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;
use unread::channel::render::{Engine, Reads, Vars};
use unread::domain::channel::PerChannel;
use unread::domain::contact::{self, ContactPolicy};
use unread::domain::conversation::Record;
use unread::domain::decide::{AskedBy, Facts, History, decide};
use unread::domain::ids::{Channel, SkillId};
use unread::domain::local_time::LocalTime;
use unread::domain::read_state::{ReadState, read_state};
use unread::domain::rule::{Rule, RuleSettings};
use unread::domain::zone::Zone;
use unread::liveperson::parse_page;

/// A page of 100 conversations: LivePerson's sample page, repeated.
fn page() -> Vec<u8> {
    let sample: Value = serde_json::from_str(include_str!(
        "../tests/fixtures/liveperson/search_page.json"
    ))
    .expect("the sample is JSON");
    let records = sample["conversationHistoryRecords"]
        .as_array()
        .expect("the sample has records");
    let hundred: Vec<&Value> = records.iter().cycle().take(100).collect();
    let page =
        serde_json::json!({ "_metadata": { "count": 100 }, "conversationHistoryRecords": hundred });
    page.to_string().into_bytes()
}

fn records() -> Vec<Record> {
    let page = parse_page(&page(), 0, 100).expect("the page is readable");
    assert!(page.unreadable.is_empty(), "{:?}", page.unreadable);
    page.records
}

fn liveperson(c: &mut Criterion) {
    let (body, records) = (page(), records());
    let mut group = c.benchmark_group("a page of 100 conversations");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("parse", |b| b.iter(|| parse_page(black_box(&body), 0, 100)));
    group.throughput(Throughput::Elements(100));
    group.bench_function("read state", |b| {
        b.iter(|| {
            let unread = |r: &&Record| matches!(read_state(r, false), ReadState::Unread(_));
            black_box(&records).iter().filter(unread).count()
        });
    });
    group.finish();
}

fn delivery(c: &mut Criterion) {
    let records = records();
    let (record, episode) = records
        .iter()
        .find_map(|r| match read_state(r, false) {
            ReadState::Unread(episode) => Some((r, episode)),
            _ => None,
        })
        .expect("the sample page has an unread conversation");
    let now: DateTime<Utc> = episode.last_at + TimeDelta::minutes(10);
    let rule = Rule {
        id: 1,
        account: "12345678".parse().expect("an account"),
        skill: Some(SkillId(record.skill.0)),
        enabled: true,
        version: 1,
        settings: RuleSettings::default_for(&Channel::ALL),
        live: PerChannel::of(|_| Rule::ALWAYS),
        lost_until: None,
    };
    let step = rule.settings.steps[0];
    let history = History::default();
    let policy = ContactPolicy::default();
    c.bench_function("choose a contact and decide", |b| {
        b.iter(|| {
            let contact = contact::choose(&record.contact, Channel::Email, &policy);
            let address = contact.as_ref().map(|contact| &contact.address);
            let of = (&rule.settings, Channel::Email);
            let local = LocalTime::new(record.time_zone, address, of, Zone::UTC, now);
            decide(&Facts {
                episode: &episode.first_message,
                step: step.id,
                channel: step.channel,
                other_steps: &[],
                asked_by: AskedBy::Rule,
                deadline: local.deadline(&rule.settings, step.channel, now),
                local: &local,
                rule: Some(&rule),
                record: Some(black_box(record)),
                count_bots: false,
                contact,
                suppression: None,
                said_no: None,
                paused: false,
                held: false,
                history: &history,
                clicked_at: None,
                holdout_bucket: 99,
                now,
            })
        });
    });
    let texts = Engine::new();
    let vars = Vars {
        first_name: "Ann".to_owned(),
        brand: "The Example Shop".to_owned(),
        agent: "Dana".to_owned(),
        skill: "Orders".to_owned(),
        count: 2,
        since_minutes: 10,
        link: "https://unread.shop.example/r/0123456789abcdef".to_owned(),
        unsubscribe_link: "https://unread.shop.example/u/0123456789abcdef".to_owned(),
    };
    for channel in Channel::ALL {
        c.bench_function(&format!("render a reminder by {}", channel.as_str()), |b| {
            b.iter(|| {
                texts.render(
                    channel,
                    None,
                    Some("en"),
                    black_box(&vars),
                    Reads::ForReminders,
                )
            });
        });
    }
}

criterion_group!(rules, liveperson, delivery);
criterion_main!(rules);
