//! The client by which providers call the brand's webhooks.

use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(15);
const PARALLEL_IDLE: usize = 32;

pub fn client(user_agent: &str) -> reqwest::Result<reqwest::Client> {
    // Two servers in one process: the second finds a provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(PARALLEL_IDLE)
        .user_agent(user_agent)
        .no_proxy()
        .build()
}
