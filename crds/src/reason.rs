//! Every reason that bpfleet gives in a status, a sentence each.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Declares an enum of reasons whose names are the words in the API.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// The reason with this word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                Self::parse(&word).ok_or_else(|| de::Error::custom(format!("unknown reason {word:?}")))
            }
        }

        impl From<$name> for String {
            fn from(reason: $name) -> Self {
                reason.as_str().to_owned()
            }
        }
    };
}

reasons! {
    /// Reasons in the conditions of a BpfProgram.
    ProgramReason {
        /// The operator has not looked at this generation yet.
        Pending,
        /// The spec and its objects are valid.
        Valid,
        /// The spec contradicts itself or its object: an unknown program, a target of the wrong kind, a missing target.
        InvalidSpec,
        /// The object is not an eBPF object that bpfleet can run.
        InvalidObject,
        /// The object is larger than bpfleet takes.
        ObjectTooLarge,
        /// The ConfigMap does not exist in bpfleet's namespace.
        ConfigMapNotFound,
        /// The ConfigMap has no such key in binaryData.
        ConfigMapKeyNotFound,
        /// The reference is not a valid image reference.
        InvalidImageReference,
        /// The registry has no such image.
        ImageNotFound,
        /// The image has no such file, or several that could be meant.
        ImageFileNotFound,
        /// The image's manifest or a layer cannot be used.
        InvalidImage,
        /// The registry cannot be reached, or answers with an error.
        RegistryUnavailable,
        /// The registry refuses the credentials, or asks for some.
        RegistryDenied,
        /// What the registry sent does not have the digest that was asked for.
        DigestMismatch,
        /// The pull secret does not exist, or is not a kubernetes.io/dockerconfigjson.
        InvalidPullSecret,
        /// The API server refused or could not be reached while the operator wrote.
        ApiUnavailable,
        /// Nothing that nodes report speaks against it.
        AllNodesCompatible,
        /// Some selected nodes cannot run it.
        IncompatibleNodes,
        /// It runs on every selected node with a live agent.
        AllNodesReady,
        /// Some nodes are on their way to the wanted revision.
        RollingOut,
        /// Some nodes tried and failed; what ran there before still runs.
        NodesFailed,
        /// No node is selected.
        NoNodesSelected,
        /// No selected node has a live agent.
        NoLiveAgents,
        /// The program is not accepted, so that nothing of this generation is rolled out.
        NotAccepted,
        /// The program is being deleted, and waits for nodes to let go of it.
        Deleting,
        /// bpfleet was uninstalled: nobody runs the program until it is installed again.
        Uninstalled,
        /// Nothing stands in the way.
        Progressing,
    }
}

reasons! {
    /// Reasons in the rows and conditions of a BpfNode.
    NodeReason {
        /// All that the node shall run, runs.
        AllProgramsRunning,
        /// The node has nothing to run.
        NothingToRun,
        /// Some programs failed.
        ProgramsFailed,
        /// Some programs are on their way.
        ProgramsPending,
        /// The program is being fetched, loaded or attached.
        Pending,
        /// The program is being removed.
        Removing,
        /// Pins or attachments of a program that shall go cannot be removed.
        RemoveFailed,
        /// The BpfRevision does not exist.
        RevisionNotFound,
        /// The BpfRevision has a field that this agent does not know; it is not half-applied.
        AgentTooOld,
        /// The BpfRevision cannot be read.
        InvalidRevision,
        /// The API server cannot be reached, and the revision is not in the node's cache.
        ApiUnavailable,
        /// The operator's artifact endpoint cannot be reached or refuses this node.
        ArtifactUnavailable,
        /// The bytes do not have the digest that the revision names.
        DigestMismatch,
        /// The node's disk cache cannot be read or written.
        CacheFailed,
        /// No variant has an object for this node's architecture.
        NoObjectForArchitecture,
        /// No variant fits this node: each asks for something that it lacks.
        NoVariantFits,
        /// The object is not an eBPF object that this agent can load.
        InvalidObject,
        /// A hook names a program that the object lacks, or a target of the wrong kind.
        InvalidHook,
        /// A map's settings do not suit the object's map.
        InvalidMap,
        /// bpfleet cannot load or attach this kind of program.
        UnsupportedProgram,
        /// This kernel cannot load or attach this kind of program.
        UnsupportedByKernel,
        /// The object has CO-RE relocations, and the kernel carries no BTF to relocate against.
        BtfMissing,
        /// The object needs a value of the kernel's configuration, which this kernel does not set or does not show.
        KernelConfigMissing,
        /// The object needs a function or variable of the kernel that this kernel does not have.
        KernelSymbolMissing,
        /// A tracepoint is to be attached to, and tracefs is not mounted on the node.
        TracefsMissing,
        /// The verifier rejected a program.
        VerifierRejected,
        /// The kernel refused a map or a program, other than by its verifier.
        LoadFailed,
        /// What the hook shall be attached to does not exist on this node.
        TargetNotFound,
        /// What the hook shall be attached to is held by another program.
        TargetBusy,
        /// The kernel refused to attach.
        AttachFailed,
        /// A hook that was attached is not any more.
        Detached,
        /// No BPF file system is mounted at the pin root, or pins cannot be made there.
        PinFailed,
        /// The process that loads the program crashed.
        LoaderCrashed,
        /// The process that loads the program took too long and was ended.
        LoaderTimedOut,
        /// The process that loads the program was killed, most likely for its memory.
        LoaderKilled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_and_has_a_meaning() {
        for reason in ProgramReason::ALL {
            assert_eq!(ProgramReason::parse(reason.as_str()), Some(*reason));
            assert!(reason.meaning().ends_with('.'));
        }
        for reason in NodeReason::ALL {
            assert_eq!(NodeReason::parse(reason.as_str()), Some(*reason));
            assert!(reason.meaning().ends_with('.'));
        }
    }
}
