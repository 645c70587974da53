//! The load driver: how fast, how late and how large the whole is, measured on the real processes.
//!
//! ```text
//! cargo bench --bench load -- scan    [--n 20000]                  conversations per second, resident memory
//! cargo bench --bench load -- deliver [--n 5000] [--rows 1000000]  reminders per second against a loop written by hand;
//!                                                                  with --rows the same on a ledger with a past
//! cargo bench --bench load -- idle    [--seconds 60]               memory, processor time and statements of idle roles
//! cargo bench --bench load -- start                                from each role's start until it is ready; the program's size
//! cargo bench --bench load -- pages   [--rows 1000000] [--n 100]   every page and list on a ledger with a past: p50, p95, rows read
//! ```
//!
//! Each run starts a PostgreSQL of its own with the settings of `unread run`, which force every commit to disk, the sandbox
//! and each role as processes of their own, and the clock is the machine's. `--throwaway` forces nothing to disk: what
//! PostgreSQL's disk costs is then the difference.
//!
//! What the service's limits would otherwise measure is set aside: 100,000 LivePerson calls and e-mails per second. They
//! are still asked for turn by turn. Figures of one run on a shared machine are noisy; trust the ratios.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts become rates for printing"
)]

mod ledger;
mod pages;
mod past;
mod reference;
mod stage;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::TimeDelta;
use unread::domain::ids::{AccountId, ReminderId};
use unread::postgres::Durability;

use ledger::{Counters, Round};
use stage::{Process, SKILL, Stage, until};

/// Milliseconds from the beginning of one conversation to the next, where all of them are to be due together.
const EVERY_MS: i64 = 400;

/// Over how long the conversations of a scan have begun.
const TWO_DAYS_MS: usize = 172_800_000;

/// The service without its manners: the sandbox may be asked as fast as it answers.
const SETTINGS: &[(&str, &str)] = &[
    ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "100000"),
    ("SMTP_RATE_PER_SECOND", "100000"),
    ("SMTP_CONNECTIONS", "32"),
    ("UNREAD_WORKER_SLOTS", "400"),
    ("UNREAD_SCAN_INTERVAL_SECONDS", "15"),
];

/// The reference loop's lanes, and how often each side is measured, turn by turn.
const LANES: usize = 3;
const ROUNDS: usize = 3;

/// How often each role is started.
const STARTS: usize = 5;

fn main() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let number = |name: &str, default: usize| -> Result<usize> {
        match arguments.iter().position(|a| a == name) {
            None => Ok(default),
            Some(at) => {
                let value = arguments
                    .get(at + 1)
                    .with_context(|| format!("{name} needs a number"))?;
                value
                    .replace('_', "")
                    .parse()
                    .with_context(|| format!("{name} {value}"))
            }
        }
    };
    let durability = if arguments.iter().any(|a| a == "--throwaway") {
        Durability::Throwaway
    } else {
        Durability::Durable
    };
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.first().map(String::as_str) {
        Some("scan") => runtime.block_on(scan(durability, number("--n", 20_000)?)),
        Some("deliver") => runtime.block_on(deliver(
            durability,
            number("--n", 5_000)?,
            number("--rows", 0)?,
        )),
        Some("idle") => runtime.block_on(idle(durability, number("--seconds", 60)?)),
        Some("start") => runtime.block_on(start(durability)),
        Some("pages") => runtime.block_on(pages::run(
            durability,
            number("--rows", 1_000_000)?,
            number("--n", 100)?,
        )),
        // `cargo bench` without arguments runs every benchmark: this one is asked for by name.
        None => Ok(()),
        Some(other) => bail!("`{other}`: say scan, deliver, idle, start or pages"),
    }
}

/// Scans of one skill with `n` open conversations: the first stores and schedules all of them, the later ones find nothing new.
async fn scan(durability: Durability, n: usize) -> Result<()> {
    let stage = Stage::set(durability, SETTINGS).await?;
    stage
        .populate(n, i64::try_from(TWO_DAYS_MS / n.max(1))?)
        .await?;
    let worker = stage.role("worker")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!(
        "{n} open conversations, {durability:?}; worker before: {:.0} MB resident",
        worker.memory("VmRSS")?
    );
    let scheduler = stage.role("scheduler")?;
    let mut last = None;
    for which in ["first scan ", "second scan", "third scan "] {
        let (cpu, cpu_of_sandbox) = (worker.cpu()?, stage.cpu_of_sandbox()?);
        let (began, ms, found) = next_scan(&stage, last, n).await?;
        last = Some(began);
        println!(
            "{which}: {n} ({found} read, since LivePerson rounds where a search restarts) in {:.1} s = {:.0}/s; worker {:.1} s of processor time, sandbox {:.1} s; \
             worker {:.0} MB resident, {:.0} MB at most",
            ms / 1e3,
            n as f64 / ms * 1e3,
            worker.cpu()? - cpu,
            stage.cpu_of_sandbox()? - cpu_of_sandbox,
            worker.memory("VmRSS")?,
            worker.memory("VmHWM")?,
        );
        slowest(&stage).await?;
    }
    let owed = ledger::scheduled(&stage.pool).await?.len();
    ensure!(owed == n, "{owed} reminders are owed for {n} conversations");
    let counters = Counters::read(&stage.pool).await?;
    if let Some((hot, all)) = counters.hot_updates.get("conversations") {
        println!("conversations: {hot} of {all} updates touched no index");
    }
    drop((worker, scheduler));
    stage.strike().await
}

