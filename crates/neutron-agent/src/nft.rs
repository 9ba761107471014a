//! Runs nft: one script, one transaction.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::AgentError;

/// Much more than ten thousand ports take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Puts `script` into force, all of it or nothing.
pub(crate) async fn apply(script: &str) -> Result<(), AgentError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(AgentError::NoNft)?;
    let input = child.stdin.take();
    let feed = async {
        // Why it does not read to the end, it says itself.
        if let Some(mut input) = input {
            let _ = input.write_all(script.as_bytes()).await;
        }
    };
    let run = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = timeout(PATIENCE, run)
        .await
        .map_err(|_| AgentError::NftHangs {
            seconds: PATIENCE.as_secs(),
        })?;
    let output = output.map_err(AgentError::NoNft)?;
    if output.status.success() {
        return Ok(());
    }
    let said = first_error(&String::from_utf8_lossy(&output.stderr));
    Err(AgentError::Nft { said })
}

/// nft repeats the script around each of its errors; the first one tells.
fn first_error(said: &str) -> String {
    let mut lines = said.lines();
    let error = lines.find(|line| line.contains("rror: ")).unwrap_or(said);
    let at = lines.next().unwrap_or_default().trim();
    let at: String = at.chars().take(200).collect();
    format!("{} ({at})", error.trim())
}
