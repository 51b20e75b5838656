//! Which network interface a selector means on this node.

use std::{fs, io};

use bpfleet_fit::InterfaceSelector;
use nix::net::if_::if_nametoindex;

/// An interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
}

/// No interface fits a selector.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// No such name.
    #[error("this node has no network interface {0}; it has {1}")]
    NotFound(String, String),
    /// No default route.
    #[error("this node has no default route, so that interface.defaultRoute means no interface; name one")]
    NoDefaultRoute,
    /// Routes cannot be read.
    #[error("cannot read this node's routes from {0}: {1}")]
    Routes(&'static str, io::Error),
}

const IPV4_ROUTES: &str = "/proc/self/net/route";
const IPV6_ROUTES: &str = "/proc/self/net/ipv6_route";

/// Finds the interface.
pub fn resolve(selector: &InterfaceSelector) -> Result<Interface, InterfaceError> {
    let name = match selector {
        InterfaceSelector::Name(name) => name.clone(),
        InterfaceSelector::DefaultRoute => {
            let ipv4 = fs::read_to_string(IPV4_ROUTES).map_err(|e| InterfaceError::Routes(IPV4_ROUTES, e))?;
            let ipv6 = || match fs::read_to_string(IPV6_ROUTES) {
                // A kernel without IPv6 has no such file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                other => other.map_err(|e| InterfaceError::Routes(IPV6_ROUTES, e)),
            };
            match default_ipv4(&ipv4) {
                Some(name) => name,
                None => default_ipv6(&ipv6()?).ok_or(InterfaceError::NoDefaultRoute)?,
            }
        }
    };
    match if_nametoindex(name.as_str()) {
        Ok(index) => Ok(Interface { name, index }),
        Err(_) => Err(InterfaceError::NotFound(name, known_interfaces())),
    }
}

/// The index of the interface that a selector means, if there is one now.
pub fn index_of(selector: &InterfaceSelector) -> Option<u32> {
    resolve(selector).ok().map(|interface| interface.index)
}

/// The name of the interface with this index, if there still is one.
pub fn name_of(index: u32) -> Option<String> {
    nix::net::if_::if_nameindex().ok()?.iter().find_map(|interface| {
        (interface.index() == index).then(|| interface.name().to_string_lossy().into_owned())
    })
}

fn known_interfaces() -> String {
    match nix::net::if_::if_nameindex() {
        Ok(all) => {
            let mut names: Vec<_> = all
                .iter()
                .map(|i| i.name().to_string_lossy().into_owned())
                .collect();
            names.truncate(16);
            names.join(", ")
        }
        Err(error) => format!("interfaces that cannot be listed ({error})"),
    }
}

/// The default route with the least metric in the format of net/ipv4/fib_trie.c.
fn default_ipv4(routes: &str) -> Option<String> {
    const RTF_UP: u32 = 1;
    routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [name, destination, _, flags, _, _, metric, mask, ..] = fields.as_slice() else {
                return None;
            };
            let up = u32::from_str_radix(flags, 16).ok()? & RTF_UP != 0;
            let default = *destination == "00000000" && *mask == "00000000";
            (up && default).then_some((metric.parse::<u32>().ok()?, (*name).to_owned()))
        })
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, name)| name)
}

/// The default route with the least metric in the format of net/ipv6/route.c.
fn default_ipv6(routes: &str) -> Option<String> {
    const RTF_UP: u32 = 1;
    const RTF_REJECT: u32 = 0x0200;
    routes
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [destination, length, _, _, _, metric, _, _, flags, name] = fields.as_slice() else {
                return None;
            };
            let flags = u32::from_str_radix(flags, 16).ok()?;
            let usable = flags & RTF_UP != 0 && flags & RTF_REJECT == 0 && *name != "lo";
            let default = destination.bytes().all(|b| b == b'0') && *length == "00";
            (usable && default).then_some((u32::from_str_radix(metric, 16).ok()?, (*name).to_owned()))
        })
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    #[test]
    fn the_default_route_with_the_least_metric_wins() {
        let routes = format!(
            "{HEADER}wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
             eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
             eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        );
        assert_eq!(default_ipv4(&routes).as_deref(), Some("eth0"));
        assert_eq!(default_ipv4(HEADER), None);
        assert_eq!(default_ipv4("garbage\nmore garbage"), None);
    }

    #[test]
    fn ipv6_default_routes_that_reject_do_not_count() {
        let zero = "0".repeat(32);
        let routes = format!(
            "{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n\
             {zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth1\n"
        );
        assert_eq!(default_ipv6(&routes).as_deref(), Some("eth1"));
    }

    #[test]
    fn a_missing_interface_is_named_with_those_that_exist() {
        let error = resolve(&InterfaceSelector::Name("no-such-if".into()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-such-if") && error.contains("lo"), "{error}");
    }
}
