//! The log, its level, spans for traces, and the signals that ask this process to stop.
//!
//! The log goes to standard error, so that standard output stays free for what a command was asked to print. The log belongs to the
//! process, so the handle on its level does too: a static, like the log itself.

#[cfg(feature = "otlp")]
mod otlp;

use std::io::{self, IsTerminal, Write as _};
use std::sync::OnceLock;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::config::{self, Log, LogFormat};

static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// In which form lines are written: text on a terminal, else JSON, unless the settings say so.
fn format_of(setting: Option<LogFormat>) -> LogFormat {
    setting.unwrap_or(if io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    })
}

/// Why a process that keeps a log ends, as a line of its log whatever the level: collectors read nothing else.
pub fn last_words(format: Option<LogFormat>, why: &str, now: DateTime<Utc>) {
    let line = match format_of(format) {
        LogFormat::Text => format!("unread: {why}"),
        LogFormat::Json => serde_json::json!({
            "timestamp": now.to_rfc3339_opts(SecondsFormat::Micros, true),
            "level": "ERROR",
            "message": why,
            "target": "unread",
        })
        .to_string(),
    };
    // Where nobody hears it there is nobody to complain to.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Holds the log open; what is still on its way to a collector of spans leaves when it is dropped.
#[must_use]
pub struct LogGuard {
    #[cfg(feature = "otlp")]
    _spans: Option<otlp::Spans>,
}

/// Starts the log of a process of this role. To be called once, before anything is logged.
pub fn start_log(log: &Log, role: &str) -> anyhow::Result<LogGuard> {
    let (filter, level) = reload::Layer::new(filter(&log.level)?);
    let is_terminal = io::stderr().is_terminal();
    let format = format_of(log.format);
    // It would complain where the line could not be written, and panic.
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(is_terminal).boxed(),
        // Fields beside the message, not below it: log collectors look for them there.
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let log_lines = tracing_subscriber::registry().with(filter).with(lines);
    #[cfg(feature = "otlp")]
    let (started, guard) = {
        let (layer, spans) = log
            .otlp
            .as_ref()
            .map(|collector| otlp::export(collector, service_name(log, role)))
            .transpose()?
            .unzip();
        let guard = LogGuard { _spans: spans };
        (log_lines.with(layer).try_init(), guard)
    };
    #[cfg(not(feature = "otlp"))]
    let (started, guard) = {
        let _ = role;
        (log_lines.try_init(), LogGuard {})
    };
    started.context("starting the log")?;
    let _ = LEVEL.set(level);
    Ok(guard)
}

/// What a collector calls this process.
#[cfg(feature = "otlp")]
fn service_name(log: &Log, role: &str) -> String {
    let named = log.service_name.clone();
    named.unwrap_or_else(|| format!("unread-{role}"))
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    // Migrations that find their work done are no news.
    EnvFilter::try_new(format!("sqlx::postgres::notice=warn,{level}"))
        // Its text has its cause's in it.
        .map_err(|error| anyhow::anyhow!("{error}"))
}

/// Logs from now on what `level` says, as `UNREAD_LOG_LEVEL` does, until the process ends.
pub fn set_level(level: &str) -> anyhow::Result<()> {
    config::log_level(level).map_err(|fits| anyhow::anyhow!("must be {fits}"))?;
    let filter = filter(level)?;
    let log = LEVEL.get().context("this process keeps no log")?;
    log.reload(filter).context("changing the log level")?;
    warn!("The log level is now {level}");
    Ok(())
}

/// Listens for SIGINT, SIGTERM and SIGHUP (a terminal that was closed, a supervisor's "reload") from now on; the future ends at the first. A second one ends the process at once with exit code
/// 130: whoever asks twice does not want to wait for what is still in hand.
///
/// Must be called inside a tokio runtime.
pub fn shutdown_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut signals = Signals::listen()?;
    Ok(async move {
        let name = signals.next().await;
        info!("Stopping on {name}; a second one stops at once");
        tokio::spawn(async move {
            let name = signals.next().await;
            warn!("Stopping at once on a second {name}");
            std::process::exit(130);
        });
    })
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
