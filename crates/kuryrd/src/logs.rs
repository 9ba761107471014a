//! The log: lines for people on a terminal, oslo.log's lines elsewhere, JSON where wanted.

mod file;
mod lines;

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::Arc;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Logs;
use file::LogFile;
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
        let layer = fmt::layer()
            .json()
            .with_writer(move || sink.clone())
            .with_ansi(false);
        registry.with(layer).init();
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
