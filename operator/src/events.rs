//! Events on BpfPrograms, for `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{error::chain, program::report::Note};

/// Writes events.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Writes events as the operator; `instance` tells its replicas apart.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter {
            controller: "bpfleet-operator".to_owned(),
            instance: Some(instance),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Writes one event. A failure is logged only: events are a courtesy, status is the truth.
    pub async fn publish(&self, regarding: &ObjectReference, note: Note) {
        let event = Event {
            type_: if note.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: note.reason,
            note: Some(note.message),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, regarding).await {
            tracing::warn!(
                error = chain(&error),
                reason = event.reason,
                "cannot write an event"
            );
        }
    }
}
