//! The load driver: how fast, how late and how large the whole is, measured on the real processes.
//!
//! ```text
//! cargo bench --bench load -- scan    [--n 20000]                  conversations per second, resident memory
//! cargo bench --bench load -- deliver [--n 5000] [--rows 1000000]  reminders per second against a loop written by hand;
//!                                     [--graphile]                 with --rows the same on a ledger with a past, and the plan of
//!                                                                  every statement; with --graphile against graphile-worker, too
//! cargo bench --bench load -- fresh   [--n 500] [--rate 10]        how old is what is known when a message leaves, of many due at once:
//!                                     [--workers 1] [--freeze]     LivePerson's answer, opt-outs; with --freeze workers stand still;
//!                                     [--reply-ms 20]              so long the mail server takes for each reply
//! cargo bench --bench load -- hanging                              how late the others' reminders are while LivePerson of one account,
//!                                                                  Twilio for one sender, or the mail server says nothing: p50, p99
//! cargo bench --bench load -- recent  [--n 100000] [--seconds 300] from an agent's message until its reminder is scheduled and its badge known,
//!                                                                  with 2 % of so many open conversations active: p50, p99, calls
//! cargo bench --bench load -- idle    [--seconds 60]               memory, processor time and statements of idle roles
//! cargo bench --bench load -- start                                from each role's start until it is ready; the program's size
//! cargo bench --bench load -- pages   [--rows 1000000] [--n 100]   every page and list on a ledger with a past: p50, p95, rows read
//! cargo bench --bench load -- strangers [--n 5000]                 healthy requests beside so many half-open connections: p99
//! cargo bench --bench load -- streams [--n 12000] [--rows 100000]  so many open event streams while so many conversations change:
//!                                                                  memory per stream, the slowest badge answer meanwhile
//! cargo bench --bench load -- year    [--days 365] [--open 200]    a year on a fast clock: tables' sizes, lateness, calls; fails when
//!                                     [--accounts 3]               a table grows without bound
//! ```
//!
//! `--plot FOLDER` writes what `scan` and `deliver` have measured as pictures, too.
//!
//! Each run starts a PostgreSQL of its own with the settings of `unread run`, which force every commit to disk, the sandbox
//! and each role as processes of their own, and the clock is the machine's. `--throwaway` forces nothing to disk: what
//! PostgreSQL's disk costs is then the difference.
//!
//! What the service's limits would otherwise measure is set aside, but for `fresh`, `hanging` and `recent`: 100,000 LivePerson calls and
//! e-mails per second. They are still asked for turn by turn. Figures of one run on a shared machine are noisy; trust the ratios.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts become rates for printing"
)]

mod deliver;
mod fresh;
mod graphile;
mod hanging;
mod ledger;
mod pages;
mod past;
mod plans;
mod plot;
mod recent;
mod reference;
mod stage;
mod strangers;
mod streams;
#[path = "../badge/token.rs"]
mod token;
mod year;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use unread::postgres::Durability;

use ledger::Counters;
use stage::{Process, SKILL, Stage, until};

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
    let asked_for = |name: &str| arguments.iter().any(|a| a == name);
    let durability = if asked_for("--throwaway") {
        Durability::Throwaway
    } else {
        Durability::Durable
    };
    let plots = match arguments.iter().position(|a| a == "--plot") {
        None => None,
        Some(at) => {
            let folder = arguments.get(at + 1).context("--plot needs a folder")?;
            Some(PathBuf::from(folder))
        }
    };
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.first().map(String::as_str) {
        Some("scan") => runtime.block_on(scan(durability, number("--n", 20_000)?, plots)),
        Some("deliver") => runtime.block_on(deliver::run(&deliver::DeliverOptions {
            durability,
            reminders: number("--n", 5_000)?,
            rows: number("--rows", 0)?,
            graphile: asked_for("--graphile"),
            plots,
        })),
        Some("fresh") => runtime.block_on(fresh::run(&fresh::FreshOptions {
            durability,
            reminders: number("--n", 500)?,
            rate: number("--rate", 10)?,
            workers: number("--workers", 1)?,
            reply: Duration::from_millis(u64::try_from(number("--reply-ms", 20)?)?),
            freeze: asked_for("--freeze"),
        })),
        Some("hanging") => runtime.block_on(hanging::run(durability)),
        Some("recent") => runtime.block_on(recent::run(
            durability,
            number("--n", 100_000)?,
            number("--seconds", 300)?,
        )),
        Some("idle") => runtime.block_on(idle(durability, number("--seconds", 60)?)),
        Some("start") => runtime.block_on(start(durability)),
        Some("pages") => runtime.block_on(pages::run(
            durability,
            number("--rows", 1_000_000)?,
            number("--n", 100)?,
        )),
        Some("strangers") => runtime.block_on(strangers::run(durability, number("--n", 5_000)?)),
        Some("streams") => runtime.block_on(streams::run(
            durability,
            number("--n", 12_000)?,
            number("--rows", 100_000)?,
        )),
        Some("year") => runtime.block_on(year::run(&year::YearOptions {
            days: number("--days", 365)?,
            open: number("--open", 200)?,
            accounts: number("--accounts", 3)?,
        })),
        // `cargo bench` without arguments runs every benchmark: this one is asked for by name.
        None => Ok(()),
        Some(other) => {
            bail!(
                "`{other}`: say scan, deliver, fresh, hanging, recent, idle, start, pages, strangers, streams or year"
            )
        }
    }
}

/// Scans of one skill with `n` open conversations: the first stores and schedules all of them, the later ones find nothing new.
async fn scan(durability: Durability, n: usize, plots: Option<PathBuf>) -> Result<()> {
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
    let (mut last, mut scans) = (None, Vec::new());
    for which in ["first scan", "second scan", "third scan"] {
        let (cpu, cpu_of_sandbox) = (worker.cpu()?, stage.cpu_of_sandbox()?);
        let (began, ms, found) = next_scan(&stage, last, n).await?;
        last = Some(began);
        scans.push(plot::Bar {
            what: format!("{which}, worker {:.0} MB at most", worker.memory("VmHWM")?),
            values: vec![n as f64 / ms * 1e3],
            ours: true,
        });
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
    if let Some(folder) = plots {
        let title = format!("Conversations scanned per second, {n} open");
        plot::bars(&folder.join("performance-scan.svg"), &title, &scans)?;
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

/// Statements since the last look: how many, and those that took the server longest.
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
