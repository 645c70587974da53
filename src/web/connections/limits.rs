//! What a connection may cost, and how many there may be.

use std::time::Duration;

use crate::config::Network;

/// More open files than this no installation needs, and some systems allow a thousand million.
const FILES_AT_MOST: u64 = 65_536;

/// Open files that are not connections to us: to LivePerson, mail servers and Twilio, the runtime's own, and what is being closed.
const OTHER_FILES: usize = 256;

/// Connections that only the probes are answered on, when there is room for no other.
pub const RESERVE: usize = 64;

/// The listener of metrics and probes has so many to itself: Prometheus and the prober hold one each.
pub const METRICS: usize = 128;

/// The limits of one listener.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections in all; beyond it only `RESERVE`.
    pub total: usize,
    /// Connections of one address. Not of a trusted proxy, behind which everybody has the same.
    pub per_address: usize,
    pub trusted: Vec<Network>,
    /// From the first byte of a request, or from the connection's beginning, to the end of its headers.
    pub head: Duration,
    /// Without a request. Longer than the minute for which nginx and the load balancers of AWS keep theirs: who closes first must be
    /// the one who sends requests.
    pub idle: Duration,
    /// Without a request, from a trusted proxy. Google's keep theirs for ten minutes.
    pub idle_of_proxies: Duration,
    /// A request's body: from one piece to the next …
    pub body_pause: Duration,
    /// … and altogether.
    pub body: Duration,
    /// An answer: from one piece that the other side takes to the next.
    pub write: Duration,
    /// A connection of the reserve: for the request and its answer.
    pub probe: Duration,
    /// How exactly all of this is kept.
    pub beat: Duration,
}

impl ConnectionLimits {
    pub fn new(total: usize, per_address: usize, trusted: Vec<Network>) -> Self {
        Self {
            total,
            per_address,
            trusted,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            idle_of_proxies: Duration::from_secs(620),
            body_pause: Duration::from_secs(30),
            body: Duration::from_mins(5),
            write: Duration::from_secs(30),
            probe: Duration::from_secs(3),
            beat: Duration::from_millis(250),
        }
    }

    /// Of the listener for metrics and probes.
    pub fn of_metrics() -> Self {
        Self::new(METRICS, METRICS / 2, Vec::new())
    }
}

/// Raises the soft limit of open files to the hard one, and says what it is then. The soft one is often 1,024 for the sake of programs
/// that know no better.
pub fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(FILES_AT_MOST).min(FILES_AT_MOST);
    let soft = now.current.unwrap_or(FILES_AT_MOST);
    let wanted = Rlimit {
        current: Some(hard),
        maximum: now.maximum,
    };
    let raised = soft < hard && setrlimit(Resource::Nofile, wanted).is_ok();
    let limit = if raised { hard } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// So many connections fit: as many as are `wanted`, if the limit of open files leaves room for them beside the rest. In a process
/// that may open next to nothing, half of it.
pub fn that_fit(wanted: usize, files: usize, database: u32) -> usize {
    let database = usize::try_from(database).unwrap_or(usize::MAX);
    let others = OTHER_FILES
        .saturating_add(RESERVE + METRICS)
        .saturating_add(database);
    let room = files.saturating_sub(others).max(files / 2);
    wanted.min(room.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_other_files() {
        for (wanted, files, database, fit) in [
            (8192, 65_536, 10, 8192),
            (8192, 4096, 10, 3638),
            (8192, 1024, 10, 566),
            (100, 1024, 10, 100),
            (8192, 256, 10, 128),
            (8192, 4096, u32::MAX, 2048),
            (8192, 1, 10, 1),
        ] {
            assert_eq!(that_fit(wanted, files, database), fit, "{wanted} {files}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        use rustix::process::{Resource, getrlimit};
        let limit = raise_file_limit();
        let now = getrlimit(Resource::Nofile);
        let hard = now.maximum.unwrap_or(FILES_AT_MOST).min(FILES_AT_MOST);
        assert!(limit >= usize::try_from(hard).unwrap(), "{limit} {hard}");
        assert_eq!(
            now.current.map(|n| usize::try_from(n).unwrap()),
            Some(limit)
        );
    }
}
