//! What the reconcilers share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bpfleet_crds::{BpfNode, BpfProgram, BpfRevision};
use jiff::{Timestamp, Unit};
use kube::{Api, Client};
use tokio::sync::Notify;

use crate::{
    artifacts::store::Store,
    events::Events,
    index::Index,
    metrics::Metrics,
    node::Desired,
    objects::resolve::Resolver,
    queue::Queue,
    view::{AgentView, BpfNodeView, ConfigMapView, NodeView, ProgramView, RevisionView},
};

/// What the reconcilers share: what is remembered of the API, and the ways to it.
pub struct Context {
    /// bpfleet's namespace.
    pub namespace: String,
    /// BpfPrograms.
    pub programs: Index<ProgramView>,
    /// BpfRevisions.
    pub revisions: Arc<Index<RevisionView>>,
    /// BpfNodes.
    pub bpf_nodes: Index<BpfNodeView>,
    /// Linux nodes.
    pub nodes: Index<NodeView>,
    /// Pods of the agent.
    pub agents: Index<AgentView>,
    /// ConfigMaps of the namespace.
    pub config_maps: Index<ConfigMapView>,
    /// BpfPrograms that wait for a look.
    pub program_queue: Arc<Queue>,
    /// Nodes that wait for a look.
    pub node_queue: Arc<Queue>,
    /// The artifact endpoint's ConfigMap changed.
    pub publication_changed: Notify,
    /// What was found for object references.
    pub resolver: Resolver,
    /// Objects by content.
    pub store: Arc<Store>,
    /// BpfPrograms in the API.
    pub program_api: Api<BpfProgram>,
    /// BpfRevisions in the API.
    pub revision_api: Api<BpfRevision>,
    /// BpfNodes in the API.
    pub bpf_node_api: Api<BpfNode>,
    /// Events.
    pub events: Events,
    /// Numbers about all this.
    pub metrics: Arc<Metrics>,
    desired: Mutex<HashMap<String, Desired>>,
}

impl Context {
    /// A context that knows nothing yet.
    pub fn new(
        client: &Client,
        namespace: String,
        store: Arc<Store>,
        revisions: Arc<Index<RevisionView>>,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            namespace,
            programs: Index::default(),
            revisions,
            bpf_nodes: Index::default(),
            nodes: Index::default(),
            agents: Index::default(),
            config_maps: Index::default(),
            program_queue: Arc::default(),
            node_queue: Arc::default(),
            publication_changed: Notify::new(),
            resolver: Resolver::default(),
            store,
            program_api: Api::all(client.clone()),
            revision_api: Api::all(client.clone()),
            bpf_node_api: Api::all(client.clone()),
            events,
            metrics,
            desired: Mutex::default(),
        }
    }

    /// The time, in whole seconds as the API keeps it.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.round(Unit::Second).unwrap_or(now)
    }

    /// Whether all that decisions depend on has been seen.
    pub fn is_synced(&self) -> bool {
        self.programs.is_synced()
            && self.revisions.is_synced()
            && self.bpf_nodes.is_synced()
            && self.nodes.is_synced()
            && self.agents.is_synced()
            && self.config_maps.is_synced()
    }

    /// Returns once all that decisions depend on has been seen.
    pub async fn wait_synced(&self) {
        self.programs.wait_synced().await;
        self.revisions.wait_synced().await;
        self.bpf_nodes.wait_synced().await;
        self.nodes.wait_synced().await;
        self.agents.wait_synced().await;
        self.config_maps.wait_synced().await;
    }

    /// What this process last decided about a program.
    pub fn desired(&self, program: &str) -> Option<Desired> {
        self.decisions().get(program).cloned()
    }

    /// Decides about a program; nodes are looked at if it is another decision.
    pub fn decide(&self, program: &str, desired: Desired) {
        let before = self.decisions().insert(program.to_owned(), desired.clone());
        if before.as_ref() != Some(&desired) {
            self.look_at_all_nodes();
        }
    }

    /// Forgets a program that is gone; its entries leave the nodes.
    pub fn forget(&self, program: &str) {
        self.decisions().remove(program);
        self.resolver.forget(program);
        self.look_at_all_nodes();
    }

    /// Forgets every decision: another replica may have made others meanwhile.
    pub fn forget_decisions(&self) {
        self.decisions().clear();
    }

    /// Every BpfProgram that exists, with what was decided about it, if anything was.
    pub fn all_desired(&self) -> BTreeMap<String, Option<Desired>> {
        let names = self.programs.names();
        let decisions = self.decisions();
        names
            .into_iter()
            .map(|name| (name.clone(), decisions.get(&name).cloned()))
            .collect()
    }

    /// The same for a node without a BpfNode, whose entries cannot just stay: what was not decided yet is as
    /// each BpfProgram's status says.
    pub fn all_desired_or_last_known(&self) -> BTreeMap<String, Option<Desired>> {
        let mut all = self.all_desired();
        for (name, desired) in &mut all {
            if desired.is_none()
                && let Some(view) = self.programs.get(name)
                && let Ok(program) = &view.object
            {
                *desired = Some(Desired::last_known(program));
            }
        }
        all
    }

    /// Asks for a look at every node.
    pub fn look_at_all_nodes(&self) {
        for name in self.nodes.names().iter().chain(&self.bpf_nodes.names()) {
            self.node_queue.add(name);
        }
    }

    /// Asks for a look at every program, soon.
    pub fn look_at_all_programs(&self, wait: std::time::Duration) {
        for name in self.programs.names() {
            self.program_queue.add_after(&name, wait);
        }
    }

    fn decisions(&self) -> MutexGuard<'_, HashMap<String, Desired>> {
        self.desired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
