//! A host name by which this service is called, as in `unread.example.com` or `*.example.com`.

use std::fmt;
use std::str::FromStr;

use url::Host;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// In small letters, without a port.
    name: String,
    /// Names below it, not the name itself.
    below: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host name, for example unread.example.com, or *.example.com for all names below that domain"
)]
pub struct InvalidHost;

impl HostPattern {
    /// `host` in small letters, without port and final dot.
    pub fn matches(&self, host: &str) -> bool {
        if !self.below {
            return host == self.name;
        }
        let label = host
            .strip_suffix(&self.name)
            .and_then(|rest| rest.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty())
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let (below, name) = match raw.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, raw),
        };
        let name = match name.rsplit_once(':') {
            Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => name,
            _ => name,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        // Addresses are always taken, and a lone `*` would allow what this is against.
        match Host::parse(name) {
            Ok(Host::Domain(domain)) if name.chars().all(fits) => Ok(Self {
                name: domain,
                below,
            }),
            _ => Err(InvalidHost),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.below { "*." } else { "" };
        write!(f, "{below}{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_all_names_below_one() {
        for (pattern, host, matches) in [
            ("unread-badge", "unread-badge", true),
            ("unread-badge", "badge", false),
            ("Unread.Example.com:8443", "unread.example.com", true),
            ("unread.example.com.", "unread.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("müller.example", "xn--mller-kva.example", true),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(host), matches, "{pattern} {host}");
        }
    }

    #[test]
    fn what_is_not_a_host_name_is_refused() {
        for raw in [
            "",
            "*",
            "*.",
            "*example.com",
            "a.*.com",
            "https://example.com",
            "example.com/",
            "10.0.0.1",
            "[::1]",
            "a b",
            "user@host",
        ] {
            assert_eq!(raw.parse::<HostPattern>(), Err(InvalidHost), "{raw}");
        }
    }
}
