//! By which names this service is called.
//!
//! A page of a stranger can have its own name lead to this machine (DNS rebinding), and then its requests are same-origin to a browser.
//! What gives it away is the name, which the browser puts into `Host`: requests by a name that is not ours are not answered. A name is
//! needed for that attack, so addresses are not looked at. Probes and metrics change nothing and are asked for by whatever name a prober has.

use std::future::ready;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use futures_util::future::Either;

use super::connections::{Door, ResponseFuture};
use super::error::problem;
use crate::config::{HostPattern, Web};

/// A year; nothing is said of names below ours, which are not ours to speak for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Lets those requests through that are meant for us.
#[derive(Clone)]
pub struct HostFilter<D> {
    door: D,
    hosts: Arc<AllowedHosts>,
}

impl<D> HostFilter<D> {
    pub fn new(door: D, web: &Web) -> Self {
        Self {
            door,
            hosts: Arc::new(AllowedHosts::new(web)),
        }
    }
}

impl<D: Door> Door for HostFilter<D> {
    fn answer(&self, peer: SocketAddr, request: Request) -> ResponseFuture {
        let answer = match self.hosts.check(&request) {
            Ok(()) => self.door.answer(peer, request),
            Err(wrong) => Either::Left(ready(Ok(wrong.answer()))),
        };
        if !self.hosts.https {
            return answer;
        }
        match answer {
            Either::Left(at_once) => Either::Left(ready(at_once.into_inner().map(with_hsts))),
            Either::Right(later) => Either::Right(Box::pin(async { later.await.map(with_hsts) })),
        }
    }
}

fn with_hsts(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    response
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It does not say exactly once whom it is for.
    Unclear,
    /// It is for somebody else.
    Foreign,
}

impl Wrong {
    fn answer(self) -> Response {
        match self {
            Self::Unclear => problem(
                StatusCode::BAD_REQUEST,
                "a request has exactly one header `Host`, a name or an address with or without a port, and the same host in its address if that has one",
            ),
            // Not the name itself, which anybody may have written.
            Self::Foreign => problem(
                StatusCode::MISDIRECTED_REQUEST,
                "this service does not use the host name in the request; if it should, add it to UNREAD_ALLOWED_HOSTS, or set \
                 UNREAD_PUBLIC_URL",
            ),
        }
    }
}

struct AllowedHosts {
    https: bool,
    public: String,
    /// Where the dashboard goes by another name.
    dashboard: String,
    /// The same with the port, if that is not the usual one.
    public_with_port: String,
    allowed: Vec<HostPattern>,
}

impl AllowedHosts {
    fn new(web: &Web) -> Self {
        let public = web.public_url.host_str().unwrap_or_default().to_owned();
        let port = web.public_url.port();
        Self {
            https: web.public_url.scheme() == "https",
            public_with_port: port.map_or(public.clone(), |port| format!("{public}:{port}")),
            public,
            dashboard: web.dashboard_url.host_str().unwrap_or_default().to_owned(),
            allowed: web.allowed_hosts.clone(),
        }
    }

