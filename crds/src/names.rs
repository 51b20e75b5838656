//! Names that operator, agent, chart and tests must agree on.

/// API group of every resource of bpfleet.
pub const GROUP: &str = "bpfleet.io";
/// The version all resources are served in.
pub const VERSION: &str = "v1alpha1";
/// Namespace that the chart installs into, and the only one whose ConfigMaps and Secrets the operator reads.
pub const DEFAULT_NAMESPACE: &str = "bpfleet-system";

/// Service account of the operator.
pub const OPERATOR_SERVICE_ACCOUNT: &str = "bpfleet-operator";
/// Service account of the agents.
pub const AGENT_SERVICE_ACCOUNT: &str = "bpfleet-agent";
/// Deployment of the operator.
pub const OPERATOR_DEPLOYMENT: &str = "bpfleet-operator";
/// DaemonSet of the agents.
pub const AGENT_DAEMON_SET: &str = "bpfleet-agent";
/// Pod of `helm test`, which stays until the next one so that its log can be read.
pub const VERIFY_POD: &str = "bpfleet-verify";
/// Lease that the operator's replicas elect their leader with.
pub const OPERATOR_LEASE: &str = "bpfleet-operator";

/// Audience of the tokens that agents show to the artifact endpoint. Not the API server's: a token
/// stolen from there cannot be replayed against the API.
pub const ARTIFACT_AUDIENCE: &str = "artifacts.bpfleet.io";
/// ConfigMap in the operator's namespace that tells agents how to reach the artifact endpoint.
pub const ARTIFACT_CONFIG_MAP: &str = "bpfleet-artifacts";
/// Key of [`ARTIFACT_CONFIG_MAP`]: PEM certificate of the CA that signed the endpoint's certificate.
pub const ARTIFACT_CA_KEY: &str = "ca.crt";
/// Key of [`ARTIFACT_CONFIG_MAP`]: `IP:PORT` to dial.
pub const ARTIFACT_ADDRESS_KEY: &str = "address";
/// Key of [`ARTIFACT_CONFIG_MAP`]: the DNS name the endpoint's certificate is for.
pub const ARTIFACT_SERVER_NAME_KEY: &str = "server-name";
/// Secret with the CA and the certificate of the artifact endpoint.
pub const ARTIFACT_TLS_SECRET: &str = "bpfleet-artifacts-tls";
/// Service in front of the artifact endpoint.
pub const ARTIFACT_SERVICE: &str = "bpfleet-artifacts";
/// Name of its port.
pub const ARTIFACT_PORT_NAME: &str = "artifacts";
/// Path prefix of objects at the artifact endpoint; a digest (`sha256:<hex>`) follows.
pub const ARTIFACT_OBJECTS_PATH: &str = "/v1/objects/";

/// Label that every object of the chart carries, with the value [`APP_NAME`].
pub const APP_LABEL: &str = "app.kubernetes.io/name";
/// Value of [`APP_LABEL`].
pub const APP_NAME: &str = "bpfleet";
/// Label that tells the agent's pods from the operator's.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Value of [`COMPONENT_LABEL`] on agent pods.
pub const AGENT_COMPONENT: &str = "agent";
/// Value of [`COMPONENT_LABEL`] on operator pods.
pub const OPERATOR_COMPONENT: &str = "operator";

/// Label selector of a component's pods.
pub fn pods_of(component: &str) -> String {
    format!("{APP_LABEL}={APP_NAME},{COMPONENT_LABEL}={component}")
}

/// Label on BpfRevisions and copied objects: the BpfProgram they belong to.
pub const PROGRAM_LABEL: &str = "bpfleet.io/program";
/// Finalizer on a BpfProgram: kept until every live node has let go of it.
pub const FINALIZER: &str = "bpfleet.io/nodes";
/// Name prefix of the immutable ConfigMaps that hold objects by content; the sha256 in hex follows.
pub const OBJECT_CONFIG_MAP_PREFIX: &str = "bpfleet-object-";
/// The one key in such a ConfigMap's `binaryData`.
pub const OBJECT_CONFIG_MAP_KEY: &str = "object";
