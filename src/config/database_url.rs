//! `DATABASE_URL`: a server, or several of which one takes changes, as PostgreSQL's own programs write them
//! (`postgres://one:5432,two:5433/name`, or `?host=one,two&port=5432,5433`). The driver knows one server at a time.

use std::borrow::Cow;

use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::secret::Secret;

pub const EXPECTED: &str = "an address like postgres://user:password@host/name, or with several hosts postgres://user:password@one,two/name, as \
                            PostgreSQL's own programs take it";
const WRITES: &str = "read-write: the service works on the server that takes changes. Leave target_session_attrs out";
const PORTS: &str = "one port for each host, or one for all";

/// More servers of one database are a mistake.
const MOST: usize = 16;

/// An address for each server, in the order in which they are tried; one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrl(Vec<Secret>);

impl DatabaseUrl {
    pub fn parse(raw: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = raw.split_once("://").ok_or(EXPECTED)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (user, hosts) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        let mut all = Vec::new();
        for host in hosts.split(',').take(MOST + 1) {
            all.extend(of_one_host(&format!("{scheme}://{user}{host}{tail}"))?);
        }
        if all.len() > MOST {
            return Err("16 hosts at most");
        }
        Ok(Self(all))
    }

    /// The addresses, each of one server.
    pub fn servers(&self) -> &[Secret] {
        &self.0
    }
}

/// An address whose part before the path names one host; its parameters may name several.
fn of_one_host(raw: &str) -> Result<Vec<Secret>, &'static str> {
    let url = Url::parse(raw).map_err(|_| EXPECTED)?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(EXPECTED);
    }
    let all: Vec<(Cow<'_, str>, Cow<'_, str>)> = url.query_pairs().collect();
    let of = |name: &str| {
        all.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    };
    if !matches!(
        of("target_session_attrs"),
        None | Some("any" | "read-write" | "primary")
    ) {
        return Err(WRITES);
    }
    let hosts: Vec<&str> = of("host").map_or_else(Vec::new, |hosts| hosts.split(',').collect());
    let ports: Vec<&str> = of("port").map_or_else(Vec::new, |ports| ports.split(',').collect());
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(PORTS);
    }
    let kept = all
        .iter()
        .filter(|(key, _)| !matches!(&**key, "host" | "port" | "target_session_attrs"));
    let with = |host: Option<&str>, port: Option<&str>| {
        let mut one = url.clone();
        one.set_query(None);
        let named = [("host", host), ("port", port)];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let pairs: Vec<(&str, &str)> = kept
            .clone()
            .map(|(key, value)| (&**key, &**value))
            .chain(named)
            .collect();
        if !pairs.is_empty() {
            one.query_pairs_mut().extend_pairs(pairs);
        }
        let fits = one.as_str().parse::<PgConnectOptions>().is_ok();
        fits.then(|| Secret::new(one.as_str())).ok_or(EXPECTED)
    };
    if hosts.is_empty() {
        return Ok(vec![with(None, ports.first().copied())?]);
    }
    let port = |at: usize| ports.get(at).or(ports.first()).copied();
    hosts
        .iter()
        .enumerate()
        .map(|(at, host)| with(Some(host), port(at)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(raw: &str) -> Result<Vec<String>, &'static str> {
        let url = DatabaseUrl::parse(raw)?;
        let place = |secret: &Secret| {
            let options: PgConnectOptions = secret.expose().parse().unwrap();
            let place = match options.get_socket() {
                Some(folder) => folder.display().to_string(),
                None => options.get_host().to_owned(),
            };
            let name = options.get_database().unwrap_or("-");
            format!(
                "{}@{place}:{}/{name}",
                options.get_username(),
                options.get_port()
            )
        };
        Ok(url.servers().iter().map(place).collect())
    }

    #[test]
    fn every_host_is_an_address_of_its_own_with_all_that_is_said_of_all() {
        let cases: [(&str, &[&str]); 9] = [
            ("postgres://u:p@one/name", &["u@one:5432/name"]),
            ("postgresql://u:p%40@one:5433/name", &["u@one:5433/name"]),
            (
                "postgres://u:p@one,two:5433,[::1]:5434/name",
                &["u@one:5432/name", "u@two:5433/name", "u@[::1]:5434/name"],
            ),
            (
                "postgres://u:p@one,two/name?target_session_attrs=read-write&sslmode=disable",
                &["u@one:5432/name", "u@two:5432/name"],
            ),
            (
                "postgres://u:a@b@one,two/name",
                &["u@one:5432/name", "u@two:5432/name"],
            ),
            (
                "postgres:///name?host=one,two&port=5433,5434&user=u",
                &["u@one:5433/name", "u@two:5434/name"],
            ),
            (
                "postgres:///name?host=one,two&port=5433&user=u",
                &["u@one:5433/name", "u@two:5433/name"],
            ),
            (
                "postgres:///name?host=/a,/b&user=u",
                &["u@/a:5432/name", "u@/b:5432/name"],
            ),
            (
                "postgres:///name?host=%2Fa&user=u&target_session_attrs=any",
                &["u@/a:5432/name"],
            ),
        ];
        for (raw, expected) in cases {
            assert_eq!(servers(raw).unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn what_is_no_address_or_asks_for_a_server_that_only_reads_is_refused() {
        let many = format!("postgres://{}/name", vec!["h"; 17].join(","));
        let cases = [
            ("hunter2", EXPECTED),
            ("mysql://one,two/name", EXPECTED),
            ("postgres://one:x,two/name", EXPECTED),
            (
                "postgres://one,two/name?target_session_attrs=standby",
                WRITES,
            ),
            ("postgres:///name?host=a,b&port=1,2,3", PORTS),
            (many.as_str(), "16 hosts at most"),
        ];
        for (raw, why) in cases {
            assert_eq!(servers(raw), Err(why), "{raw}");
        }
    }
}
