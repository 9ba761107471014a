//! One line per event: oslo.log's, which collectors parse, or a shorter one for a terminal.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Sink;
use crate::causes::with_causes;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `2026-11-23 20:09:43.933 26381 INFO kuryr.serve [req-5e0c] text`
    Oslo,
    /// `20:09:43.933  INFO kuryr.serve [req-5e0c] text`, in colours.
    Terminal,
}

/// Writes a line for each event.
pub(crate) struct Lines {
    style: Style,
    sink: Sink,
    process: u32,
}

impl Lines {
    /// Writes lines of that style to `sink`.
    pub(crate) fn new(style: Style, sink: Sink) -> Self {
        Self {
            style,
            sink,
            process: std::process::id(),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
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
        let mut own = Fields::default();
        event.record(&mut own);
        let mut request = None;
        let mut spans = String::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            let extensions = span.extensions();
            let fields = extensions.get::<Fields>();
            request = fields.and_then(|f| f.request.clone()).or(request);
            let others = fields.map_or("", |fields| fields.others.as_str());
            let _ = write!(spans, " {{{}{others}}}", span.name());
        }
        let text = Line {
            level: *event.metadata().level(),
            target: event.metadata().target(),
            request: request.as_deref().or(own.request.as_deref()),
            text: format_args!("{}{}{spans}", own.message, own.others),
        };
        #[expect(clippy::disallowed_methods, reason = "only ever shown")]
        let line = match self.style {
            Style::Oslo => text.oslo(&Zoned::now(), self.process),
            Style::Terminal => text.terminal(&Zoned::now()),
        };
        // In one piece, or two threads' lines would mingle.
        let _ = self.sink.clone().write_all(line.as_bytes());
    }
}

struct Line<'a> {
    level: Level,
    target: &'a str,
    request: Option<&'a str>,
    text: fmt::Arguments<'a>,
}

impl Line<'_> {
    fn oslo(&self, now: &Zoned, process: u32) -> String {
        format!(
            "{} {process} {} {} [{}] {}\n",
            now.strftime("%Y-%m-%d %H:%M:%S.%3f"),
            // Python has no TRACE, and WARN is WARNING there.
            match self.level {
                Level::TRACE | Level::DEBUG => "DEBUG",
                Level::INFO => "INFO",
                Level::WARN => "WARNING",
                Level::ERROR => "ERROR",
            },
            self.target.replace("::", "."),
            self.request.unwrap_or("-"),
            self.text
        )
    }

    fn terminal(&self, now: &Zoned) -> String {
        let colour = match self.level {
            Level::TRACE => 35,
            Level::DEBUG => 34,
            Level::INFO => 32,
            Level::WARN => 33,
            Level::ERROR => 31,
        };
        let request = self.request.map(|r| format!("[{r}] ")).unwrap_or_default();
        format!(
            "\x1b[2m{}\x1b[0m \x1b[{colour}m{:>5}\x1b[0m \x1b[2m{}\x1b[0m {request}{}\n",
            now.strftime("%H:%M:%S.%3f"),
            self.level,
            self.target.replace("::", "."),
            self.text
        )
    }
}

/// What a span or an event carries.
#[derive(Default)]
struct Fields {
    message: String,
    /// The request id, which has a place of its own in the line.
    request: Option<String>,
    /// ` name=value` for each of the others.
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field.name(), &with_causes(value));
    }
}

impl Fields {
    fn add(&mut self, name: &str, value: &str) {
        let value = on_one_line(value);
        match name {
            "message" => self.message = value,
            "req" | "req_id" | "request" | "request_id" => {
                let prefix = if value.starts_with("req-") {
                    ""
                } else {
                    "req-"
                };
                self.request = Some(format!("{prefix}{value}"));
            }
            // Which `log` crate event this was.
            name if name.starts_with("log.") => {}
            _ => {
                let _ = write!(self.others, " {name}={value}");
            }
        }
    }
}

/// No text from outside can start a line of its own or steer a terminal.
fn on_one_line(text: &str) -> String {
    if !text.contains(|c: char| c.is_control()) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_oslo_logs_form() {
        let now: Zoned = "2026-11-23T20:09:43.9339+00:00[UTC]".parse().unwrap();
        let line = Line {
            level: Level::WARN,
            target: "kuryr_core::endpoint",
            request: Some("req-5e0c"),
            text: format_args!("late"),
        };
        assert_eq!(
            line.oslo(&now, 26381),
            "2026-11-23 20:09:43.933 26381 WARNING kuryr_core.endpoint [req-5e0c] late\n"
        );
    }

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(on_one_line("a\nb\x1b[31m\té"), "a\\nb\\u{1b}[31m\\té");
    }
}
