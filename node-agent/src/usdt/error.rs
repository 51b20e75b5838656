//! What can be wrong with a probe of a binary.

use thiserror::Error;

/// A probe cannot be attached to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UsdtError {
    /// It is no program or library.
    #[error("it is no ELF program or library: {0}")]
    NotElf(String),
    /// It is for other processors, or for 32 bits.
    #[error("it is built for {found}, and this node runs {wanted}")]
    OtherMachine {
        /// What it is built for.
        found: String,
        /// What would do.
        wanted: &'static str,
    },
    /// It has no probes at all.
    #[error(
        "it defines no USDT probes (no section .note.stapsdt): was it built without them, or stripped of them?"
    )]
    NoProbes,
    /// It has no such probe.
    #[error("it defines no USDT probe {provider}:{name}; it has {known}")]
    NotFound {
        /// The provider.
        provider: String,
        /// The probe.
        name: String,
        /// Some of those it has.
        known: String,
    },
    /// Something in it is not as it should be.
    #[error("its USDT probes are malformed: {0}")]
    Malformed(String),
    /// It describes an argument in a way that is not known.
    #[error("USDT probe {probe}: argument {number} of {text:?} is not understood: {detail}")]
    Argument {
        /// The probe.
        probe: String,
        /// Which, from 1.
        number: usize,
        /// All arguments, as the binary describes them.
        text: String,
        /// Why.
        detail: String,
    },
    /// The object has no room for the arguments.
    #[error("USDT probe {probe} has {count} arguments, at most {limit} are possible")]
    TooManyArguments {
        /// The probe.
        probe: String,
        /// How many it has.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The object's own types are not as bpf/usdt.bpf.h has them.
    #[error(
        "the object's struct {type_name} is not one that bpfleet knows: {detail}; build it with bpf/usdt.bpf.h of \
         libbpf 0.8 to 1.7"
    )]
    Layout {
        /// The type.
        type_name: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The object's types cannot describe an argument.
    #[error(
        "an argument of USDT probe {0} is addressed by two registers, which objects can follow only if they are built \
         with bpf/usdt.bpf.h of libbpf 1.7 or newer: build it anew"
    )]
    NoIndex(String),
    /// The map of descriptions is full.
    #[error(
        "the probes need more than {0} descriptions of arguments, for which map __bpf_usdt_specs has room; define \
         BPF_USDT_MAX_SPEC_CNT larger in the object's source"
    )]
    Full(u32),
    /// Without cookies a probe is known by its address, which differs between processes.
    #[error(
        "this kernel gives uprobes no cookies (5.15 does), so that probes can only be followed in programs that are \
         not position-independent; this one is, or is a library"
    )]
    NeedsCookies,
    /// Two probes at one address.
    #[error(
        "two USDT probes are at address {0:#x}, and this kernel gives no cookies (5.15 does) to tell them apart"
    )]
    SameAddress(u64),
}
