//! The log: lines for people on a terminal, oslo.log's lines elsewhere, JSON where wanted.

mod file;
mod json;
mod lines;

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::Arc;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Logs;
use file::LogFile;
use json::JsonLines;
use lines::{Lines, Style};

/// What of our own is included with `debug`; of others, only what INFO includes.
const DEBUG: &str = "info,kuryr=debug,kuryr_core=debug,kuryr_libnetwork=debug,kuryr_vif=debug,\
                     neutron_client=debug,keystone=debug";

/// Starts to log. `filter` is in the words of `EnvFilter` and takes the place of `debug`.
pub(crate) fn start(logs: &Logs, filter: Option<&str>) -> anyhow::Result<()> {
    let default = if logs.debug { DEBUG } else { "info" };
    let filter = EnvFilter::try_new(filter.unwrap_or(default))
        .context("KURYR_LOG is not a filter such as `debug` or `info,kuryr_core=trace`")?;
    let (sink, terminal) = match &logs.file {
        Some(path) => {
            let file = LogFile::open(path)
                .with_context(|| format!("could not open the log file {}", path.display()))?;
            (Sink::File(Arc::new(file)), false)
        }
        None if logs.stderr => (Sink::Stderr, io::stderr().is_terminal()),
        None => (Sink::Stdout, io::stdout().is_terminal()),
    };
    let registry = tracing_subscriber::registry().with(filter);
    if logs.json {
        registry.with(JsonLines::new(sink)).init();
    } else {
        let style = if terminal {
            Style::Terminal
        } else {
            Style::Oslo
        };
        registry.with(Lines::new(style, sink)).init();
    }
    panic::set_hook(Box::new(|panicked| {
        tracing::error!("this should not happen: {panicked}");
    }));
    Ok(())
}

/// Where lines go. What cannot be written is lost: the program goes on without its log.
#[derive(Clone)]
pub(crate) enum Sink {
    Stdout,
    Stderr,
    File(Arc<LogFile>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().write(bytes),
            Self::Stderr => io::stderr().write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush(),
            Self::Stderr => io::stderr().flush(),
            Self::File(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fs;

    use serde_json::Value;
    use tracing_subscriber::Layer;
    use tracing_subscriber::Registry;

    use super::*;

    /// What is logged by layers made of a sink when `happen` is called.
    fn logged<L: Layer<Registry> + Send + Sync>(
        layer: impl FnOnce(Sink) -> L,
        happen: impl FnOnce(),
    ) -> String {
        // With a subscriber more, what this one wants is asked anew at every event.
        let _another = tracing::Dispatch::new(tracing_subscriber::registry());
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let sink = Sink::File(Arc::new(LogFile::open(&path).unwrap()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer(sink)), happen);
        fs::read_to_string(&path).unwrap()
    }

    fn fail() {
        let refused = anyhow::anyhow!("connection\nrefused");
        let error = refused
            .context("no answer")
            .context("could not list networks");
        let call = tracing::info_span!("call", req = "req-5e0c", verb = "Join", tries = 2);
        let _entered = call.enter();
        let error: &(dyn Error + 'static) = error.as_ref();
        tracing::warn!(error, left = 7, "not done yet");
    }

    #[test]
    fn a_line_tells_the_causes_of_an_error() {
        let line = logged(|sink| Lines::new(Style::Oslo, sink), fail);
        assert!(
            line.ends_with(
                "[req-5e0c] not done yet error=could not list networks: no answer: \
                 connection\\nrefused left=7 {call verb=Join tries=2}\n"
            ),
            "{line}"
        );
    }

    #[test]
    fn an_object_tells_the_causes_of_an_error() {
        let line = logged(JsonLines::new, fail);
        assert_eq!(line.lines().count(), 1, "{line}");
        let mut event: Value = serde_json::from_str(&line).unwrap();
        let time = event["timestamp"].take();
        let time = time.as_str().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
        let call = serde_json::json!({
            "name": "call", "req": "req-5e0c", "verb": "Join", "tries": 2,
        });
        assert_eq!(
            event,
            serde_json::json!({
                "timestamp": null,
                "level": "WARN",
                "target": "kuryr::logs::tests",
                "fields": {
                    "message": "not done yet",
                    "error": "could not list networks: no answer: connection\nrefused",
                    "left": 7,
                },
                "span": call,
                "spans": [call],
            })
        );
    }
}
