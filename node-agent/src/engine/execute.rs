//! Doing one thing for one program.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
};

use bpfleet_crds::{BpfRevisionSpec, NodeReason};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task,
};

use super::{
    Settings,
    decide::Action,
    source::Source,
    state::{Program, Running},
    watch::Reattached,
};
use crate::{
    facts::Prober,
    layout::ProgramDir,
    load::request::{Failure, NodePaths},
    notes::Notes,
    pins,
};

/// How an action ended.
#[derive(Debug)]
pub enum Done {
    /// The revision is attached, its public paths are in place, and the one before is gone.
    Loaded(Running, Vec<(String, OwnedFd)>),
    /// The same, but not everything of the one before is gone.
    LoadedUntidily(Running, Vec<(String, OwnedFd)>, String),
    /// Some or all lost hooks of the running revision are attached again.
    Reattached(String, Reattached),
    /// It is not.
    Failed {
        /// Which.
        revision: String,
        /// Why.
        failure: Failure,
    },
    /// What did not belong is gone.
    Cleaned,
    /// The program is gone.
    Removed,
    /// Something of it is not.
    RemoveFailed(String),
}

/// Carries actions out.
pub struct Executor {
    settings: Settings,
    source: Arc<dyn Source>,
    loads: Semaphore,
    looks: Semaphore,
    prober: Arc<Mutex<Prober>>,
    /// The revisions that the cache was last cleaned for.
    cached: Mutex<BTreeSet<String>>,
}

impl Executor {
    /// With these settings.
    pub fn new(settings: Settings, source: Arc<dyn Source>, loads: Semaphore) -> Self {
        Self {
            prober: Arc::new(Mutex::new(Prober::new(&settings.facts))),
            settings,
            source,
            loads,
            looks: Semaphore::new(1),
            cached: Mutex::default(),
        }
    }

    fn dir(&self, program: &str) -> Result<ProgramDir, Failure> {
        ProgramDir::new(&self.settings.node.pin_root, program)
            .map_err(|error| Failure::new(NodeReason::PinFailed, error.to_string()))
    }

    /// What lies in bpffs at the start: complete revisions are adopted as they are, without detaching anything.
    pub async fn scan(&self) -> Result<BTreeMap<String, Program>, String> {
        let settings = self.settings.clone();
        task::spawn_blocking(move || {
            let mut programs = BTreeMap::new();
            for found in pins::scan(&settings.node.pin_root).map_err(|error| error.to_string())? {
                // Public paths may be missing too: they are looked at once, whatever was found.
                let mut program = Program {
                    leftovers: true,
                    ..Program::default()
                };
                if let Ok(dir) = ProgramDir::new(&settings.node.pin_root, &found.name) {
                    // After a crash between completing a revision and removing the one before, both run;
                    // which one stays is decided when it is known what is wanted.
                    program.running = found
                        .revisions
                        .iter()
                        .find_map(|name| observe(&dir, name, &settings.node));
                }
                tracing::info!(
                    program = found.name,
                    revision = program.running.as_ref().map(|running| running.revision.as_str()),
                    "adopted"
                );
                programs.insert(found.name, program);
            }
            Ok(programs)
        })
        .await
        .map_err(|error| error.to_string())?
    }

    /// Does one thing.
    pub async fn execute(&self, name: &str, action: Action) -> Done {
        match action {
            Action::Load(revision) => self.load_and_clean(name, revision).await,
            Action::Reattach {
                revision,
                variant,
                lost,
            } => match self.reattach_lost(name, &revision, &variant, &lost).await {
                Ok(Some(reattached)) => Done::Reattached(revision, reattached),
                Ok(None) => self.load_and_clean(name, revision).await,
                Err(failure) => Done::Failed { revision, failure },
            },
            Action::Clean(revision) => {
                self.blocking(name, move |dir| clean(dir, &revision).map(|()| Done::Cleaned))
                    .await
            }
            Action::Remove => {
                self.blocking(name, |dir| {
                    pins::remove_program(dir)
                        .map(|()| Done::Removed)
                        .map_err(|error| error.to_string())
                })
                .await
            }
        }
    }

    async fn load_and_clean(&self, name: &str, revision: String) -> Done {
        match self.load(name, &revision).await {
            Ok((running, held)) => {
                let revision = running.revision.clone();
                match self
                    .blocking(name, move |dir| clean(dir, &revision).map(|()| Done::Cleaned))
                    .await
                {
                    Done::RemoveFailed(message) => Done::LoadedUntidily(running, held, message),
                    _ => Done::Loaded(running, held),
                }
            }
            Err(failure) => Done::Failed { revision, failure },
        }
    }

