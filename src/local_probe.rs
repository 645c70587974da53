//! What a command asks of the service that runs beside it, on the same machine with the same settings: by HTTP on the port of the
//! metrics, which every role has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::config::Config;

/// Who asks is a probe, or a person who waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// An error if the service is not ready, and why.
pub async fn is_ready(config: &Config) -> anyhow::Result<()> {
    let request = client()?.get(url(config, "readyz"));
    let answer = request.send().await.context(NOBODY)?;
    let status = answer.status();
    let told = answer.text().await.unwrap_or_default();
    ensure!(status.is_success(), "not ready: {}", told.trim());
    Ok(())
}

/// Changes what the service logs.
pub async fn set_log_level(config: &Config, level: &str) -> anyhow::Result<()> {
    let request = client()?.put(url(config, "log-level"));
    let answer = request.body(level.to_owned()).send().await;
    let answer = answer.context(NOBODY)?;
    let status = answer.status();
    let told = answer.text().await.unwrap_or_default();
    ensure!(status.is_success(), "the service refuses: {}", told.trim());
    Ok(())
}

const NOBODY: &str =
    "no service answers on this machine; check UNREAD_METRICS_PORT and UNREAD_METRICS_BIND";

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(PATIENCE).build()
}

fn url(config: &Config, path: &str) -> String {
    let web = &config.web;
    let ip = match web.metrics_bind {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}/{path}", SocketAddr::new(ip, web.metrics_port))
}
