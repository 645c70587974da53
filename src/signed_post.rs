//! Posts that are signed as Standard Webhooks says (<https://www.standardwebhooks.com>), so that a receiver checks them with a library that is
//! there already.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use sha2::Sha256;
use url::Url;

use crate::secret::Secret;
use crate::trace;

/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a receiver may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Anywhere, also within the network of this machine.
    Anywhere,
    /// At a public address, whatever its name leads to.
    Public,
}

/// A receiver. `Debug` shows no secret, and no more of the address than its host.
#[derive(Clone)]
pub struct Receiver {
    /// The setting that names it.
    setting: &'static str,
    http: reqwest::Client,
    url: Url,
    key: Vec<u8>,
    whereabouts: Whereabouts,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Receiver")
            .field(&self.url.host_str())
            .finish()
    }
}

impl Receiver {
    pub fn new(
        setting: &'static str,
        url: Url,
        secret: &Secret,
        whereabouts: Whereabouts,
    ) -> anyhow::Result<Self> {
        // reqwest is built without a provider of its own and panics if none is set. An error only says that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        if whereabouts == Whereabouts::Public {
            // A proxy would look the name up itself.
            http = http.no_proxy().dns_resolver(Arc::new(PublicOnly));
        }
        let key = secret.signing_key();
        Ok(Self {
            setting,
            http: http.build().context("setting up a receiver of posts")?,
            url,
            key: key.context("a secret is not `whsec_` and 24 to 64 bytes in base64")?,
            whereabouts,
        })
    }

    /// Posts a body under an id; it has arrived when the receiver answers with 2xx.
    pub async fn post(&self, id: &str, body: Vec<u8>, now: DateTime<Utc>) -> anyhow::Result<()> {
        let setting = self.setting;
        // A name goes through the resolver; an address does not.
        if self.whereabouts == Whereabouts::Public {
            let address = match self.url.host() {
                Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
                Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
                Some(url::Host::Domain(_)) | None => None,
            };
            ensure!(
                address.is_none_or(is_public),
                "the receiver ({setting}) is not at a public address"
            );
        }
        let timestamp = now.timestamp();
        let signature = sign(&self.key, id, timestamp, &body);
        let answer = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .headers(trace::headers())
            .body(body)
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("the receiver ({setting}) does not answer"))?;
        let status = answer.status();
        ensure!(
            status.is_success(),
            "the receiver ({setting}) answers {status}"
        );
        Ok(())
    }
}

fn sign(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signature = Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes keys of any length")
        .chain_update(format!("{id}.{timestamp}."))
        .chain_update(body)
        .finalize();
    format!("v1,{}", STANDARD.encode(signature.into_bytes()))
}

/// Looks names up and passes over what is not public: asked at each connection, so that a name cannot lead elsewhere once it was checked.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err("its name leads to no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Carrier-grade NAT, protocol assignments, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Global unicast, without documentation, 6to4 and Teredo, within which any IPv4 address can hide.
    let is_global = first & 0xe000 == 0x2000;
    let is_special = first == 0x2002
        || (first == 0x2001 && (second == 0xdb8 || second < 0x200))
        || first & 0xfff0 == 0x3ff0;
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::1",
            "3fff::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[tokio::test]
    async fn a_receiver_within_the_network_is_not_posted_to() {
        let secret = Secret::new(format!("whsec_{}", STANDARD.encode([7; 32])));
        for url in [
            "http://127.0.0.1:9/",
            "http://[::1]:9/",
            "http://169.254.169.254/latest",
            "http://localhost:9/",
        ] {
            let receiver =
                Receiver::new("TEST", url.parse().unwrap(), &secret, Whereabouts::Public).unwrap();
            let error = receiver
                .post("msg_1", vec![], DateTime::UNIX_EPOCH)
                .await
                .unwrap_err();
            let said = format!("{error:#}");
            assert!(said.contains("public address"), "{url}: {said}");
            assert!(!said.contains("latest"), "{said}");
        }
    }

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // The example of the specification.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = sign(
            &secret.signing_key().unwrap(),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
