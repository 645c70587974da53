//! Deliveries: bursts by turns through the service and what it is compared with, then lateness below the highest rate, then all of
//! it on a ledger with a past.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chrono::TimeDelta;
use unread::domain::ids::{AccountId, Channel, ReminderId};
use unread::postgres::Durability;

use crate::ledger::{Counters, Round};
use crate::plot::{self, Bar, Curve};
use crate::stage::{Process, Stage, until};
use crate::{SETTINGS, graphile, ledger, next_scan, plans, reference, slowest, stage};

/// Milliseconds from the beginning of one conversation to the next: all of them are to be due together.
const EVERY_MS: i64 = 400;

/// The reference loop's lanes, and how often each side is measured, turn by turn.
const LANES: usize = 3;
const ROUNDS: usize = 3;

/// Processes of graphile-worker that are tried: Node has one thread, the machine may have more.
const NODES: [usize; 2] = [1, 2];

/// Reminders whose statements are explained.
const EXPLAINED: usize = 1_000;

pub struct DeliverOptions {
    pub durability: Durability,
    pub reminders: usize,
    pub rows: usize,
    pub graphile: bool,
    pub plots: Option<PathBuf>,
}

/// A burst of reminders, by turns through the service and through the reference loop; then lateness at half and at four fifths of
/// the highest rate.
pub async fn run(wanted: &DeliverOptions) -> Result<()> {
    let (n, durability) = (wanted.reminders, wanted.durability);
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
    ledger::scans_ended(&stage.pool).await?;
    println!("{n} reminders, {durability:?}");
    let round = Play {
        stage: &stage,
        worker: &worker,
        account: &account,
        reminders: &reminders,
    };

    let mut bars = round.by_turns(wanted.graphile).await?;
    let highest = middle(&bars[0].values);
    let mut curves = Vec::new();
    for share in [0.5, 0.8] {
        curves.push(round.at_load(highest, share).await?);
    }
    if wanted.rows > 0 {
        let aged = round.with_a_past(wanted.rows, highest).await?;
        bars.insert(1, aged);
    }
    if let Some(folder) = &wanted.plots {
        let title = format!("Deliveries per second, {n} reminders due at once");
        plot::bars(&folder.join("performance-deliveries.svg"), &title, &bars)?;
        let title = "Seconds after due, by share of the reminders";
        plot::curves(&folder.join("performance-lateness.svg"), title, &curves)?;
    }
    drop(worker);
    stage.strike().await
}

/// What every round needs.
struct Play<'a> {
    stage: &'a Stage,
    worker: &'a Process,
    account: &'a AccountId,
    reminders: &'a [ReminderId],
}