    fn check(&self, request: &Request) -> Result<(), Wrong> {
        let mut named = request.headers().get_all(header::HOST).iter();
        let (named, authority) = ((named.next(), named.next()), request.uri().authority());
        // As nearly all requests have it.
        if let (Some(host), None) = named
            && authority.is_none()
            && (host == self.public.as_str() || host == self.public_with_port.as_str())
        {
            return Ok(());
        }
        let for_anybody = is_for_anybody(request);
        let host = match named {
            (Some(host), None) => host.to_str().map_err(|_| Wrong::Unclear)?,
            // Before HTTP/1.1 there was no such header, and some probers are that old.
            (None, None) if request.version() <= Version::HTTP_10 && for_anybody => return Ok(()),
            _ => return Err(Wrong::Unclear),
        };
        let name = name(host).ok_or(Wrong::Unclear)?;
        if let Some(authority) = authority
            && !authority.as_str().eq_ignore_ascii_case(host)
        {
            return Err(Wrong::Unclear);
        }
        if for_anybody || self.is_ours(name) {
            Ok(())
        } else {
            Err(Wrong::Foreign)
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        if name.eq_ignore_ascii_case(&self.public) {
            return true;
        }
        // In square brackets there is nothing but an address.
        if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
            return true;
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || name == self.public
            || name == self.dashboard
            || self.allowed.iter().any(|pattern| pattern.matches(&name))
    }
}

/// What says nothing but how the service is.
fn is_for_anybody(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics")
}

/// The name or address without the port. `None`: it is neither.
fn name(host: &str) -> Option<&str> {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        let port = port.strip_prefix(':').unwrap_or(port);
        return is_port(port).then(|| &host[..address.len() + 2]);
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (!name.is_empty() && name.bytes().all(fits) && is_port(port)).then_some(name)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn hosts() -> AllowedHosts {
        AllowedHosts {
            https: true,
            public: "unread.example.com".to_owned(),
            dashboard: "unread.internal.example.com".to_owned(),
            public_with_port: "unread.example.com:8443".to_owned(),
            allowed: ["unread-badge", "*.unread.svc"]
                .map(|host| host.parse().unwrap())
                .into(),
        }
    }

    fn request(method: &str, uri: &str, hosts: &[&str]) -> Request {
        let mut request = Request::builder().method(method).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn only_names_of_ours_and_addresses_are_answered() {
        let (ours, foreign, unclear) = (Ok(()), Err(Wrong::Foreign), Err(Wrong::Unclear));
        for (host, verdict) in [
            ("unread.example.com", ours),
            ("UNREAD.example.com:443", ours),
            ("unread.example.com:8443", ours),
            ("unread.example.com:84430", ours), // which port, nobody asks
            ("unread.example.com.", ours),
            ("localhost:3000", ours),
            ("LocalHost", ours),
            ("shop.localhost:3000", ours),
            ("127.0.0.1", ours),
            ("127.8.9.1:3000", ours),
            ("10.1.2.3:3000", ours),
            ("[::1]:3000", ours),
            ("[2001:db8::1]", ours),
            ("unread-badge", ours),
            ("a.unread.svc:80", ours),
            ("unread.svc", foreign),
            ("rebind.evil", foreign),
            ("rebind.evil:3000", foreign),
            ("evil-unread.example.com", foreign),
            ("unread.example.com.rebind.evil", foreign),
            ("localhost.rebind.evil", foreign),
            ("127.0.0.1.rebind.evil", foreign),
            ("evillocalhost", foreign),
            ("127.1", foreign),
            ("", unclear),
            (":3000", unclear),
            ("unread.example.com:x", unclear),
            ("unread.example.com:80:80", unclear),
            ("user@unread.example.com", unclear),
            ("unread.example.com/x", unclear),
            ("unread.example.com,rebind.evil", unclear),
            ("unread.example.com rebind.evil", unclear),
            ("[::1", unclear),
            ("[localhost]", unclear),
            ("[::1]x", unclear),
            ("::1", unclear),
        ] {
            for (method, path) in [("GET", "/"), ("POST", "/login"), ("PUT", "/log-level")] {
                let request = request(method, path, &[host]);
                assert_eq!(hosts().check(&request), verdict, "{method} {path} {host}");
            }
        }
    }

    #[test]
    fn probes_and_metrics_are_for_anybody_and_nothing_else_is() {
        for path in ["/healthz", "/readyz", "/metrics"] {
            for method in ["GET", "HEAD"] {
                let asked = request(method, path, &["10-0-0-7.pods.cluster"]);
                assert_eq!(hosts().check(&asked), Ok(()), "{method} {path}");
            }
            for method in ["POST", "PUT", "DELETE"] {
                let asked = request(method, path, &["rebind.evil"]);
                assert_eq!(
                    hosts().check(&asked),
                    Err(Wrong::Foreign),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn a_request_says_exactly_once_whom_it_is_for() {
        let unclear = Err(Wrong::Unclear);
        for (uri, named, verdict) in [
            ("/", &[][..], unclear),
            ("/healthz", &[], unclear),
            ("/", &["localhost", "localhost"], unclear),
            ("/healthz", &["localhost", "rebind.evil"], unclear),
            ("http://localhost/", &["localhost"], Ok(())),
            ("http://LOCALHOST:80/", &["localhost:80"], Ok(())),
            ("http://localhost/", &["rebind.evil"], unclear),
            ("http://rebind.evil/", &["localhost"], unclear),
            ("http://rebind.evil/", &["rebind.evil"], Err(Wrong::Foreign)),
            ("http://user@localhost/", &["localhost"], unclear),
        ] {
            let asked = request("GET", uri, named);
            assert_eq!(hosts().check(&asked), verdict, "{uri} {named:?}");
        }
        for (path, verdict) in [("/healthz", Ok(())), ("/", unclear)] {
            let mut old = request("GET", path, &[]);
            *old.version_mut() = Version::HTTP_10;
            assert_eq!(hosts().check(&old), verdict, "{path}");
        }
        let mut garbage = request("GET", "/", &[]);
        let value = HeaderValue::from_bytes(b"unread.example.com\xff").unwrap();
        garbage.headers_mut().insert(header::HOST, value);
        assert_eq!(hosts().check(&garbage), unclear);
    }
}
