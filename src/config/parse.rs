//! Values of settings. Each parser's error is what it expects, as the object of "Write …".

use std::convert::Infallible;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::{Host, Url};

use crate::domain::contact::{self, Address};
use crate::domain::ids::{AccountId, SkillId};
use crate::secret::Secret;

pub fn text(raw: &str) -> Result<String, String> {
    if raw.chars().any(char::is_control) {
        return Err("one line of text without control characters".to_owned());
    }
    Ok(raw.to_owned())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "has the shape of the other parsers"
)]
pub fn secret(raw: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(raw))
}

/// What signs webhooks; it may be one that a receiver has made.
pub fn signing_secret(raw: &str) -> Result<Secret, &'static str> {
    let secret = Secret::new(raw);
    let usable = secret.signing_key().is_some();
    usable.then_some(secret).ok_or(
        "`whsec_` and 24 to 64 bytes in base64, for example the output of `echo whsec_$(openssl rand -base64 32)`",
    )
}

pub fn flag(raw: &str) -> Result<bool, &'static str> {
    match raw.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("true or false"),
    }
}

pub fn dns_server(raw: &str) -> Result<SocketAddr, &'static str> {
    let with_port = raw.parse::<SocketAddr>();
    let alone = raw.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    with_port
        .or(alone)
        .map_err(|_| "an IP address, for example 192.0.2.53, with or without a port")
}

pub fn number<T: FromStr + PartialOrd + Display>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> {
    move |raw| {
        let number = raw.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("a number from {} to {}", range.start(), range.end()))
    }
}

pub fn port(raw: &str) -> Result<u16, &'static str> {
    raw.parse().map_err(|_| "a port number from 0 to 65535")
}

/// Calls per second: as few as one in a quarter of an hour, as many as any provider allows.
const LOG_LEVELS: &str = "error, warn, info, debug or trace, also by part: info,unread::jobs=debug";

/// A word alone is a level: `EnvFilter` would take a mistyped one for the name of a part, and log nothing else.
pub fn log_level(raw: &str) -> Result<(), &'static str> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let mut alone = raw.split(',').filter(|part| !part.contains(['=', '[']));
    let fits = alone.all(|word| is_level(word.trim())) && EnvFilter::try_new(raw).is_ok();
    if fits { Ok(()) } else { Err(LOG_LEVELS) }
}

pub fn rate(raw: &str) -> Result<f64, &'static str> {
    let rate = raw
        .parse()
        .ok()
        .filter(|rate| (0.001..=100_000.0).contains(rate));
    rate.ok_or("a number per second, for example 5 or 0.5")
}

pub fn skill(raw: &str) -> Result<SkillId, &'static str> {
    raw.parse()
        .map(SkillId)
        .map_err(|_| "a skill id, for example 1234567 or -1")
}

/// ISO 3166 alpha-2, upper case.
pub fn region(raw: &str) -> Result<String, &'static str> {
    let region = raw.to_ascii_uppercase();
    if contact::is_region(&region) {
        Ok(region)
    } else {
        Err("a country of two letters (ISO 3166), for example DE")
    }
}

/// LivePerson's site ids are digits, those of test accounts letters and digits.
pub fn account(raw: &str) -> Result<AccountId, &'static str> {
    const EXPECTED: &str = "the account's id (site id): 4 to 20 letters and digits without accents or spaces, for example 12345678";
    let fits = (4..=20).contains(&raw.len()) && raw.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| raw.parse().ok()).flatten().ok_or(EXPECTED)
}

/// A mailbox of our own. A domain with other letters than ASCII is written as mail servers know it (`xn--…`); a local part
/// with them would need SMTPUTF8 (RFC 6531) of every server on the way.
pub fn email(raw: &str) -> Result<String, &'static str> {
    if let Some(Address::Email(address)) = Address::email(raw) {
        return Ok(address);
    }
    let local = raw.rsplit_once('@').map_or(raw, |(local, _)| local);
    if local.is_ascii() {
        Err("an e-mail address and nothing else, for example support@example.com")
    } else {
        Err(
            "an e-mail address with plain letters before the @, for example support@example.com; many mail servers refuse others",
        )
    }
}

