//! What the tests of this binary share.

use std::sync::OnceLock;

use bpfleet_e2e::Cluster;

/// The cluster of all tests that neither kill the API server nor need the operator to be alone. It lives
/// as long as the test process; the harness ends it with that.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap())
}
