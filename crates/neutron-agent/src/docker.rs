//! Docker's firewall, where it drops what no rule of its own lets pass.
//!
//! A verdict to drop in another table can't be overruled from ours. Docker asks users to put rules
//! of their own into the chain `DOCKER-USER`: there we let our bridges pass, as our own table has
//! decided already. To Docker's own networks they pass no further than Docker lets them.

use tokio::process::Command;

const CHAIN: &str = "DOCKER-USER";

/// What is put into the chain, in this order.
const RULES: [&str; 4] = [
    "-i brq+ -o docker+ -j RETURN",
    "-i brq+ -o br-+ -j RETURN",
    "-i brq+ -j ACCEPT",
    "-o brq+ -j ACCEPT",
];

/// Puts our rules into Docker's chain, where there is one and it matters.
pub(crate) async fn let_pass(table: &str) {
    for command in ["iptables", "ip6tables"] {
        let Some(shown) = iptables(command, "-S").await else {
            continue;
        };
        let has = |line: &str| shown.lines().any(|shown| shown == line);
        if !has("-P FORWARD DROP") || !has("-N DOCKER-USER") {
            continue;
        }
        if RULES
            .iter()
            .all(|rule| shown.contains(&as_shown(rule, table)))
        {
            continue;
        }
        tracing::info!(command, "letting our bridges pass Docker's chain {CHAIN}");
        remove(command, table, &shown).await;
        for rule in RULES.iter().rev() {
            iptables(
                command,
                &format!("-I {CHAIN} {}", with_comment(rule, table)),
            )
            .await;
        }
    }
}

/// Takes our rules out of Docker's chain.
pub(crate) async fn withdraw(table: &str) {
    for command in ["iptables", "ip6tables"] {
        if let Some(shown) = iptables(command, "-S").await {
            remove(command, table, &shown).await;
        }
    }
}

async fn remove(command: &str, table: &str, shown: &str) {
    let ours = RULES.map(|rule| as_shown(rule, table));
    for line in shown
        .lines()
        .filter(|line| ours.iter().any(|rule| rule == line))
    {
        iptables(command, &line.replacen("-A ", "-D ", 1)).await;
    }
}

fn with_comment(rule: &str, table: &str) -> String {
    let (what, verdict) = rule.split_once(" -j ").unwrap_or((rule, "RETURN"));
    format!("{what} -m comment --comment {table} -j {verdict}")
}

fn as_shown(rule: &str, table: &str) -> String {
    format!("-A {CHAIN} {}", with_comment(rule, table))
}

/// What it prints; nothing where there is no such command, or it fails.
async fn iptables(command: &str, args: &str) -> Option<String> {
    let output = Command::new(command)
        .args(["-w", "5"])
        .args(args.split_whitespace())
        .kill_on_drop(true)
        .output()
        .await;
    match output {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            tracing::debug!(command, args, %said, "failed");
            None
        }
        Err(error) => {
            tracing::debug!(command, %error, "not there");
            None
        }
    }
}