    async fn blocking(
        &self,
        name: &str,
        work: impl FnOnce(&ProgramDir) -> Result<Done, String> + Send + 'static,
    ) -> Done {
        let dir = match self.dir(name) {
            Ok(dir) => dir,
            Err(failure) => return Done::RemoveFailed(failure.message),
        };
        match task::spawn_blocking(move || work(&dir)).await {
            Ok(Ok(done)) => done,
            Ok(Err(message)) => Done::RemoveFailed(message),
            Err(error) => Done::RemoveFailed(error.to_string()),
        }
    }

    /// Fetches and loads a revision, unless bpffs already holds it whole.
    async fn load(&self, name: &str, revision: &str) -> Result<(Running, Vec<(String, OwnedFd)>), Failure> {
        let dir = self.dir(name)?;
        if let Some(running) = self.adopt(&dir, revision).await {
            return Ok((running, Vec::new()));
        }
        let _permit = self.permit().await?;
        let spec = self.spec(name, revision).await?;
        self.load_revision(name, revision, &spec).await
    }

    async fn reattach_lost(
        &self,
        name: &str,
        revision: &str,
        variant: &str,
        lost: &[String],
    ) -> Result<Option<Reattached>, Failure> {
        let _permit = self.permit().await?;
        let spec = self.spec(name, revision).await?;
        self.reattach(name, revision, variant, lost, &spec).await
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let permit = self.loads.acquire().await;
        permit.map_err(|error| Failure::new(NodeReason::LoadFailed, error.to_string()))
    }

    async fn spec(&self, name: &str, revision: &str) -> Result<BpfRevisionSpec, Failure> {
        let spec = self.source.revision(revision).await?;
        if spec.program == name {
            return Ok(spec);
        }
        let message = format!(
            "revision {revision} is of program {}, not of {name}",
            spec.program
        );
        Err(Failure::new(NodeReason::InvalidRevision, message))
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who looks at hooks.
    pub(super) fn looks(&self) -> &Semaphore {
        &self.looks
    }

    pub(super) fn source(&self) -> &dyn Source {
        self.source.as_ref()
    }

    pub(super) fn prober(&self) -> &Arc<Mutex<Prober>> {
        &self.prober
    }

    async fn adopt(&self, dir: &ProgramDir, revision: &str) -> Option<Running> {
        let (dir, name, node) = (dir.clone(), revision.to_owned(), self.settings.node.clone());
        let running = task::spawn_blocking(move || observe(&dir, &name, &node))
            .await
            .ok()
            .flatten()?;
        running
            .hooks
            .iter()
            .all(|hook| hook.detached.is_none())
            .then_some(running)
    }

    /// Tells the source which revisions are in use, once for every change.
    pub fn clean_cache(&self, programs: &BTreeMap<String, Program>) {
        let in_use: BTreeSet<String> = programs
            .values()
            .flat_map(|program| {
                program
                    .wanted
                    .iter()
                    .cloned()
                    .chain(program.running.iter().map(|running| running.revision.clone()))
            })
            .collect();
        if let Ok(mut cached) = self.cached.lock()
            && *cached != in_use
        {
            self.source.retain(&in_use);
            *cached = in_use;
        }
    }
}

/// A complete revision as the kernel tells it.
fn observe(dir: &ProgramDir, revision: &str, node: &NodePaths) -> Option<Running> {
    let revision_dir = dir.revision(revision).ok()?;
    let hooks = pins::verify(dir, &revision_dir, node, |_| false).ok()?;
    if hooks.is_empty() {
        return None;
    }
    let variant = pins::variant(&revision_dir).ok().flatten();
    Some(Running {
        revision: revision.to_owned(),
        variant,
        hooks,
        notes: Notes::read(&revision_dir),
        loaded: None,
    })
}

/// Makes public paths those of this revision, then removes everything else.
fn clean(dir: &ProgramDir, keep: &str) -> Result<(), String> {
    let keep = dir.revision(keep).map_err(|error| error.to_string())?;
    pins::publish(dir, &keep)
        .map_err(|error| format!("public paths below {}: {error}", dir.path().display()))?;
    for parent in [dir.revisions(), dir.loading()] {
        for path in pins::entries(&parent).map_err(|error| error.to_string())? {
            if path != keep.path() {
                pins::remove_revision(dir, &crate::layout::RevisionDir::at(path))
                    .map_err(|error| error.to_string())?;
            }
        }
    }
    match std::fs::remove_dir(dir.loading()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}
