//! One JSON object per event, in the form of tracing-subscriber's own, which tells no causes.

use std::error::Error;
use std::fmt;
use std::io::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Sink;
use crate::causes::with_causes;

/// Writes an object for each event.
pub(crate) struct JsonLines {
    sink: Sink,
}

impl JsonLines {
    /// Writes to `sink`.
    pub(crate) fn new(sink: Sink) -> Self {
        Self { sink }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut extensions = span.extensions_mut();
            if let Some(fields) = extensions.get_mut::<Fields>() {
                record.record(fields);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let scope = context.event_scope(event).into_iter();
        let spans: Vec<Fields> = scope
            .flat_map(|scope| scope.from_root())
            .map(|span| {
                let mut fields = span
                    .extensions()
                    .get()
                    .cloned()
                    .unwrap_or(Fields::default());
                fields.add("name", span.name());
                fields
            })
            .collect();
        #[expect(clippy::disallowed_methods, reason = "only ever shown")]
        let line = Line {
            timestamp: Timestamp::now(),
            level: event.metadata().level().as_str(),
            fields,
            target: event.metadata().target(),
            span: spans.last(),
            spans: &spans,
        };
        let Ok(mut line) = serde_json::to_string(&line) else {
            return;
        };
        line.push('\n');
        // In one piece, or two threads' lines would mingle.
        let _ = self.sink.clone().write_all(line.as_bytes());
    }
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "microseconds")]
    timestamp: Timestamp,
    level: &'static str,
    fields: Fields,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a Fields>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    spans: &'a [Fields],
}

/// Always six digits, so that lines can be sorted as text.
fn microseconds<S: serde::Serializer>(time: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&format_args!("{time:.6}"))
}

/// What a span or an event carries.
#[derive(Clone, Default, Serialize)]
#[serde(transparent)]
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, name: &str, value: impl Into<Value>) {
        // Which `log` crate event this was, is left out.
        if !name.starts_with("log.") {
            self.0.insert(name.to_owned(), value.into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field.name(), with_causes(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value);
    }
}