type Moment = chrono::DateTime<chrono::Utc>;

/// Waits for the end of the next complete scan: when it began, milliseconds, conversations.
async fn next_scan(stage: &Stage, after: Option<Moment>, n: usize) -> Result<(Moment, f64, i32)> {
    until("a complete scan", Duration::from_mins(10), async || {
        let found: Option<(Moment, i64, i32)> = sqlx::query_as(
            "select started_at, duration_ms, conversations from scans
             where skill = $1 and finished_at is not null and started_at > coalesce($2, '-infinity'::timestamptz)
               and finished_at >= started_at",
        )
        .bind(SKILL)
        .bind(after)
        .fetch_optional(&stage.pool)
        .await?;
        Ok(found
            .filter(|(.., found)| usize::try_from(*found).is_ok_and(|found| found >= n))
            .map(|(began, ms, found)| (began, ms as f64, found)))
    })
    .await
}

/// A burst of `n` reminders, by turns through the service and through the reference loop; then lateness at half and at four
/// fifths of the highest rate.
async fn deliver(durability: Durability, n: usize, rows: usize) -> Result<()> {
    let stage = Stage::set(durability, SETTINGS).await?;
    let account: AccountId = unread::sandbox::ACCOUNT.parse()?;
    stage.populate(n, EVERY_MS).await?;
    let worker = stage.role("worker")?;
    let scheduler = stage.role("scheduler")?;
    let reminders = until("a scan", Duration::from_mins(10), async || {
        let reminders = ledger::scheduled(&stage.pool).await?;
        Ok((reminders.len() == n).then_some(reminders))
    })
    .await?;
    // Scans would be measured with it.
    drop(scheduler);
    println!("{n} reminders, {durability:?}");
    ledger::statements(&stage.pool).await?;

    let (mut service, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        service.push(burst(&stage, &worker, &account, &reminders).await?);
        let round = reference::run(&stage, &account, &reminders, LANES).await?;
        ensure!(
            round.sent == i64::try_from(n)?,
            "the reference sent {}",
            round.sent
        );
        println!("  reference {:.0}/s", round.rate());
        ledger::statements(&stage.pool).await?;
        reference.push(round);
    }
    let (service, reference) = (middle(&service), middle(&reference));
    println!(
        "service / reference (medians): {service:.0}/s / {reference:.0}/s = {:.2}",
        service / reference
    );
    for share in [0.5, 0.8] {
        at_load(&stage, &account, &reminders, service, share).await?;
    }

    if rows > 0 {
        let started = Instant::now();
        ledger::age(&stage.pool, i64::try_from(rows)?).await?;
        println!(
            "{rows} rows in every table, written in {:.0} s",
            started.elapsed().as_secs_f64()
        );
        let mut aged = Vec::new();
        ledger::statements(&stage.pool).await?;
        let before = Counters::read(&stage.pool).await?;
        for _ in 0..ROUNDS {
            aged.push(burst(&stage, &worker, &account, &reminders).await?);
        }
        let after = Counters::read(&stage.pool).await?;
        println!(
            "cost with {rows} rows over cost without: {:.2}",
            service / middle(&aged)
        );
        let read = after.read_since(&before);
        for (index, (looks, found)) in &read {
            let per = |count: &i64| *count as f64 / (n * ROUNDS) as f64;
            println!(
                "  {index}: {:.2} look-ups and {:.2} rows per reminder",
                per(looks),
                per(found)
            );
        }
        let scanned = after.scanned_since(&before);
        ensure!(
            scanned.is_empty(),
            "read from end to end: {}",
            scanned.join(", ")
        );
        println!("no table of the hot path was read from end to end");
    }
    drop(worker);
    stage.strike().await
}

