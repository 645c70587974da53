//! The origins whose pages may read an account's badge.

/// An origin as the settings write it. `https://*.example.com` stands for one label or more before `.example.com`, never for the bare
/// domain.
pub struct Origin {
    written: String,
    /// Where the star stands.
    star: Option<usize>,
}

impl Origin {
    pub fn new(written: String) -> Self {
        let star = written.find("*.");
        Self { written, star }
    }

    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it is a page's.
    pub fn is(&self, origin: &[u8]) -> bool {
        let own = self.written.as_bytes();
        let Some(star) = self.star else {
            return own == origin;
        };
        let (scheme, domain) = (&own[..star], &own[star + "*".len()..]);
        let host = origin.strip_prefix(scheme);
        let below = host.and_then(|host| host.strip_suffix(domain));
        let fits =
            |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let is_label = |label: &[u8]| !label.is_empty() && label.iter().all(fits);
        below.is_some_and(|below| below.split(|b| *b == b'.').all(is_label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_what_is_below_a_domain_and_for_nothing_else() {
        for (own, origin, allowed) in [
            ("https://*.example.com", "https://www.example.com", true),
            ("https://*.example.com", "https://a.b-c.example.com", true),
            (
                "https://*.example.com:8443",
                "https://www.example.com:8443",
                true,
            ),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://a..example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            (
                "https://*.example.com",
                "https://www.example.com.evil.example",
                false,
            ),
            (
                "https://*.example.com",
                "https://evil.example/.example.com",
                false,
            ),
            (
                "https://*.example.com",
                "https://evil.example:1.example.com",
                false,
            ),
            ("https://*.example.com", "https://a@b.example.com", false),
            ("https://*.example.com", "http://www.example.com", false),
            (
                "https://*.example.com",
                "https://www.example.com:8443",
                false,
            ),
            (
                "https://*.example.com:8443",
                "https://www.example.com",
                false,
            ),
            ("https://*.example.com", "null", false),
            ("https://*.example.com", "https://*.example.com", false),
            ("https://www.example.com", "https://www.example.com", true),
            (
                "https://www.example.com",
                "https://a.www.example.com",
                false,
            ),
        ] {
            let is = Origin::new(own.to_owned()).is(origin.as_bytes());
            assert_eq!(is, allowed, "{own} {origin}");
        }
    }
}
