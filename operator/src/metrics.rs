//! Numbers for Prometheus.

use std::{sync::atomic::AtomicI64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::queue::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: u16,
}

fn histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0])
}

/// Numbers for Prometheus.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    durations: Family<KindLabels, Histogram>,
    api_writes: Family<KindLabels, Counter>,
    artifact_requests: Family<CodeLabels, Counter>,
    leader: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bpfleet_operator");
        let durations = Family::new_with_constructor(histogram as fn() -> Histogram);
        let this = Self {
            reconciles: Family::default(),
            durations,
            api_writes: Family::default(),
            artifact_requests: Family::default(),
            leader: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "reconciles",
            "Looks at an object, by what became of them",
            this.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "How long a look took",
            this.durations.clone(),
        );
        registry.register(
            "api_writes",
            "Writes to the API server, by kind of object",
            this.api_writes.clone(),
        );
        registry.register(
            "artifact_requests",
            "Requests to the artifact endpoint, by status code",
            this.artifact_requests.clone(),
        );
        registry.register(
            "leader",
            "Whether this replica leads (1) or not (0)",
            this.leader.clone(),
        );
        Self { registry, ..this }
    }
}

impl Metrics {
    /// Counts a look at an object.
    pub fn reconciled(&self, kind: &'static str, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::Again(_) => "again",
            Outcome::Failed => "failed",
            Outcome::Panicked => "panicked",
        };
        self.reconciles
            .get_or_create(&ReconcileLabels { kind, outcome })
            .inc();
    }

    /// Notes how long a look took.
    pub fn took(&self, kind: &'static str, time: Duration) {
        self.durations
            .get_or_create(&KindLabels { kind })
            .observe(time.as_secs_f64());
    }

    /// Counts a write to the API server.
    pub fn api_write(&self, kind: &'static str) {
        self.api_writes.get_or_create(&KindLabels { kind }).inc();
    }

    /// Counts a request to the artifact endpoint.
    pub fn artifact_request(&self, code: u16) {
        self.artifact_requests.get_or_create(&CodeLabels { code }).inc();
    }

    /// Says whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// All of them in the text format.
    ///
    /// # Errors
    /// Never for any known reason; the encoder's signature allows it.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_their_labels() {
        let metrics = Metrics::default();
        metrics.reconciled("BpfProgram", Outcome::Failed);
        metrics.api_write("BpfNode");
        metrics.artifact_request(200);
        metrics.set_leader(true);
        let text = metrics.encode().unwrap();
        for line in [
            r#"bpfleet_operator_reconciles_total{kind="BpfProgram",outcome="failed"} 1"#,
            r#"bpfleet_operator_api_writes_total{kind="BpfNode"} 1"#,
            r#"bpfleet_operator_artifact_requests_total{code="200"} 1"#,
            "bpfleet_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
