//! What is left behind by those who are let in and, above all, by those who are not: a count by outcome, and a line in the log.
//!
//! The line has the client's address, and a name only if somebody here is called so: what a stranger types may be a password. There is
//! an end to the lines, so that nobody fills a disk with them; the counts go on.

use std::net::IpAddr;
use std::time::Instant;

use crate::metrics::{AccessOutcome, Metrics};
use crate::web::limiter::Limiter;

/// How much is said in the log, by address and in all.
pub struct Refusals {
    of_address: Limiter<IpAddr>,
    of_all: Limiter<()>,
}

impl Refusals {
    pub fn new(remembered: usize) -> Self {
        Self {
            of_address: Limiter::new(0.1, 20.0, remembered),
            of_all: Limiter::new(5.0, 200.0, 1),
        }
    }

    /// Somebody was not let in. `name`: of a person or a token that exists.
    pub fn note(
        &self,
        metrics: &Metrics,
        outcome: AccessOutcome,
        from: IpAddr,
        name: Option<&str>,
    ) {
        metrics.access(outcome);
        let now = Instant::now();
        if self.of_address.pass(from, now).is_ok() && self.of_all.pass((), now).is_ok() {
            let (outcome, name) = (outcome.as_str(), name.unwrap_or("-"));
            tracing::warn!(%from, name, outcome, "A login or token was refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What was written to the log meanwhile.
    fn logged(during: impl FnOnce()) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, during);
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_refusal_is_said_with_the_address_and_with_a_name_that_exists() {
        let (metrics, refusals) = (Metrics::new(), Refusals::new(100));
        let from: IpAddr = "203.0.113.9".parse().unwrap();
        let log = logged(|| {
            refusals.note(&metrics, AccessOutcome::WrongPassword, from, Some("ann"));
            refusals.note(&metrics, AccessOutcome::WrongToken, from, None);
        });
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        for said in ["203.0.113.9", "name=\"ann\"", "outcome=\"wrong_password\""] {
            assert!(lines[0].contains(said), "{said}: {log}");
        }
        assert!(lines[1].contains("outcome=\"wrong_token\""), "{log}");
    }

    #[test]
    fn there_is_an_end_to_the_lines_of_one_address_and_of_all() {
        let (metrics, refusals) = (Metrics::new(), Refusals::new(10_000));
        let lines = |addresses: u32, times: u32| {
            let log = logged(|| {
                for n in 0..addresses * times {
                    let from = std::net::Ipv4Addr::from_bits((10 << 24) + n % addresses);
                    refusals.note(&metrics, AccessOutcome::WrongToken, from.into(), None);
                }
            });
            log.lines().count()
        };
        assert!((20..=22).contains(&lines(1, 100)));
        assert!((150..=250).contains(&lines(1_000, 2)));
    }
}
