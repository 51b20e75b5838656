//! Descriptions of arguments and their numbers: equal ones are put into the map once.

use std::collections::BTreeMap;

use super::{elf::Probe, error::UsdtError, layout::Layout};

/// The descriptions of all probes that an object's programs are attached to.
#[derive(Clone, Debug)]
pub struct Specs {
    layout: Layout,
    capacity: u32,
    cookies: bool,
    known: BTreeMap<Vec<u8>, u32>,
    addresses: BTreeMap<u64, u32>,
}

/// Where a uprobe goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the binary's file.
    pub offset: u64,
    /// Where in the file the counter of those who follow the probe is, or 0.
    pub counter: u64,
    /// The cookie: the number of the description.
    pub cookie: u64,
}

/// How a program is attached to a probe. First the maps are written, then the uprobes are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The uprobes.
    pub places: Vec<Place>,
    /// Descriptions by their numbers, for the map of descriptions.
    pub specs: BTreeMap<u32, Vec<u8>>,
    /// Numbers of descriptions by address, for the other map; none where there are cookies.
    pub addresses: BTreeMap<u64, u32>,
}

impl Specs {
    /// None yet. `capacity` is how many the object's map has room for, `cookies` whether the kernel gives uprobes
    /// cookies (5.15) and the object was told so (`LINUX_HAS_BPF_COOKIE`).
    pub fn new(layout: Layout, capacity: u32, cookies: bool) -> Self {
        Self {
            layout,
            capacity,
            cookies,
            known: BTreeMap::new(),
            addresses: BTreeMap::new(),
        }
    }

    /// Attaches a program to all places of a probe. `name` is the probe's, for messages, `cookie` what the program
    /// is told. After an error nothing of it is counted.
    pub fn plan(&mut self, name: &str, probes: &[Probe], cookie: u64) -> Result<Plan, UsdtError> {
        let mut next = self.clone();
        let mut plan = Plan::default();
        for probe in probes {
            let spec = self.layout.describe(name, &probe.arguments, cookie)?;
            let number = match next.known.get(&spec) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(next.known.len()).unwrap_or(u32::MAX);
                    if number >= self.capacity {
                        return Err(UsdtError::Full(self.capacity));
                    }
                    next.known.insert(spec.clone(), number);
                    number
                }
            };
            plan.specs.insert(number, spec);
            if !self.cookies {
                let address = probe.address.ok_or(UsdtError::NeedsCookies)?;
                if next
                    .addresses
                    .insert(address, number)
                    .is_some_and(|before| before != number)
                {
                    return Err(UsdtError::SameAddress(address));
                }
                plan.addresses.insert(address, number);
            }
            plan.places.push(Place {
                offset: probe.offset,
                counter: probe.counter,
                cookie: number.into(),
            });
        }
        *self = next;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usdt::{
        argument::{Argument, Operand},
        layout::tests::before_1_7,
    };

    fn specs(capacity: u32, cookies: bool) -> Specs {
        Specs::new(before_1_7(), capacity, cookies)
    }

    fn place(address: u64, value: i64) -> Probe {
        Probe {
            offset: address - 0x40_0000,
            counter: 0,
            address: Some(address),
            arguments: vec![Argument {
                size: 4,
                signed: true,
                operand: Operand::Constant(value),
            }],
        }
    }

    #[test]
    fn equal_descriptions_share_a_number_also_between_probes() {
        let mut specs = specs(2, true);
        let first = specs
            .plan(
                "a",
                &[place(0x40_1000, 1), place(0x40_2000, 2), place(0x40_3000, 1)],
                0,
            )
            .unwrap();
        let cookies: Vec<u64> = first.places.iter().map(|place| place.cookie).collect();
        assert_eq!(cookies, [0, 1, 0]);
        assert!(first.specs.keys().eq(&[0, 1]) && first.addresses.is_empty());
        let second = specs.plan("b", &[place(0x40_4000, 2)], 0).unwrap();
        assert_eq!((second.places[0].offset, second.places[0].cookie), (0x4000, 1));
        assert_eq!(second.specs[&1], first.specs[&1]);
        // What the program is told is part of it, and the map is full.
        assert_eq!(
            specs.plan("c", &[place(0x40_4000, 2)], 7),
            Err(UsdtError::Full(2))
        );
        assert!(specs.plan("b", &[place(0x40_5000, 1)], 0).is_ok());
    }

    #[test]
    fn without_cookies_an_address_stands_for_one_description() {
        let mut specs = specs(8, false);
        let plan = specs.plan("a", &[place(0x40_1000, 1)], 0).unwrap();
        assert_eq!(plan.addresses, [(0x40_1000, 0)].into());
        assert!(specs.plan("a", &[place(0x40_1000, 1)], 0).is_ok());
        let other = specs.plan("b", &[place(0x40_1000, 2)], 0);
        assert_eq!(other, Err(UsdtError::SameAddress(0x40_1000)));
        let movable = Probe {
            address: None,
            ..place(0x40_1000, 1)
        };
        assert_eq!(specs.plan("a", &[movable], 0), Err(UsdtError::NeedsCookies));
    }
}