async fn burst(
    stage: &Stage,
    worker: &Process,
    account: &AccountId,
    reminders: &[ReminderId],
) -> Result<Round> {
    let due = ledger::soon();
    let mails = stage.mails().await?;
    ledger::make_due(&stage.pool, account, reminders, |_| due).await?;
    ledger::statements(&stage.pool).await?;
    let (cpu, cpu_of_sandbox) = (worker.cpu()?, stage.cpu_of_sandbox()?);
    let round = ledger::all_sent(&stage.pool, reminders).await?;
    let mails = stage.mails().await? - mails;
    ensure!(
        mails == u64::try_from(reminders.len())?,
        "{mails} e-mails for {} reminders",
        reminders.len()
    );
    println!(
        "  service {:.0}/s; late p50 {:.2} s, p99 {:.2} s, max {:.2} s; per reminder {:.2} ms of the worker's processor \
         time, {:.2} ms of the sandbox's; worker {:.0} MB at most",
        round.rate(),
        round.late_p50,
        round.late_p99,
        round.late_max,
        (worker.cpu()? - cpu) / reminders.len() as f64 * 1e3,
        (stage.cpu_of_sandbox()? - cpu_of_sandbox) / reminders.len() as f64 * 1e3,
        worker.memory("VmHWM")?,
    );
    slowest(stage).await?;
    Ok(round)
}

/// Statements since the last look: how many, and the five that took the server longest.
async fn slowest(stage: &Stage) -> Result<()> {
    let Some(found) = ledger::statements(&stage.pool).await? else {
        return Ok(());
    };
    let calls: i64 = found.iter().map(|(_, calls, _)| calls).sum();
    let ms: f64 = found.iter().map(|(.., ms)| ms).sum();
    println!("    {calls} statements, {:.1} s in PostgreSQL", ms / 1e3);
    for (sql, calls, ms) in found.iter().take(9) {
        println!("      {ms:6.0} ms {calls:6} × {sql}");
    }
    Ok(())
}

/// The same reminders, due one after the other, at a share of the highest rate.
async fn at_load(
    stage: &Stage,
    account: &AccountId,
    reminders: &[ReminderId],
    highest: f64,
    share: f64,
) -> Result<()> {
    let rate = highest * share;
    let first = ledger::soon();
    let due = |n: usize| first + TimeDelta::microseconds((n as f64 / rate * 1e6) as i64);
    ledger::make_due(&stage.pool, account, reminders, due).await?;
    ledger::statements(&stage.pool).await?;
    let round = ledger::all_sent(&stage.pool, reminders).await?;
    println!(
        "due at {rate:.0}/s, {:.0} % of that: late p50 {:.3} s, p99 {:.3} s, max {:.3} s",
        share * 100.0,
        round.late_p50,
        round.late_p99,
        round.late_max
    );
    slowest(stage).await
}

fn middle(rounds: &[Round]) -> f64 {
    let mut rates: Vec<f64> = rounds.iter().map(Round::rate).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Each role with nothing to do, one at a time, and all of them.
async fn idle(durability: Durability, seconds: usize) -> Result<()> {
    // The default settings, manners and all.
    let stage = Stage::set(durability, &[]).await?;
    let length = Duration::from_secs(u64::try_from(seconds)?);
    for roles in [
        &["web"][..],
        &["worker"],
        &["scheduler"],
        &["web", "worker", "scheduler"],
    ] {
        let processes = roles
            .iter()
            .map(|role| stage.role(role))
            .collect::<Result<Vec<_>>>()?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        ledger::statements(&stage.pool).await?;
        let before = processes
            .iter()
            .map(Process::cpu)
            .collect::<Result<Vec<_>>>()?;
        tokio::time::sleep(length).await;
        let calls: i64 = match ledger::statements(&stage.pool).await? {
            Some(found) => found.iter().map(|(_, calls, _)| calls).sum(),
            None => 0,
        };
        println!(
            "{}: {:.0} statements per minute",
            roles.join(" + "),
            calls as f64 * 60.0 / length.as_secs_f64()
        );
        for ((role, process), before) in roles.iter().zip(&processes).zip(before) {
            println!(
                "  {role}: {:.1} MB resident, {:.2} % of a core",
                process.memory("VmRSS")?,
                (process.cpu()? - before) / length.as_secs_f64() * 100.0,
            );
        }
    }
    stage.strike().await
}

/// How long each role takes from its start until its probe says that it is ready.
async fn start(durability: Durability) -> Result<()> {
    let program = std::fs::metadata(env!("CARGO_BIN_EXE_unread"))?;
    println!("the program: {:.1} MB", program.len() as f64 / 1e6);
    let (port, metrics_port) = (free_port()?.to_string(), free_port()?.to_string());
    let ports = [
        ("PORT", port.as_str()),
        ("UNREAD_METRICS_PORT", metrics_port.as_str()),
    ];
    let stage = Stage::set(durability, &ports).await?;
    let probe = format!("http://127.0.0.1:{metrics_port}/readyz");
    for role in ["web", "worker", "scheduler"] {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let started = Instant::now();
            let process = stage.role(role)?;
            stage::until_ready(&probe).await?;
            times.push(started.elapsed());
            drop(process);
        }
        times.sort();
        println!(
            "{role}: ready after {:.0} ms (median of {STARTS}; {:.0} to {:.0})",
            times[STARTS / 2].as_secs_f64() * 1e3,
            times[0].as_secs_f64() * 1e3,
            times[STARTS - 1].as_secs_f64() * 1e3,
        );
    }
    stage.strike().await
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
