//! What this process uses, under the names that all Prometheus clients give it.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::time::{ClockId, clock_gettime};

/// Looks when it is asked.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut put = |name, help, metric: &dyn Metric| metric.put(&mut encoder, name, help);
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = std::time::Duration::try_from(time).unwrap_or_default();
        put(
            "process_cpu_seconds",
            "Processor time used, in seconds",
            &ConstCounter::new(seconds.as_secs_f64()),
        )?;
        if let Some(bytes) = resident_bytes() {
            put(
                "process_resident_memory_bytes",
                "Resident memory, in bytes",
                &ConstGauge::new(bytes),
            )?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            put(
                "process_open_fds",
                "Open file descriptors",
                &ConstGauge::new(i64::try_from(open.count()).unwrap_or(i64::MAX)),
            )?;
        }
        Ok(())
    }
}

/// Any metric, to be written under a name.
trait Metric {
    fn put(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> Result<(), std::fmt::Error>;
}

impl<T: EncodeMetric> Metric for T {
    fn put(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> Result<(), std::fmt::Error> {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}

/// From `VmRSS:     5120 kB`.
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}
