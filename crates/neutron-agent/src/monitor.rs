//! Notices when somebody else changes our tables, such as `nft flush ruleset`.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::AgentError;
use crate::script::BATCHES;

/// What has happened to rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum News {
    /// Somebody else has changed our tables.
    Ours,
    /// Docker has changed its chains.
    Dockers,
}

/// Reads `nft monitor` and says what is new, until nobody listens any more.
pub(crate) async fn watch(table: String, news: mpsc::Sender<News>) {
    let mut pause = Duration::from_millis(100);
    while !news.is_closed() {
        match start() {
            Ok(child) => {
                let ended = read(child, &table, &news);
                tokio::select! {
                    () = ended => tracing::debug!("nft monitor has ended"),
                    () = news.closed() => return,
                }
                // What happened meanwhile is not known.
                let _ = news.send(News::Ours).await;
            }
            Err(error) => tracing::warn!(%error, "changes of the rules by others go unnoticed"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

fn start() -> Result<Child, AgentError> {
    Command::new("nft")
        .arg("monitor")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(AgentError::NoNft)
}

async fn read(mut child: Child, table: &str, news: &mpsc::Sender<News>) {
    let Some(output) = child.stdout.take() else {
        return;
    };
    let mut lines = BufReader::new(output).lines();
    let mut generation = Generation::new(table);
    while let Ok(Some(line)) = lines.next_line().await {
        for new in generation.take(&line) {
            if news.send(new).await.is_err() {
                return;
            }
        }
    }
}

/// One transaction, as `nft monitor` tells it: what it changes, then that it is done.
struct Generation {
    /// How our tables are named in it.
    tables: [String; 2],
    batch: String,
    ours: bool,
    by_us: bool,
    dockers: bool,
}

impl Generation {
    fn new(table: &str) -> Self {
        Self {
            tables: ["inet", "bridge"].map(|family| format!(" {family} {table}")),
            batch: format!("element inet {table} {BATCHES} "),
            ours: false,
            by_us: false,
            dockers: false,
        }
    }

    /// Every transaction of ours leaves its number.
    fn take(&mut self, line: &str) -> Vec<News> {
        if !line.starts_with("# new generation") {
            let ends = |rest: &str| rest.is_empty() || rest.starts_with(' ');
            let about = |table: &String| line.split_once(table).is_some_and(|(_, rest)| ends(rest));
            self.ours |= self.tables.iter().any(about);
            self.by_us |= line.contains(&self.batch);
            self.dockers |=
                line.contains(" filter DOCKER-USER") || line.contains(" filter FORWARD");
            return Vec::new();
        }
        let mut news = Vec::new();
        if self.ours && !self.by_us {
            news.push(News::Ours);
        }
        if self.dockers {
            news.push(News::Dockers);
        }
        (self.ours, self.by_us, self.dockers) = (false, false, false);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(lines: &str) -> Vec<News> {
        let mut generation = Generation::new("kuryr");
        lines
            .lines()
            .flat_map(|line| generation.take(line))
            .collect()
    }

    const DONE: &str = "# new generation 3 by process 2023 (nft)";

    #[test]
    fn a_change_of_ours_is_no_news() {
        let own = format!(
            "delete chain inet kuryr old\nadd element inet kuryr batches {{ 0x00000007 }}\n{DONE}"
        );
        assert_eq!(news(&own), []);
    }

    #[test]
    fn what_others_do_to_our_tables_is_news() {
        for line in [
            "delete table inet kuryr",
            "delete rule bridge kuryr prerouting handle 8",
        ] {
            assert_eq!(news(&format!("{line}\n{DONE}")), [News::Ours], "{line}");
        }
    }

    #[test]
    fn other_tables_are_no_news_but_for_dockers() {
        assert_eq!(news(&format!("delete table inet kuryr2\n{DONE}")), []);
        assert_eq!(news(&format!("add rule ip nat DOCKER return\n{DONE}")), []);
        let started = format!("add chain ip filter DOCKER-USER\n{DONE}");
        assert_eq!(news(&started), [News::Dockers]);
    }
}
