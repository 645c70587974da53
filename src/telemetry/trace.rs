//! Traces that begin elsewhere: a caller names the one that its request belongs to in the header `traceparent` (W3C Trace Context).
//!
//! The id of a request's trace stands in its lines. With the feature `otlp` its spans are sent as part of that trace.

use tracing::Span;

/// What a caller says of its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: String,
    span: String,
    sampled: bool,
}

impl TraceParent {
    /// What the header says; `None`: nothing that can be used.
    pub fn parse(header: &str) -> Option<Self> {
        let parts: Vec<&str> = header.split('-').collect();
        let is_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|b| b != b'0');
        // Later versions may say more behind it.
        let [version, trace, span, flags, ref more @ ..] = parts[..] else {
            return None;
        };
        let fits = is_hex(version, 2)
            && version != "ff"
            && (version != "00" || more.is_empty())
            && is_id(trace, 32)
            && is_id(span, 16)
            && is_hex(flags, 2);
        fits.then(|| Self {
            trace: trace.to_owned(),
            span: span.to_owned(),
            sampled: u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1),
        })
    }

    /// The span, which has an empty field `trace_id`, belongs to the caller's trace; without one to its own, if spans are sent.
    pub fn adopt(parent: Option<&Self>, span: &Span) {
        #[cfg(feature = "otlp")]
        super::otlp::adopt(parent.map(|p| (&*p.trace, &*p.span, p.sampled)), span);
        if let Some(parent) = parent {
            span.record("trace_id", parent.trace.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_header_is_taken_as_the_standard_writes_it_and_nothing_else_is() {
        let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
        let parent = TraceParent::parse(&valid).unwrap();
        assert_eq!((parent.trace.as_str(), parent.sampled), (TRACE, true));
        let later = TraceParent::parse(&format!("01-{TRACE}-b7ad6b7169203331-00-more")).unwrap();
        assert!(!later.sampled);
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
}
