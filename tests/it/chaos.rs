//! The small chaos run: a few hundred people, on every `cargo test`. The large one is `cargo bench --bench chaos`.

use std::time::Duration;

use super::database as servers;

#[path = "../chaos/mod.rs"]
mod harness;

use harness::Options;

#[tokio::test]
async fn the_judge_finds_what_was_planted_and_nothing_else() {
    harness::judge_is_tried().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_nobody_is_reminded_twice_or_in_vain_and_nobody_is_forgotten() {
    let report = harness::run(&Options {
        program: env!("CARGO_BIN_EXE_unread").into(),
        seed: 1,
        people: 300,
        kills: 10,
        restarts: 2,
        spread: Duration::from_secs(25),
        longest_freeze: Duration::from_secs(2),
        strikes: 4,
        zombies: 1,
        longest_trance: Duration::from_secs(4),
        fault_share: 0.05,
        missed_updates: 0.01,
        wait_out_leases: false,
    })
    .await
    .expect("the run itself");
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
}
