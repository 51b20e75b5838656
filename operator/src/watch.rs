//! The watches that keep the indexes up to date, and who is to look at what when something changes.

use std::{sync::Arc, time::Duration};

use bpfleet_crds::{
    BpfNode, BpfProgram, BpfRevision,
    names::{AGENT_COMPONENT, ARTIFACT_CONFIG_MAP, pods_of},
    node::ProgramStatus,
};
use futures::{StreamExt as _, future::join_all};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use kube::{
    Api, Client,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Config, DefaultBackoff},
    },
};

use crate::{
    context::Context,
    error::chain,
    index::{Change, follow},
    view::{AgentView, BpfNodeView, ConfigMapView, NodeView, ProgramView, RevisionView},
};

/// Looks at a program are put together for this long while its nodes report: a fleet reports by the thousand.
const TOGETHER: Duration = Duration::from_millis(200);

/// Longest wait between two attempts to watch. After the API server was away, the first attempt finds its
/// versions expired and only the next one lists anew: both waits count.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// kube's own waits, but for the longest.
#[derive(Default)]
struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(MAX_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Keeps all indexes up to date until the future is dropped.
pub async fn run(context: &Arc<Context>, client: &Client) {
    let namespace = context.namespace.as_str();
    let agents = pods_of(AGENT_COMPONENT);
    let all = Config::default;
    let watches: [futures::future::BoxFuture<'_, ()>; 6] = [
        Box::pin(follow(
            &context.programs,
            watcher::watcher(Api::<DeserializeGuard<BpfProgram>>::all(client.clone()), all())
                .backoff(Pauses::default()),
            "BpfProgram",
            |object| Some(ProgramView::new(object)),
            |name, _| context.program_queue.add(name),
        )),
        Box::pin(follow(
            &context.revisions,
            watcher::watcher(Api::<DeserializeGuard<BpfRevision>>::all(client.clone()), all())
                .backoff(Pauses::default()),
            "BpfRevision",
            |object| Some(RevisionView::new(object)),
            |_, change| revision_changed(context, change),
        )),
        Box::pin(follow(
            &context.bpf_nodes,
            watcher::watcher(Api::<DeserializeGuard<BpfNode>>::all(client.clone()), all())
                .backoff(Pauses::default()),
            "BpfNode",
            |object| Some(BpfNodeView::new(object)),
            |name, change| bpf_node_changed(context, name, change),
        )),
        Box::pin(follow(
            &context.nodes,
            watcher::watcher(Api::<Node>::all(client.clone()), all()).backoff(Pauses::default()),
            "Node",
            NodeView::new,
            |name, _| {
                context.node_queue.add(name);
                context.look_at_all_programs(TOGETHER);
            },
        )),
        Box::pin(follow(
            &context.agents,
            watcher::watcher(
                Api::<Pod>::namespaced(client.clone(), namespace),
                all().labels(&agents),
            )
            .backoff(Pauses::default()),
            "Pod",
            AgentView::new,
            |_, _| context.look_at_all_programs(TOGETHER),
        )),
        Box::pin(follow(
            &context.config_maps,
            watcher::watcher(
                Api::<PartialObjectMeta<ConfigMap>>::namespaced(client.clone(), namespace),
                all(),
            )
            .backoff(Pauses::default()),
            "ConfigMap",
            ConfigMapView::new,
            |name, _| config_map_changed(context, name),
        )),
    ];
    join_all(watches).await;
}

/// Notices when the Service in front of the artifact endpoint changes, until the future is dropped.
pub async fn service(context: Arc<Context>, services: Api<PartialObjectMeta<Service>>, name: String) {
    let only = Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher::watcher(services, only)
        .backoff(Pauses::default())
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => {
                context.publication_changed.notify_one();
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            // Without the watch, the Service is read anew from time to time.
            Err(error) => tracing::debug!(
                error = chain(&error),
                "the watch on Service {name} failed; trying again"
            ),
        }
    }
}

fn revision_changed(context: &Context, change: &Change<RevisionView>) {
    for view in [&change.old, &change.new].into_iter().flatten() {
        if let Ok(revision) = &view.object {
            context.program_queue.add(&revision.spec.program);
        }
    }
}

fn bpf_node_changed(context: &Context, name: &str, change: &Change<BpfNodeView>) {
    context.node_queue.add(name);
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        context.look_at_all_programs(TOGETHER);
        return;
    };
    // Facts and generations concern every program, a row only its own.
    let facts = |view: &BpfNodeView| {
        (
            view.architecture.clone(),
            view.kernel.clone(),
            view.btf,
            view.is_current(),
        )
    };
    if facts(old) != facts(new) {
        context.look_at_all_programs(TOGETHER);
        return;
    }
    let differs = |row: &ProgramStatus| old.row(&row.name) != Some(row) || new.row(&row.name) != Some(row);
    for row in old.rows.iter().chain(&new.rows).filter(|row| differs(row)) {
        context.program_queue.add_after(&row.name, TOGETHER);
    }
    if old.programs != new.programs {
        for entry in old.programs.iter().chain(&new.programs) {
            context.program_queue.add_after(&entry.name, TOGETHER);
        }
    }
}

fn config_map_changed(context: &Context, name: &str) {
    if name == ARTIFACT_CONFIG_MAP {
        context.publication_changed.notify_one();
        return;
    }
    let is_copy = name.starts_with(bpfleet_crds::names::OBJECT_CONFIG_MAP_PREFIX);
    for view in context.programs.list() {
        let Ok(program) = &view.object else { continue };
        let mut places = program
            .spec
            .variants
            .iter()
            .filter_map(|variant| variant.object.config_map.as_ref());
        if is_copy || places.any(|place| place.name == name) {
            context
                .program_queue
                .add_after(&view.name, if is_copy { TOGETHER } else { Duration::ZERO });
        }
    }
}
