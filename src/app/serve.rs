//! Where this process listens, and what its connections may cost.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::{self, Config};
use crate::jobs::queue::WorkerProcess;
use crate::metrics::Metrics;
use crate::web::connections::{self, ConnectionLimits, Plain};
use crate::web::{self, HostFilter};

pub(super) async fn bind(web: &config::Web) -> anyhow::Result<TcpListener> {
    listen(web.bind, web.port, "PORT").await
}

async fn listen(ip: IpAddr, port: u16, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind((ip, port))
        .await
        .with_context(|| format!("cannot listen on {ip} port {port}; another program may use it: set {key} to a free port"))
}

pub(super) async fn bind_metrics(web: &config::Web) -> anyhow::Result<TcpListener> {
    listen(web.metrics_bind, web.metrics_port, "UNREAD_METRICS_PORT").await
}

pub(super) fn serve_web(
    listener: TcpListener,
    state: &web::AppState,
    config: &Config,
    files: usize,
    shutdown: CancellationToken,
) -> impl Future<Output = &'static str> + Send + use<> {
    let door = HostFilter::new(web::FastPath::new(state.clone()), &config.web);
    let (limits, metrics) = (limits(config, files), state.metrics.connections("web"));
    async move {
        connections::serve(listener, door, limits, metrics, shutdown).await;
        "web"
    }
}

pub(super) fn serve_metrics(
    listener: TcpListener,
    starting: web::Starting,
    metrics: &Metrics,
    config: &Config,
    shutdown: CancellationToken,
) -> impl Future<Output = &'static str> + Send + use<> {
    let door = HostFilter::new(Plain(web::metrics_router(starting)), &config.web);
    let (limits, metrics) = (
        ConnectionLimits::of_metrics(),
        metrics.connections("metrics"),
    );
    async move {
        connections::serve(listener, door, limits, metrics, shutdown).await;
        "metrics"
    }
}

/// What the web's connections may cost, given the files that this process may open.
fn limits(config: &Config, files: usize) -> ConnectionLimits {
    let wanted = config.web.connections;
    let total = connections::that_fit(wanted, files, config.database_connections);
    if total < wanted {
        warn!(
            "This process may open {files} files, which is room for {total} connections and not for {wanted}. Raise the hard limit \
             (ulimit -Hn, LimitNOFILE), or lower UNREAD_CONNECTIONS"
        );
    }
    let (per_address, proxies) = (
        config.web.connections_per_address,
        config.web.trusted_proxies.clone(),
    );
    ConnectionLimits::new(total, per_address, proxies)
}

/// Asks the queue's host, if it is still there, whether work can be done.
pub(super) fn health_of(host: &Arc<WorkerProcess>) -> web::HealthProbe {
    let host = Arc::downgrade(host);
    Arc::new(move || host.upgrade().is_some_and(|host| host.healthy()))
}
