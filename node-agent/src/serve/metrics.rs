//! What the agent counts.

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use crate::engine::View;

/// The agent's metrics.
pub struct Metrics {
    registry: Registry,
    status_writes: Counter,
    status_write_failures: Counter,
    wanted: Gauge,
    running: Gauge,
    failed: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("bpfleet_agent");
        let (status_writes, status_write_failures) = (Counter::default(), Counter::default());
        let (wanted, running, failed) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register(
            "status_writes",
            "Writes of this node's BpfNode status",
            status_writes.clone(),
        );
        registry.register(
            "status_write_failures",
            "Writes that the API server did not take",
            status_write_failures.clone(),
        );
        registry.register("programs_wanted", "Programs that shall run here", wanted.clone());
        registry.register(
            "programs_running",
            "Programs that run here with every hook attached",
            running.clone(),
        );
        registry.register(
            "programs_failed",
            "Programs whose wanted revision failed",
            failed.clone(),
        );
        Self {
            registry,
            status_writes,
            status_write_failures,
            wanted,
            running,
            failed,
        }
    }

    /// A status was written.
    pub fn status_written(&self) {
        self.status_writes.inc();
    }

    /// A status could not be written.
    pub fn status_failed(&self) {
        self.status_write_failures.inc();
    }

    /// The metrics in the OpenMetrics text format.
    pub fn text(&self, view: &View) -> Result<String, std::fmt::Error> {
        let counts = crate::report::count(view);
        self.wanted.set(counts.wanted.into());
        self.running.set(counts.running.into());
        self.failed.set(counts.failed.into());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
