//! Interfaces and sockets.

use bpf_object::{Direction as SecDirection, ObjectInfo, Program, TcKind};
use bpfleet_crds::hook::{Direction, InterfaceTarget, SockMapTarget};

use super::{Attach, InterfaceSelector, needs};

/// Map types of `enum bpf_map_type` (include/uapi/linux/bpf.h) that hold sockets.
const BPF_MAP_TYPE_SOCKMAP: u32 = 15;
const BPF_MAP_TYPE_SOCKHASH: u32 = 18;

pub(super) fn interface(
    program: &Program,
    given: Option<InterfaceTarget>,
) -> Result<(InterfaceSelector, InterfaceTarget), String> {
    let given = given.ok_or_else(|| {
        needs(
            program,
            "interface",
            "which interface",
            "interface: {defaultRoute: true}",
        )
    })?;
    let selector = match (&given.name, given.default_route.unwrap_or(false)) {
        (Some(name), false) => InterfaceSelector::Name(name.clone()),
        (None, true) => InterfaceSelector::DefaultRoute,
        _ => return Err("set interface.name, or interface.defaultRoute: true, and not both".to_owned()),
    };
    Ok((selector, given))
}

pub(super) fn tc(
    program: &Program,
    kind: TcKind,
    section: Option<SecDirection>,
    given: Option<InterfaceTarget>,
) -> Result<Attach, String> {
    let (interface, given) = interface(program, given)?;
    if given.xdp_mode.is_some() {
        return Err("interface.xdpMode is for xdp programs".to_owned());
    }
    let section = section.map(|direction| match direction {
        SecDirection::Ingress => Direction::Ingress,
        SecDirection::Egress => Direction::Egress,
    });
    let direction = match (given.direction, section) {
        (Some(given), Some(section)) if given != section => {
            return Err(format!(
                "interface.direction {given:?} contradicts SEC(\"{}\") of program {}; remove one of them",
                program.section, program.name
            ));
        }
        (given, section) => given.or(section).ok_or_else(|| {
            format!(
                "program {} says SEC(\"{}\") and thus no direction: give interface.direction, Ingress or Egress",
                program.name, program.section
            )
        })?,
    };
    Ok(match kind {
        TcKind::Tcx => Attach::Tcx { interface, direction },
        _ => Attach::TcFilter { interface, direction },
    })
}

pub(super) fn sock_map(
    object: &ObjectInfo,
    program: &Program,
    given: Option<SockMapTarget>,
) -> Result<Attach, String> {
    let holds_sockets = |map_type: u32| matches!(map_type, BPF_MAP_TYPE_SOCKMAP | BPF_MAP_TYPE_SOCKHASH);
    let candidates: Vec<&str> = object
        .maps
        .iter()
        .filter(|map| holds_sockets(map.map_type))
        .map(|map| map.name.as_str())
        .collect();
    let name = match (given, candidates.as_slice()) {
        (Some(SockMapTarget { map }), _) => map,
        (None, [only]) => (*only).to_owned(),
        (None, []) => {
            return Err(format!(
                "program {} needs a map of type SOCKMAP or SOCKHASH in its object",
                program.name
            ));
        }
        (None, several) => {
            return Err(format!(
                "program {} can go to several maps ({}): name one in target.sockMap.map",
                program.name,
                several.join(", ")
            ));
        }
    };
    match object.map(&name) {
        None => Err(format!(
            "the object has no map {name}; maps that hold sockets: {}",
            candidates.join(", ")
        )),
        Some(map) if !holds_sockets(map.map_type) => Err(format!(
            "map {name} is of type {}, not SOCKMAP or SOCKHASH; maps that hold sockets: {}",
            map.type_name(),
            candidates.join(", ")
        )),
        Some(_) => Ok(Attach::SockMap { map: name }),
    }
}
