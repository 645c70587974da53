//! Who asks: client addresses behind trusted proxies.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};

use super::AppState;
use crate::config::Network;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl FromRequestParts<AppState> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers, peer(&parts.extensions), state))
    }
}

/// The other end of a request's connection.
pub fn peer(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |peer| peer.0.ip())
}

impl ClientAddress {
    /// Who sent a request, for limits.
    pub fn of(headers: &HeaderMap, peer: IpAddr, state: &AppState) -> Self {
        let trusted = &state.config.web.trusted_proxies;
        Self(network_of(address(peer, headers, trusted)))
    }
}

/// The address of the client: the last that a trusted proxy vouches for. What stands before it anybody may have written.
fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.rsplit(','));
    // RFC 9110 allows lists to have empty elements.
    for hop in hops.map(str::trim).filter(|hop| !hop.is_empty()) {
        let Some(ip) = parse(hop) else { break };
        client = ip.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address as proxies write it: alone or with a port, IPv6 in brackets or not, with a zone (RFC 9844) or not, in quotation marks
/// as in `Forwarded`. `unknown` and made-up names (`_hidden`, RFC 7239) are none.
fn parse(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches('"');
    let (address, port) = match hop.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':')?)
            };
            return v6(address).filter(|_| port.is_none_or(is_port));
        }
        // One colon is before a port; more are IPv6's own.
        None => match hop.split_once(':') {
            Some((address, port)) if !port.contains(':') => (address, Some(port)),
            _ => (hop, None),
        },
    };
    let v4 = address
        .parse()
        .ok()
        .map(IpAddr::V4)
        .filter(|_| port.is_none_or(is_port));
    v4.or_else(|| v6(hop))
}

fn v6(address: &str) -> Option<IpAddr> {
    let bare = match address.split_once('%') {
        Some((_, "")) => return None,
        Some((bare, _)) => bare,
        None => address,
    };
    bare.parse().ok().map(IpAddr::V6)
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// One customer has a whole IPv6 /64.
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_their_own_word() {
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            seen("10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.7"]),
            "198.51.100.1"
        );
        assert_eq!(
            seen("10.0.0.1", &["6.6.6.6", "198.51.100.1:4711, fd00::1"]),
            "198.51.100.1"
        );
        assert_eq!(
            seen("10.0.0.1", &["198.51.100.1, , 10.0.0.7,"]),
            "198.51.100.1"
        );
        assert_eq!(
            seen("10.0.0.1", &["6.6.6.6, [2001:db8::7]:4711, [fd00::1]"]),
            "2001:db8::7"
        );
        assert_eq!(
            seen("10.0.0.1", &["6.6.6.6, unknown"]),
            "10.0.0.1",
            "nobody vouches for what is before it"
        );
        assert_eq!(seen("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn an_address_is_understood_however_a_proxy_writes_it() {
        for (hop, address) in [
            ("198.51.100.1", Some("198.51.100.1")),
            ("198.51.100.1:443", Some("198.51.100.1")), // Azure's gateway
            ("\"198.51.100.1:443\"", Some("198.51.100.1")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("[2001:db8::7]", Some("2001:db8::7")), // RFC 7239's form, which some proxies keep without a port
            ("[2001:db8::7]:443", Some("2001:db8::7")),
            ("\"[2001:db8::7]:443\"", Some("2001:db8::7")),
            ("fe80::1%eth0", Some("fe80::1")), // a zone is the proxy's own
            ("[fe80::1%eth0]:443", Some("fe80::1")),
            ("[fe80::1%251]", Some("fe80::1")),
            ("::ffff:198.51.100.1", Some("::ffff:198.51.100.1")),
            ("[::ffff:198.51.100.1]:80", Some("::ffff:198.51.100.1")),
            ("::1", Some("::1")),
            ("unknown", None), // RFC 7239, 6.2
            ("_hidden", None), // RFC 7239, 6.3
            ("198.51.100.1:", None),
            ("198.51.100.1:70000", None),
            ("198.51.100.1:+1", None),
            ("198.51.100.001", None), // octal or decimal?
            ("[198.51.100.1]", None),
            ("[2001:db8::7", None),
            ("[2001:db8::7]443", None),
            ("[2001:db8::7]:", None),
            ("[]", None),
            ("fe80::1%", None),
            ("example.com", None),
            ("", None),
        ] {
            let expected = address.map(|address| address.parse().unwrap());
            assert_eq!(parse(hop), expected, "{hop}");
        }
    }

    proptest::proptest! {
        #[test]
        fn fuzz_forwarded(lines in proptest::collection::vec("(([0-9a-f:.\\[\\]]{0,40}|\\PC{0,10}|10\\.0\\.0\\.[0-9]),? ?){0,8}", 0..4)) {
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            let mut headers = HeaderMap::new();
            for line in lines.iter().filter_map(|line| HeaderValue::from_bytes(line.as_bytes()).ok()) {
                headers.append("x-forwarded-for", line);
            }
            let stranger: IpAddr = "203.0.113.9".parse().unwrap();
            proptest::prop_assert_eq!(address(stranger, &headers, &trusted), stranger);
            let _ = address("10.0.0.1".parse().unwrap(), &headers, &trusted);
        }
    }

    #[test]
    fn a_neighbourhood_of_ipv6_addresses_counts_as_one() {
        let network = |ip: &str| network_of(ip.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
