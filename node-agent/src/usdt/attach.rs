//! Writes a plan into an object's maps, and attaches its program.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use super::specs::Plan;
use crate::kernel::{
    link::{self, UserPlaces, When},
    map,
    perf::{self, Way},
};

/// Writes what a program will look up. `addresses` is needed only where there are no cookies.
pub fn fill(plan: &Plan, specs: BorrowedFd<'_>, addresses: Option<BorrowedFd<'_>>) -> io::Result<()> {
    for (number, spec) in &plan.specs {
        map::update(specs, &number.to_ne_bytes(), spec)?;
    }
    if plan.addresses.is_empty() {
        return Ok(());
    }
    let addresses = addresses.ok_or_else(|| {
        io::Error::other(format!(
            "the object has no map {}; include bpf/usdt.bpf.h",
            super::ADDRESSES
        ))
    })?;
    for (address, number) in &plan.addresses {
        map::update(addresses, &address.to_ne_bytes(), &number.to_ne_bytes())?;
    }
    Ok(())
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// One link for all places (6.6), for which the program must be loaded: `expected_attach_type` is
    /// BPF_TRACE_UPROBE_MULTI.
    Multi,
    /// A link for each place (5.15).
    Links,
    /// An event for each place, which attaches it as long as it is open.
    Events,
}

/// Attaches a program to all places, or to none. Dropping what it returns detaches; links can be pinned.
pub fn attach(program: BorrowedFd<'_>, binary: &Path, plan: &Plan, how: How) -> io::Result<Vec<OwnedFd>> {
    if how == How::Multi {
        let list = |value: fn(&super::Place) -> u64| plan.places.iter().map(value).collect::<Vec<u64>>();
        let places = UserPlaces {
            path: binary,
            offsets: &list(|place| place.offset),
            counters: &list(|place| place.counter),
            cookies: &list(|place| place.cookie),
            process: 0,
        };
        return link::uprobe_multi(program, &places, When::Entry).map(|link| vec![link]);
    }
    plan.places
        .iter()
        .map(|place| {
            let event = perf::uprobe_event(binary, place.offset, place.counter, false)?;
            let way = match how {
                How::Events => Way::Event,
                _ => Way::Link { cookie: place.cookie },
            };
            way.attach(event, program)
        })
        .collect()
}
