//! The log, and the signals that ask this process to stop.
//!
//! The log goes to standard error, so that standard output stays free for what a command was asked to print.

use std::io::{self, IsTerminal};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts the log. To be called once, before anything is logged.
pub fn start_log(log: &Log) -> anyhow::Result<()> {
    // Migrations that find their work done are no news.
    let directives = format!("sqlx::postgres::notice=warn,{}", log.level);
    let filter = EnvFilter::try_new(directives).context("reading the log level")?;
    let is_terminal = io::stderr().is_terminal();
    let format = log.format.unwrap_or(if is_terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(is_terminal).try_init(),
        // Fields beside the message, not below it: log collectors look for them there.
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}

/// Listens for SIGINT and SIGTERM from now on; the future ends at the first. A second one ends the process at once with exit code
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
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
