//! What the tests of this binary share.

use std::sync::OnceLock;

use bpfleet_e2e::Cluster;

/// The cluster of all tests that neither kill the API server nor need the operator to be alone. It lives
/// as long as the test process; the harness ends it with that.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let started = CLUSTER.get_or_init(|| Cluster::start().map_err(|error| format!("{error:?}")));
    started
        .as_ref()
        .unwrap_or_else(|error| panic!("the shared cluster did not start: {error}"))
}
