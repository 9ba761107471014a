//! Records what a real dockerd asks of a driver: runs a session of docker commands while a
//! scripted driver answers, and writes one file for each command, with the calls that it caused.
//!
//! ```text
//! record DRIVER IMAGE FOLDER
//! ```
//! Needs root, a dockerd that looks for plugins in `/run/docker/plugins`, `docker` and `ip` in
//! PATH, and an image with `sleep`. It makes and removes networks and containers called `rec-*`.
//! dockerd asks a driver what it can do only once: give another name for another recording.
#![allow(clippy::print_stderr, reason = "a tool for people")]

mod driver;
mod session;

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::Serialize;
use serde_json::Value;

use driver::Driver;

/// Everything of one call.
#[derive(Serialize)]
struct Call {
    path: String,
    headers: Vec<String>,
    /// The bytes, which are UTF-8, as they came.
    body: String,
    answer: Value,
}

/// What one command caused.
#[derive(Serialize)]
struct Recording<'a> {
    docker: &'a str,
    command: String,
    calls: Vec<Call>,
}

type Calls = Arc<Mutex<Vec<Call>>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, image, folder] = arguments.as_slice() else {
        return Err("usage: record DRIVER IMAGE FOLDER".into());
    };
    let socket = format!("/run/docker/plugins/{name}.sock");
    fs::create_dir_all("/run/docker/plugins")?;
    fs::create_dir_all(folder)?;
    let calls = Calls::default();
    serve(&socket, calls.clone())?;
    let docker = text(&mut docker(&["version", "--format", "{{.Server.Version}}"]))?;
    for (number, step) in session::STEPS.iter().enumerate() {
        let command = step.command.replace("DRIVER", name).replace("IMAGE", image);
        let words: Vec<&str> = command.split_whitespace().collect();
        let outcome = text(&mut self::docker(&words));
        if let Err(error) = outcome {
            eprintln!("docker {command}: {error}");
        }
        let calls = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
        if calls.is_empty() {
            continue;
        }
        let file = Path::new(folder).join(format!("{:02}-{}.json", number + 1, step.name));
        let recording = Recording {
            docker: &docker,
            command: format!("docker {command}"),
            calls,
        };
        fs::write(file, serde_json::to_string_pretty(&recording)? + "\n")?;
    }
    fs::remove_file(socket)?;
    Ok(())
}

/// Answers on `socket`, from a thread of its own, until the process ends.
fn serve(socket: &str, calls: Calls) -> io::Result<()> {
    let listener = std::os::unix::net::UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            axum::serve(listener, Driver::routes(calls)).await
        })
    });
    Ok(())
}

fn docker(words: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(words);
    command
}

/// What a command says, or why it failed.
fn text(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(said(&output.stdout))
    } else {
        Err(said(&output.stderr))
    }
}
