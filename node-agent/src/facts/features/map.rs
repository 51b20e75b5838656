//! Types of maps.

use std::{io, os::fd::OwnedFd};

use aya::{maps::MapType, sys::is_map_supported};
use aya_obj::generated::bpf_map_type;
use bpfleet_fit::question::Answer;

use super::super::refusal;
use crate::kernel::probe::{self, map};

/// `BPF_MAP_TYPE_INSN_ARRAY` (6.19), which aya does not know: a value is a `struct bpf_insn_array_value`.
const INSN_ARRAY: u32 = 34;
const INSN_ARRAY_VALUE: u32 = 16;

/// Whether maps of this type can be made.
pub fn answer(map_type: u32) -> Answer {
    create(map_type).unwrap_or_else(|| Answer::Unknown("the agent does not know how to make one".to_owned()))
}

/// aya knows how to make most.
fn create(map_type: u32) -> Option<Answer> {
    let made = |made: io::Result<OwnedFd>| match made {
        Ok(_) => Answer::Yes,
        Err(error) => decide(probe::errno(&error)),
    };
    if map_type == INSN_ARRAY {
        return Some(made(map::create(map_type, 4, INSN_ARRAY_VALUE)));
    }
    let known = MapType::try_from(bpf_map_type::try_from(map_type).ok()?).ok()?;
    Some(match known {
        MapType::SkStorage | MapType::InodeStorage | MapType::TaskStorage | MapType::CgrpStorage => {
            made(map::create_local_storage(map_type))
        }
        known => match is_map_supported(known) {
            Ok(true) => Answer::Yes,
            Ok(false) => decide(libc::EINVAL),
            Err(error) => decide(probe::errno(&error.io_error)),
        },
    })
}

/// EINVAL is how the kernel refuses types that it does not know or was built without, E2BIG fields that it does not
/// know.
fn decide(errno: i32) -> Answer {
    match errno {
        libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP | probe::ENOTSUPP => Answer::No(format!(
            "this kernel makes no such maps ({})",
            refusal::name(errno)
        )),
        // Before 5.11 also the limit of locked memory is EPERM.
        errno => refusal::unknown("making such a map", errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_can_be_made_and_maps_of_the_future_not() {
        assert_eq!(answer(2), Answer::Yes);
        assert!(matches!(answer(5000), Answer::Unknown(_)));
        assert!(matches!(decide(libc::EINVAL), Answer::No(_)));
        assert!(matches!(decide(libc::EPERM), Answer::Unknown(_)));
    }
}
