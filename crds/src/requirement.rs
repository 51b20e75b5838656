//! What a variant requires of a node.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that a node must have: exactly one of the members.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("[has(self.btf), has(self.feature), has(self.function), has(self.tracepoint), has(self.kernelConfig), has(self.architecture), has(self.kernel)].filter(x, x).size() == 1").message("set exactly one member of a requirement: btf, feature, function, tracepoint, kernelConfig, architecture or kernel"))]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// BTF, the kernel's types: `Kernel` is the kernel's own, which fentry, lsm and tp_btf programs need;
    /// `Any` is whatever CO-RE can use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf: Option<BtfRequirement>,
    /// Something that the kernel's eBPF has, found out by trying: `program/TYPE`, `map/TYPE`, `attach/KIND`, or
    /// `helper/NAME`, which `@TYPE` behind it asks for in programs of one type. `bpfleet-agent facts --all`
    /// lists all of them. Examples: `map/ringbuf`, `attach/fentry`, `helper/bpf_ktime_get_tai_ns`,
    /// `helper/bpf_d_path@lsm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 127),
        regex(pattern = r"^(program|map|attach|helper)/[a-z0-9_.]+(@[a-z0-9_]+)?$")
    )]
    pub feature: Option<String>,
    /// A function of the kernel that can be attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionRequirement>,
    /// A tracepoint, and fields that its record has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracepoint: Option<TracepointRequirement>,
    /// An option of the kernel's configuration: `CONFIG_X=y` or another value as the configuration has it,
    /// `CONFIG_X=n` for one that is not set, or `CONFIG_X` for one that is built in or a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 255), regex(pattern = r"^CONFIG_[A-Za-z0-9_]+(=.+)?$"))]
    pub kernel_config: Option<String>,
    /// The node's architecture in Kubernetes' words: `amd64`, `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub architecture: Option<String>,
    /// Versions of the kernel, such as `>=5.8` or `>=4.18,<6.4`. A last resort: distributions carry features
    /// back to older versions and leave others out of newer ones, which the other members see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 2, max = 127),
        regex(pattern = r"^(>=|<=|>|<|=)\d+(\.\d+){0,2}(, ?(>=|<=|>|<|=)\d+(\.\d+){0,2})*$")
    )]
    pub kernel: Option<String>,
}

/// Which BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BtfRequirement {
    /// The kernel's own.
    Kernel,
    /// Any that CO-RE can use.
    Any,
}

/// A function of the kernel, and how it is to be attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionRequirement {
    /// Its name; with its module in front where several have one of this name, as in
    /// `nf_conntrack:nf_conntrack_in`.
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^([A-Za-z0-9_-]+:)?[A-Za-z0-9_.$]+$")
    )]
    pub name: String,
    /// How: one that kprobes can attach to may be out of reach for fentry.
    pub attach: FunctionAttach,
}

/// How a function is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FunctionAttach {
    /// By kprobe and kretprobe programs.
    Kprobe,
    /// By fentry, fexit and fmod_ret programs.
    Fentry,
    /// By kprobe.multi, kretprobe.multi and kprobe.session programs.
    KprobeMulti,
}

/// A tracepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracepointRequirement {
    /// `category/name`, such as `sched/sched_switch`.
    #[schemars(
        length(min = 3, max = 255),
        regex(pattern = r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    )]
    pub name: String,
    /// Fields of its record that must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 127)))]
    pub fields: Option<Vec<String>>,
}
