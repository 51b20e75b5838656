//! Loading a revision: the variants that the node may use, one after the other, until one suits it.

use std::{os::fd::OwnedFd, sync::Arc};

use bpfleet_crds::{
    BpfRevisionSpec, NodeReason,
    conditions::truncate,
    node::{MAX_EXPLANATION_BYTES, PassedOverVariant},
    revision::{RevisionObject, RevisionVariant},
};
use bpfleet_fit::{
    Candidate, candidates,
    question::{Answers, Question},
    requires::Machine,
    variant_questions,
};
use tokio::task;

use super::{execute::Executor, state::Running};
use crate::{
    load::{
        request::{Failure, Request},
        spawn::{Outcome, Refused},
    },
    notes::Notes,
    pins,
};

impl Executor {
    /// Loads a revision in the first variant that suits this node.
    pub(super) async fn load_revision(
        &self,
        name: &str,
        revision: &str,
        spec: &BpfRevisionSpec,
    ) -> Result<(Running, Vec<(String, OwnedFd)>), Failure> {
        let answers = self.answers(variant_questions(spec)).await?;
        let mut passed_over: Vec<PassedOverVariant> = Vec::new();
        let (mut all_lack_object, mut last) = (true, None);
        for candidate in candidates(spec, &self.machine(), &answers) {
            let (variant, object) = match candidate {
                Candidate::Possible { variant, object } => (variant, object),
                Candidate::PassedOver {
                    variant,
                    no_object,
                    why,
                    ..
                } => {
                    all_lack_object &= no_object;
                    passed_over.push(passed(variant, &why));
                    continue;
                }
            };
            all_lack_object = false;
            match self
                .load_variant(name, revision, spec, (variant, object), &passed_over)
                .await
            {
                Ok(loaded) => return Ok(loaded),
                Err(Refused::Failed(failure)) => return Err(failure),
                Err(Refused::Unsuited(failure)) => {
                    passed_over.push(passed(&variant.name, &failure.message));
                    last = Some(failure);
                }
            }
        }
        Err(match (last, spec.variants.len()) {
            (Some(failure), 1) => failure,
            (None, _) if all_lack_object => Failure::new(
                NodeReason::NoObjectForArchitecture,
                format!(
                    "no variant of {name} has an object for {}; add one, or exclude such nodes by nodeSelector",
                    self.machine().architecture
                ),
            ),
            _ => no_variant(name, &passed_over),
        })
    }

    /// Asks this node. What it cannot change its mind about before it boots again is probed once.
    async fn answers(&self, questions: Vec<Question>) -> Result<Answers, Failure> {
        if questions.is_empty() {
            return Ok(Answers::new());
        }
        let prober = self.prober().clone();
        task::spawn_blocking(move || {
            // A prober that panicked has answered nothing wrong.
            let mut prober = prober.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            prober.answers(questions)
        })
        .await
        .map_err(|error| Failure::new(NodeReason::LoadFailed, format!("probing this node: {error}")))
    }

    fn machine(&self) -> Machine {
        Machine {
            architecture: self.settings().architecture.clone(),
            kernel: self.settings().kernel_version,
        }
    }

    async fn load_variant(
        &self,
        name: &str,
        revision: &str,
        spec: &BpfRevisionSpec,
        (variant, object): (&RevisionVariant, &RevisionObject),
        passed_over: &[PassedOverVariant],
    ) -> Result<(Running, Vec<(String, OwnedFd)>), Refused> {
        let path = self.source().object(object).await?;
        let request = Request {
            program: name.to_owned(),
            revision: revision.to_owned(),
            variant: variant.name.clone(),
            passed_over: passed_over.to_vec(),
            hooks: spec.hooks.clone(),
            maps: spec.maps.clone().unwrap_or_default(),
            object: path,
            digest: object.digest,
            node: self.settings().node.clone(),
            lost: None,
        };
        let outcome = self.settings().spawner.load(&request).await?;
        for hook in &outcome.loaded.hooks {
            tracing::info!(
                program = name,
                revision,
                variant = variant.name,
                hook = hook.name,
                kind = hook.kind,
                target = hook.target,
                instead_of = hook.passed_over,
                attach_ms = hook.attach_micros as f64 / 1000.0,
                "attached"
            );
        }
        Ok(running(revision, &variant.name, passed_over, outcome))
    }
}

fn running(
    revision: &str,
    variant: &str,
    passed_over: &[PassedOverVariant],
    outcome: Outcome,
) -> (Running, Vec<(String, OwnedFd)>) {
    let ends_with_agent = |hook: &str| outcome.loaded.held_fds.iter().any(|held| held == hook);
    let hooks = outcome
        .loaded
        .hooks
        .iter()
        .map(|hook| pins::HookState::attached(&hook.name, ends_with_agent(&hook.name)))
        .collect();
    let notes = Notes {
        passed_over: passed_over.to_vec(),
        choices: outcome.loaded.choices(),
    };
    let running = Running {
        revision: revision.to_owned(),
        variant: Some(variant.to_owned()),
        hooks,
        notes: notes.bounded(),
        loaded: Some(Arc::new(outcome.loaded)),
    };
    (running, outcome.held)
}

fn passed(variant: &str, why: &str) -> PassedOverVariant {
    PassedOverVariant {
        name: variant.to_owned(),
        message: truncate(why, MAX_EXPLANATION_BYTES).to_owned(),
    }
}

fn no_variant(name: &str, passed_over: &[PassedOverVariant]) -> Failure {
    let each: Vec<String> = passed_over
        .iter()
        .map(|variant| format!("{} ({})", variant.name, variant.message))
        .collect();
    Failure::new(
        NodeReason::NoVariantFits,
        format!(
            "no variant of {name} fits this node: {}; add one that does, or exclude such nodes by nodeSelector",
            each.join("; ")
        ),
    )
}
