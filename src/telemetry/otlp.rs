//! Spans of jobs and requests to an OpenTelemetry collector, as OTLP over HTTP. Only in builds with the feature `otlp`.
//!
//! Spans of this program alone: those of libraries might hold what must not leave. A collector that is away costs spans, nothing
//! else: they are sent by a thread of their own from a bounded queue.

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

/// Sends what is left when it is dropped.
pub struct Spans(SdkTracerProvider);

impl Drop for Spans {
    fn drop(&mut self) {
        // The log may be gone by now, and nobody can do anything about it.
        let _ = self.0.shutdown();
    }
}

/// A layer that exports spans to the collector at `endpoint`, as those of this service, and what keeps it going.
pub fn export<S>(endpoint: &Url, service: String) -> anyhow::Result<(impl Layer<S>, Spans)>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let endpoint = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .build()
        .context("setting up the export of spans")?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(service).build())
        .build();
    let layer: OpenTelemetryLayer<S, Tracer> =
        tracing_opentelemetry::layer().with_tracer(provider.tracer("unread"));
    let ours = filter_fn(|metadata| metadata.target().starts_with("unread"));
    Ok((layer.with_filter(ours), Spans(provider)))
}
