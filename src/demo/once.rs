//! `--once`: plays the script on a clock that is moved step by step, and compares what became of each case with what should.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::TimeDelta;
use serde::Serialize;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{DemoPace, DemoRun, start_demo};
use crate::config::Config;
use crate::db;
use crate::domain::reminder::ReminderState;
use crate::jobs::queue;
use crate::sandbox::Script;
use crate::sandbox::people::Expected;

/// How far the clock of `--once` moves at a time.
const STEP: TimeDelta = TimeDelta::seconds(10);

/// The longest that `--once` runs, most of a minute on a machine that does nothing else, and that the service may be busy with one step, in
/// real time.
const PATIENCE: Duration = Duration::from_mins(20);
const STEP_PATIENCE: Duration = Duration::from_mins(2);

impl DemoRun {
    /// Moves every clock on by one step and lets people and service do all there is to do at that moment.
    async fn step(&self) -> anyhow::Result<()> {
        self.world_clock.advance(STEP);
        self.clock.advance(STEP);
        self.sandbox.play_until_now();
        self.scheduler.tick().await?;
        let started = Instant::now();
        loop {
            // First: what the service hears of makes jobs.
            let untold = self.sandbox.smtp().due_events();
            let depths = queue::depth(&self.running.pool, self.clock.now()).await?;
            let busy: i64 = depths.iter().map(|d| d.ready + d.held).sum();
            if busy == 0 && untold == 0 {
                return Ok(());
            }
            anyhow::ensure!(
                started.elapsed() < STEP_PATIENCE,
                "{busy} jobs and {untold} mail events do not finish"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What was expected of one scripted case, and what happened.
#[derive(Debug, Serialize)]
pub struct CaseResult {
    pub case: &'static str,
    pub conversation: String,
    pub channel: &'static str,
    pub step: u32,
    pub expected: String,
    pub observed: String,
    pub agree: bool,
}

/// Plays the script until every reminder is final, and tells how each case went.
pub async fn once(base: &Config, shutdown: CancellationToken) -> anyhow::Result<Vec<CaseResult>> {
    let mut base = base.clone();
    // Nobody looks at the pages of a run that lasts a minute, and a demonstration may be running already.
    base.web.port = pick_port()?;
    base.web.metrics_port = pick_port()?;
    let stage = start_demo(&base, Script::Cases, DemoPace::Stepped, &shutdown).await?;
    let waited = wait_until_final(&stage, &shutdown).await;
    let rows = match waited {
        Ok(()) => compare(&stage).await,
        Err(error) => Err(error),
    };
    shutdown.cancel();
    stage.strike().await?;
    rows
}

/// Not one of those that the system gives to outgoing connections: there may be one before the port is listened on.
fn pick_port() -> anyhow::Result<u16> {
    let mut ports = (0..100).map(|_| rand::random_range(10_000..20_000));
    let free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(free).context("looking for a free port")
}

/// The script's last expectation has passed, and no reminder is still on its way.
async fn wait_until_final(stage: &DemoRun, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let started = Instant::now();
    let minutes = stage
        .sandbox
        .expected()
        .iter()
        .map(|e| e.by_minute)
        .fold(0.0, f64::max);
    let end = stage.start
        + TimeDelta::from_std(Duration::from_secs_f64(minutes * 60.0)).unwrap_or_default()
        + TimeDelta::minutes(5);
    loop {
        stage.step().await?;
        let open = db::reports::not_final(&stage.running.pool).await?;
        if stage.clock.now() > end && open == 0 {
            return Ok(());
        }
        anyhow::ensure!(
            started.elapsed() < PATIENCE,
            "{open} reminders were not final after {PATIENCE:?}"
        );
        anyhow::ensure!(
            !shutdown.is_cancelled(),
            "stopped before the script was over"
        );
    }
}

async fn compare(stage: &DemoRun) -> anyhow::Result<Vec<CaseResult>> {
    let expected = stage.sandbox.expected();
    let mut rows = Vec::with_capacity(expected.len() + 1);
    for expected in &expected {
        let observed = observed(&stage.running.pool, expected).await?;
        rows.push(CaseResult {
            case: expected.case,
            conversation: expected.conversation.clone(),
            channel: expected.channel,
            step: expected.step,
            agree: agrees(expected, &observed),
            expected: describe_verdict(expected.verdict, expected.reason),
            observed: describe_verdict(&observed.verdict, observed.reason.as_deref()),
        });
    }
    // The witness: as many messages were received as reminders were sent.
    let sent = db::reports::sent_in_all(&stage.running.pool).await?;
    let outbox = stage.sandbox.outbox();
    let received = i64::try_from(outbox.mails().len() + outbox.texts().len())?;
    rows.push(CaseResult {
        case: "messages_received",
        conversation: String::new(),
        channel: "",
        step: 0,
        expected: sent.to_string(),
        observed: received.to_string(),
        agree: sent == received,
    });
    Ok(rows)
}

struct Observed {
    verdict: String,
    reason: Option<String>,
}

async fn observed(pool: &PgPool, expected: &Expected) -> anyhow::Result<Observed> {
    let step = i16::try_from(expected.step)?;
    let reminder = db::reports::reminder_of(
        pool,
        &expected.conversation,
        expected.channel.parse()?,
        step,
    )
    .await?;
    Ok(match reminder {
        Some((state, reason)) => {
            let sent = matches!(state, ReminderState::Sent | ReminderState::Delivered);
            Observed {
                reason: reason.filter(|_| !sent).map(|reason| reason.to_string()),
                verdict: if sent { ReminderState::Sent } else { state }.to_string(),
            }
        }
        None => Observed {
            verdict: "none".to_owned(),
            reason: db::reports::last_reason(pool, &expected.conversation)
                .await?
                .map(|r| r.to_string()),
        },
    })
}

fn agrees(expected: &Expected, observed: &Observed) -> bool {
    expected.verdict == observed.verdict
        && (expected.verdict == "sent" || expected.reason == observed.reason.as_deref())
}

fn describe_verdict(verdict: &str, reason: Option<&str>) -> String {
    reason.map_or_else(
        || verdict.to_owned(),
        |reason| format!("{verdict} ({reason})"),
    )
}

/// The rows as a table.
pub fn table(rows: &[CaseResult]) -> String {
    let width = |cell: &dyn Fn(&CaseResult) -> usize| {
        rows.iter().map(cell).max().unwrap_or_default().max(8)
    };
    let (case, expected) = (width(&|r| r.case.len()), width(&|r| r.expected.len()));
    let observed = width(&|r| r.observed.len());
    let mut text = format!(
        "{:case$}  {:7} {:>4}  {:expected$}  {:observed$}\n",
        "case", "channel", "step", "expected", "observed"
    );
    for r in rows {
        let mark = if r.agree { "ok" } else { "DIFFERS" };
        let step = if r.step == 0 {
            String::new()
        } else {
            r.step.to_string()
        };
        let _ = writeln!(
            text,
            "{:case$}  {:7} {step:>4}  {:expected$}  {:observed$}  {mark}",
            r.case, r.channel, r.expected, r.observed
        );
    }
    let agreed = rows.iter().filter(|r| r.agree).count();
    let _ = writeln!(text, "\n{agreed} of {} agree", rows.len());
    text
}
