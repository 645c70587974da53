//! Which trace a request or a job belongs to: a caller names it in the header `traceparent` (W3C Trace Context), its id is in the lines of the
//! log, and whoever is called for it, or looks at a job that it has scheduled, is given it in turn.
//!
//! Without a caller that names one, each request and each job begins a trace of its own. Spans are exported with the feature `otlp` alone; the
//! ids are there without it.

#[cfg(feature = "otlp")]
mod exported;

use std::fmt;
use std::future::Future;

use http::{HeaderMap, HeaderValue};
use tracing::Span;

/// The header's name.
pub const HEADER: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Option<TraceParent>;
}

/// A trace, and the span in it that others belong below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    sampled: bool,
}

impl TraceParent {
    /// What the header says; `None`: nothing that can be used.
    pub fn parse(header: &str) -> Option<Self> {
        let parts: Vec<&str> = header.split('-').collect();
        let is_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        // Later versions may say more behind it.
        let [version, trace, span, flags, ref more @ ..] = parts[..] else {
            return None;
        };
        let fits = is_hex(version, 2)
            && version != "ff"
            && (version != "00" || more.is_empty())
            && is_hex(trace, 32)
            && is_hex(span, 16)
            && is_hex(flags, 2);
        let parent = fits.then(|| Self {
            trace: u128::from_str_radix(trace, 16).unwrap_or_default(),
            span: u64::from_str_radix(span, 16).unwrap_or_default(),
            sampled: u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1),
        });
        parent.filter(|parent| parent.trace != 0 && parent.span != 0)
    }

    /// A span of the same trace, or the first of one that nobody records.
    fn below(parent: Option<Self>) -> Self {
        Self {
            trace: parent.map_or_else(|| rand::random_range(1..=u128::MAX), |parent| parent.trace),
            span: rand::random_range(1..=u64::MAX),
            sampled: parent.is_some_and(|parent| parent.sampled),
        }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        )
    }
}

/// Makes a span, which has an empty field `trace_id` and was not entered yet, part of the caller's trace, or of one of its own. Returns what those
/// are given who are called for it.
pub fn enter(parent: Option<TraceParent>, span: &Span) -> TraceParent {
    #[cfg(feature = "otlp")]
    let own = exported::enter(parent, span).unwrap_or_else(|| TraceParent::below(parent));
    #[cfg(not(feature = "otlp"))]
    let own = TraceParent::below(parent);
    span.record("trace_id", format!("{:032x}", own.trace));
    own
}

/// What this does belongs to that trace.
pub async fn within<F: Future>(trace: Option<TraceParent>, work: F) -> F::Output {
    CURRENT.scope(trace, work).await
}

/// The trace that what runs here belongs to.
pub fn current() -> Option<TraceParent> {
    CURRENT.try_with(|current| *current).ok().flatten()
}

/// The header for a request that is made here; none outside any trace.
pub fn headers() -> HeaderMap {
    let current = current().and_then(|trace| HeaderValue::try_from(trace.to_string()).ok());
    current
        .map(|value| (http::HeaderName::from_static(HEADER), value))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_header_is_taken_as_the_standard_writes_it_and_nothing_else_is() {
        let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
        assert_eq!(TraceParent::parse(&valid).unwrap().to_string(), valid);
        let later = TraceParent::parse(&format!("01-{TRACE}-b7ad6b7169203331-02-more")).unwrap();
        assert_eq!(later.to_string(), format!("00-{TRACE}-b7ad6b7169203331-00"));
        for wrong in [
            String::new(),
            format!("00-{TRACE}-b7ad6b7169203331"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}é-b7ad6b7169203331-01"),
        ] {
            assert_eq!(TraceParent::parse(&wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn who_is_called_is_given_the_trace_and_another_span_of_it() {
        assert_eq!((current(), headers().len()), (None, 0));
        let caller = TraceParent::parse(&format!("00-{TRACE}-b7ad6b7169203331-01"));
        let own = enter(caller, &Span::none());
        assert_eq!((own.trace, own.sampled), (caller.unwrap().trace, true));
        assert_ne!(own.span, caller.unwrap().span);
        let told = within(Some(own), async { headers() }).await;
        assert_eq!(told[HEADER], own.to_string());
        let alone = enter(None, &Span::none());
        assert!(alone.trace != own.trace && !alone.sampled);
    }
}
