//! What was seen, as a table and as curves.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::churn::{Call, Plan, Sample, Seen};

/// The rows of all kinds of pools.
pub(crate) struct Report {
    table: String,
    curves: String,
    workers: usize,
}

/// What one point of a curve is about.
const BIN: Duration = Duration::from_secs(30);

impl Report {
    pub(crate) fn new(plan: &Plan) -> Self {
        let table = format!(
            "{} hosts, {} to a network, each with a start every {} s and containers that live for {} s, on average; \
             every {} s a tenth of the hosts, always the same, starts {} more at once. Neutron works at {} calls at the same time. {} minutes.\n\n\
             | warm ports | starts | failed | start, median, ms | p95 | p99 | worst | stop, p99, ms | calls to Neutron for one container | of these changes | Neutron busy | its busiest minute | ports in pools, average | most |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
            plan.hosts,
            plan.hosts_of_network,
            plan.between.as_secs(),
            plan.lives.as_secs(),
            plan.rollout_every.as_secs(),
            plan.rollout,
            plan.workers,
            plan.passes.as_secs() / 60,
        );
        Self {
            table,
            curves: "pool,second,wait_p50,wait_p99,busy,in_pools\n".to_owned(),
            workers: plan.workers,
        }
    }

    pub(crate) fn add(&mut self, pool: &str, seen: &Seen) {
        let waits = sorted(seen.starts.iter());
        let stops = sorted(seen.stops.iter());
        let failed = seen.starts.iter().filter(|call| call.failed).count();
        let (first, last) = (&seen.samples[0], &seen.samples[seen.samples.len() - 1]);
        let looks = last.done.looks - first.done.looks;
        let changes = last.done.changes - first.done.changes;
        let count = seen.starts.len() as f64;
        let loads = self.loads(&seen.samples, 2);
        let in_pools = seen.samples.iter().map(|sample| sample.in_pools);
        let _ = writeln!(
            self.table,
            "| {pool} | {} | {failed} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} % | {:.0} % | {:.0} | {} |",
            waits.len(),
            at(&waits, 0.5),
            at(&waits, 0.95),
            at(&waits, 0.99),
            at(&waits, 1.0),
            at(&stops, 0.99),
            (looks + changes) as f64 / count,
            changes as f64 / count,
            100.0 * loads.iter().sum::<f64>() / loads.len() as f64,
            100.0 * loads.iter().copied().fold(0.0, f64::max),
            in_pools.clone().sum::<usize>() as f64 / seen.samples.len() as f64,
            in_pools.max().unwrap_or(0),
        );
        if let Some(error) = &seen.error {
            eprintln!("{pool}: for example: {error}");
        }
        println!("{}", self.table.lines().next_back().unwrap_or_default());
        self.add_curve(pool, seen);
    }

    fn add_curve(&mut self, pool: &str, seen: &Seen) {
        for (sample, load) in seen.samples[1..].iter().zip(self.loads(&seen.samples, 1)) {
            let within = sample.at - BIN..sample.at;
            let waits = sorted(seen.starts.iter().filter(|call| within.contains(&call.at)));
            let _ = writeln!(
                self.curves,
                "{pool},{},{:.1},{:.1},{load:.3},{}",
                sample.at.as_secs(),
                at(&waits, 0.5),
                at(&waits, 0.99),
                sample.in_pools
            );
        }
    }

    /// How busy Neutron was in each so many samples, from 0 to 1.
    fn loads(&self, samples: &[Sample], together: usize) -> Vec<f64> {
        let ends: Vec<&Sample> = samples.iter().step_by(together).collect();
        let load = |pair: &[&Sample]| {
            let busy = pair[1].done.busy - pair[0].done.busy;
            busy.as_secs_f64() / (pair[1].at - pair[0].at).as_secs_f64() / self.workers as f64
        };
        ends.windows(2).map(load).collect()
    }

    /// Into the folder of what was built: the table as Markdown, the curves as CSV.
    pub(crate) fn write(&self) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for (name, text) in [
            ("simulation.md", &self.table),
            ("simulation.csv", &self.curves),
        ] {
            let path = folder.join(name);
            fs::write(&path, text)
                .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
            println!("{}", path.display());
        }
    }
}

/// How long they took, in milliseconds, the shortest first.
fn sorted<'a>(calls: impl Iterator<Item = &'a Call>) -> Vec<f64> {
    let mut all: Vec<f64> = calls.map(|call| call.took.as_secs_f64() * 1e3).collect();
    all.sort_unstable_by(f64::total_cmp);
    all
}

/// A quantile of what is sorted.
fn at(sorted: &[f64], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * quantile).round();
    sorted.get(place as usize).copied().unwrap_or_default()
}