impl Play<'_> {
    /// Bursts through each side, turn by turn. The service's bar comes first.
    async fn by_turns(&self, with_graphile: bool) -> Result<Vec<Bar>> {
        let (mut service, mut reference) = (Vec::new(), Vec::new());
        let mut nodes: Vec<Vec<f64>> = vec![Vec::new(); NODES.len()];
        let folder = with_graphile.then(graphile::install).transpose()?;
        let by_hand = reference::context(self.stage)?;
        for _ in 0..ROUNDS {
            service.push(self.burst().await?.rate());
            let (cpu, own) = (self.cpu()?, stage::own_cpu()?);
            let round = reference::run(&by_hand, self.account, self.reminders, LANES).await?;
            self.ensure_all("the reference", &round)?;
            let (used, own) = (self.cpu()?, stage::own_cpu()? - own);
            let per = |seconds: f64| seconds / self.reminders.len() as f64 * 1e3;
            println!(
                "  reference {:.0}/s; processor time per reminder: its own {:.2} ms, PostgreSQL {:.2} ms, sandbox {:.2} ms",
                round.rate(),
                per(own),
                per(used[1] - cpu[1]),
                per(used[2] - cpu[2]),
            );
            reference.push(round.rate());
            for (rates, processes) in nodes.iter_mut().zip(NODES) {
                let Some(folder) = &folder else { break };
                let round = graphile::run(self.stage, folder, self.reminders, processes).await?;
                self.ensure_all("graphile-worker", &round)?;
                rates.push(round.rate());
            }
        }
        let ours = middle(&service);
        println!(
            "service / reference (medians): {ours:.0}/s / {:.0}/s = {:.2}",
            middle(&reference),
            ours / middle(&reference)
        );
        let bar = |what: String, values: Vec<f64>, ours| Bar { what, values, ours };
        let mut bars = vec![
            bar("unread, one worker".to_owned(), service, true),
            bar("loop written by hand".to_owned(), reference, false),
        ];
        for (rates, processes) in nodes.into_iter().zip(NODES) {
            if !rates.is_empty() {
                let theirs = middle(&rates);
                println!(
                    "service / graphile-worker in {processes} processes (medians): {ours:.0}/s / {theirs:.0}/s = {:.2}",
                    ours / theirs
                );
                let what = format!("graphile-worker, processes: {processes}");
                bars.push(bar(what, rates, false));
            }
        }
        Ok(bars)
    }

    fn ensure_all(&self, who: &str, round: &Round) -> Result<()> {
        let sent = usize::try_from(round.sent)?;
        ensure!(sent == self.reminders.len(), "{who} sent {sent}");
        Ok(())
    }

    /// All reminders due at once, through the service.
    async fn burst(&self) -> Result<Round> {
        let Self {
            stage,
            worker,
            account,
            reminders,
        } = self;
        let due = ledger::soon();
        let mails = stage.mails().await?;
        ledger::make_due(&stage.pool, (account, Channel::Email), reminders, |_| due).await?;
        ledger::statements(&stage.pool).await?;
        let before = Counters::read(&stage.pool).await?;
        let cpu = self.cpu()?;
        let round = ledger::all_sent(&stage.pool, reminders).await?;
        let used = self.cpu()?;
        let mails = stage.mails().await? - mails;
        ensure!(
            mails == u64::try_from(reminders.len())?,
            "{mails} e-mails for {} reminders",
            reminders.len()
        );
        let per = |at: usize| (used[at] - cpu[at]) / reminders.len() as f64 * 1e3;
        println!(
            "  service {:.0}/s; late p50 {:.2} s, p99 {:.2} s, max {:.2} s; processor time per reminder: worker {:.2} ms, \
             PostgreSQL {:.2} ms, sandbox {:.2} ms; worker {:.0} MB at most",
            round.rate(),
            round.late_p50,
            round.late_p99,
            round.late_max,
            per(0),
            per(1),
            per(2),
            worker.memory("VmHWM")?,
        );
        let after = Counters::read(&stage.pool).await?;
        println!(
            "    {:.0} bytes of WAL per reminder",
            (after.wal - before.wal) as f64 / reminders.len() as f64
        );
        for (table, (hot, all)) in after.updates_since(&before) {
            println!("    {table}: {hot} of {all} updates touched no index");
        }
        slowest(stage).await?;
        Ok(round)
    }

    /// Processor time so far of the worker, of PostgreSQL and of the sandbox.
    fn cpu(&self) -> Result<[f64; 3]> {
        Ok([
            self.worker.cpu()?,
            self.stage.cpu_of_postgres()?,
            self.stage.cpu_of_sandbox()?,
        ])
    }

    /// The same reminders, due one after the other, at a share of the highest rate.
    async fn at_load(&self, highest: f64, share: f64) -> Result<Curve> {
        let rate = highest * share;
        let first = ledger::soon();
        let due = |n: usize| first + TimeDelta::microseconds((n as f64 / rate * 1e6) as i64);
        ledger::make_due(
            &self.stage.pool,
            (self.account, Channel::Email),
            self.reminders,
            due,
        )
        .await?;
        ledger::statements(&self.stage.pool).await?;
        let round = ledger::all_sent(&self.stage.pool, self.reminders).await?;
        println!(
            "due at {rate:.0}/s, {:.0} % of that: late p50 {:.3} s, p99 {:.3} s, max {:.3} s",
            share * 100.0,
            round.late_p50,
            round.late_p99,
            round.late_max
        );
        slowest(self.stage).await?;
        Ok(Curve {
            what: format!("{:.0} % of the highest rate", share * 100.0),
            values: ledger::lateness(&self.stage.pool, self.reminders).await?,
        })
    }

    /// The bursts again with so many rows in every table; then one that PostgreSQL explains, and a scan with it.
    async fn with_a_past(&self, rows: usize, without: f64) -> Result<Bar> {
        let pool = &self.stage.pool;
        let started = Instant::now();
        ledger::age(pool, i64::try_from(rows)?).await?;
        println!(
            "{rows} rows in every table, written in {:.0} s",
            started.elapsed().as_secs_f64()
        );
        let mut values = Vec::new();
        let before = Counters::read(pool).await?;
        for _ in 0..ROUNDS {
            values.push(self.burst().await?.rate());
        }
        let after = Counters::read(pool).await?;
        println!(
            "cost with {rows} rows over cost without: {:.2}",
            without / middle(&values)
        );
        let scanned = after.scanned_since(&before);
        ensure!(
            scanned.is_empty(),
            "read from end to end: {}",
            scanned.join(", ")
        );
        println!("no table of the hot path was read from end to end");

        let some = &self.reminders[..EXPLAINED.min(self.reminders.len())];
        let plans = plans::begin(pool, self.stage.log()?).await?;
        let due = ledger::soon();
        ledger::make_due(pool, (self.account, Channel::Email), some, |_| due).await?;
        ledger::all_sent(pool, some).await?;
        let began = unread::clock::Clock::System.now();
        let scheduler = self.stage.role("scheduler")?;
        next_scan(self.stage, Some(began), self.reminders.len()).await?;
        drop(scheduler);
        plans.end(pool).await?.judge()?;
        Ok(Bar {
            what: format!("unread, {rows} rows in every table"),
            values,
            ours: true,
        })
    }
}

fn middle(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