/// This service's own address. Its pages, links and cookies begin at the root of a host.
pub fn public_url(raw: &str) -> Result<Url, &'static str> {
    let url = base_url(raw)?;
    if url.path() == "/" {
        Ok(url)
    } else {
        Err(
            "an address without a path, for example https://unread.example.com: this service needs a host name of its own",
        )
    }
}

/// The address of a page, which may open the conversation by fragment: `https://www.example.com/#chat`.
pub fn page_with_fragment(raw: &str) -> Result<Url, &'static str> {
    let url = Url::parse(raw).ok().filter(is_of_web);
    url.ok_or("the address of a page, for example https://www.example.com/help")
}

/// By http or https to a host that has one name.
fn is_of_web(url: &Url) -> bool {
    let named = url.host_str().is_some_and(|host| !host.contains('*'));
    matches!(url.scheme(), "http" | "https")
        && named
        && url.username().is_empty()
        && url.password().is_none()
}

/// A web address. The path ends in `/` so that `Url::join` keeps it.
pub fn base_url(raw: &str) -> Result<Url, &'static str> {
    let mut url = page_url(raw).ok().filter(|url| url.query().is_none()).ok_or(
        "an address that begins with https:// and has no ? or #, for example https://unread.example.com",
    )?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// The address of an API: `https`, or `http` to this machine. A token sent over plain http is a token given away.
pub fn api_url(raw: &str) -> Result<Url, &'static str> {
    base_url(raw).ok().filter(|url| url.scheme() == "https" || is_loopback(url)).ok_or(
        "an address that begins with https://; http:// is allowed to this machine only (localhost, 127.0.0.1, [::1])",
    )
}

/// Where something is posted to, exactly as it is written: as [`api_url`], but a path without a `/` at its end stays so, and a query may
/// follow.
pub fn webhook_url(raw: &str) -> Result<Url, &'static str> {
    page_url(raw).ok().filter(|url| url.scheme() == "https" || is_loopback(url)).ok_or(
        "an address that begins with https://; http:// is allowed to this machine only (localhost, 127.0.0.1, [::1])",
    )
}

pub fn page_url(raw: &str) -> Result<Url, &'static str> {
    let url = Url::parse(raw)
        .ok()
        .filter(|url| is_of_web(url) && url.fragment().is_none());
    url.ok_or("an address that begins with https://, for example https://www.example.com/help")
}

/// Scheme, host and port as a browser writes them in `Origin`; or `https://*.example.com` for all names below a domain.
pub fn origin(raw: &str) -> Result<String, &'static str> {
    let plain = |raw: &str| {
        let url = base_url(raw).ok().filter(|url| url.path() == "/");
        url.map(|url| url.origin().ascii_serialization())
    };
    let of_domain = || {
        let (scheme, domain) = raw.split_once("://*.")?;
        let url = base_url(&format!("{scheme}://{domain}")).ok()?;
        // Not everything below `com`, and no address.
        let has_owner = matches!(url.host(), Some(Host::Domain(name)) if name.trim_end_matches('.').contains('.'));
        let bare = plain(url.as_str()).filter(|_| has_owner)?;
        let (scheme, domain) = bare.split_once("://")?;
        Some(format!("{scheme}://*.{domain}"))
    };
    plain(raw).or_else(of_domain).ok_or(
        "an origin without a path, for example https://www.example.com, or https://*.example.com for all names below a domain",
    )
}

pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_loopback_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether a host name or address is this machine.
pub fn is_loopback_name(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Printable ASCII without spaces, not longer than `max`: fit for a URL's path or a query.
pub fn token(max: usize, expected: &'static str) -> impl Fn(&str) -> Result<String, &'static str> {
    move |raw| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let fits = (1..=max).contains(&raw.len()) && raw.bytes().all(fits);
        if fits {
            Ok(raw.to_owned())
        } else {
            Err(expected)
        }
    }
}

#[cfg(test)]
mod tests;
