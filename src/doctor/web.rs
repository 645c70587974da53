//! The public address: does it lead here from the outside?

use url::Url;

use super::{Doctor, PATIENCE};
use crate::channel;
use crate::config::Config;
use crate::domain::ids::{Channel, Provider};

impl Doctor<'_> {
    pub(super) async fn web(&mut self, config: &Config) {
        self.begin("public URL");
        let public = &config.web.public_url;
        let channels = config.channels_anywhere();
        let sends = !channels.is_empty();
        let reporting: Vec<Provider> = channels
            .into_iter()
            .map(Channel::provider)
            .filter(|provider| channel::profile(*provider).reports)
            .collect();
        // `config` has warned already of an address that only this machine knows, and of a plain one.
        if sends && public.host_str().is_some_and(is_nobody) {
            self.failed(
                "host",
                format!("{public} is an example's address"),
                "Set UNREAD_PUBLIC_URL to this service's own address.",
            );
        } else {
            self.ok("address", public.as_str());
        }
        if let Some(provider) = reporting.first()
            && public.scheme() == "https"
            && public.port().is_some()
        {
            let name = channel::profile(*provider).name;
            self.warning(
                "port",
                format!("{public} has a port of its own"),
                format!(
                    "{name} reaches it only if it is open to the world; port 443 is the usual one."
                ),
            );
        }
        let local = Url::parse(&format!("http://127.0.0.1:{}/healthz", config.web.port));
        let outside = public.join("healthz");
        let (Ok(local), Ok(outside)) = (local, outside) else {
            return;
        };
        match (healthz(&outside).await, healthz(&local).await) {
            (Probe::Ours, _) => {
                self.ok("reachable", format!("{outside} answers"));
                for provider in reporting {
                    self.webhooks(public, provider).await;
                }
            }
            (Probe::Other(status), _) => self.failed(
                "reachable",
                format!("{outside} is answered with {status}, not by this service"),
                "Let the proxy or ingress lead the public address to the web role's PORT.",
            ),
            (Probe::Nothing(why), Probe::Ours) => self.failed(
                "reachable",
                format!("the web role answers on this machine, but {outside} does not: {why}"),
                "Check the name's DNS record, the certificate and the proxy or ingress before the service.",
            ),
            (Probe::Nothing(why), _) => self.unchecked(
                "reachable",
                format!("{outside}: {why}"),
                "Start the service (`unread run` or `unread web`), then run `unread doctor` again.",
            ),
        }
    }

    /// Whether what a provider posts gets through. It is not posted: a look at the address is told that only POST is welcome.
    async fn webhooks(&mut self, public: &Url, provider: Provider) {
        let Ok(address) = public.join(&format!("{provider}/status")) else {
            return;
        };
        match get(&address).await {
            Ok((405, _)) => self.ok("webhooks", format!("{address} takes them")),
            Ok((status, _)) => self.failed(
                "webhooks",
                format!("{address} is answered with {status}, not by this service"),
                format!("Let the proxy or ingress lead /{provider}/ to the web role's PORT too."),
            ),
            Err(why) => self.unchecked(
                "webhooks",
                format!("{address}: {why}"),
                "Run `unread doctor` again.",
            ),
        }
    }
}

/// Names that are reserved for documentation (RFC 2606): left over from an example file.
fn is_nobody(host: &str) -> bool {
    ["example.com", "example.org", "example.net"]
        .iter()
        .any(|name| {
            host == *name
                || host
                    .strip_suffix(name)
                    .is_some_and(|rest| rest.ends_with('.'))
        })
}

enum Probe {
    /// Answered as `/healthz` of this service does.
    Ours,
    Other(u16),
    Nothing(&'static str),
}

async fn healthz(url: &Url) -> Probe {
    match get(url).await {
        Ok((200, start)) if start == b"ok\n" => Probe::Ours,
        Ok((status, _)) => Probe::Other(status),
        Err(why) => Probe::Nothing(why),
    }
}

/// The status and the first piece of the body: of a page that is not ours no more is read.
async fn get(url: &Url) -> Result<(u16, Vec<u8>), &'static str> {
    let client = reqwest::Client::builder()
        .connect_timeout(PATIENCE / 2)
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else {
        return Err("no HTTP client");
    };
    match client.get(url.clone()).send().await {
        Ok(mut answer) => {
            let start = answer.chunk().await.ok().flatten().unwrap_or_default();
            Ok((answer.status().as_u16(), start.to_vec()))
        }
        Err(error) if error.is_timeout() => Err("no answer in time"),
        Err(error) if error.is_connect() => Err("no connection"),
        Err(_) => Err("the answer broke off"),
    }
}
