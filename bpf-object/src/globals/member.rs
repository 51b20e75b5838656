//! Members of structs and unions by name, through anonymous ones.

use btf::{Btf, Type};

use super::MAX_DEPTH;
use super::budget::{Budget, Exceeded};

/// A member that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) type_id: u32,
    /// Bits from the start of the outermost struct or union.
    pub(super) bit_offset: u64,
    /// Width of a bit field, else 0.
    pub(super) bit_size: u32,
    /// For every struct or union on the way: which of its members, and whether it is a union.
    pub(super) route: Vec<(u32, bool)>,
}

impl Found {
    /// Whether the two are different members of one union on the way.
    pub(super) fn shares_bytes_with(&self, other: &Found) -> bool {
        self.route
            .iter()
            .zip(&other.route)
            .find(|(a, b)| a != b)
            .is_some_and(|(a, _)| a.1)
    }
}

/// The member of this name; those of anonymous members count as the outer one's, as in C.
pub(super) fn find<'b>(
    btf: &'b Btf<'b>,
    t: Type<'b>,
    name: &[u8],
    budget: &mut Budget,
) -> Result<Option<Found>, Exceeded> {
    let mut found = None;
    walk(btf, t, budget, &mut |member| {
        if member.name != name {
            return true;
        }
        found = Some(Found {
            type_id: member.type_id,
            bit_offset: member.bit_offset,
            bit_size: member.bit_size,
            route: member.route.to_vec(),
        });
        false
    })?;
    Ok(found)
}

/// Names of at most `max` members, and how many more there are. What the budget leaves out is left out.
pub(super) fn names<'b>(
    btf: &'b Btf<'b>,
    t: Type<'b>,
    budget: &mut Budget,
    max: usize,
) -> (Vec<&'b str>, usize) {
    let (mut names, mut more) = (Vec::new(), 0);
    let _ = walk(btf, t, budget, &mut |member| {
        match std::str::from_utf8(member.name) {
            Ok(name) if names.len() < max => names.push(name),
            _ => more += 1,
        }
        true
    });
    (names, more)
}

/// A member that is walked over.
pub(super) struct Visited<'b, 'r> {
    pub(super) name: &'b [u8],
    pub(super) type_id: u32,
    pub(super) bit_offset: u64,
    pub(super) bit_size: u32,
    route: &'r [(u32, bool)],
}

/// Visits every named member, until `visit` says false.
fn walk<'b>(
    btf: &'b Btf<'b>,
    t: Type<'b>,
    budget: &mut Budget,
    visit: &mut dyn FnMut(Visited<'b, '_>) -> bool,
) -> Result<(), Exceeded> {
    let mut route = Vec::new();
    walk_into(btf, t, 0, &mut route, budget, visit).map(|_| ())
}

fn walk_into<'b>(
    btf: &'b Btf<'b>,
    t: Type<'b>,
    base: u64,
    route: &mut Vec<(u32, bool)>,
    budget: &mut Budget,
    visit: &mut dyn FnMut(Visited<'b, '_>) -> bool,
) -> Result<bool, Exceeded> {
    if route.len() >= MAX_DEPTH {
        return Err(Exceeded);
    }
    let union = t.kind() == btf::Kind::Union;
    for (index, member) in t.members().enumerate() {
        let name = member.name_bytes();
        budget.look(name.len())?;
        let bit_offset = base.saturating_add(member.bit_offset.into());
        route.push((u32::try_from(index).unwrap_or(u32::MAX), union));
        let go_on = if name.is_empty() {
            match btf.get(member.type_id).and_then(Type::resolved) {
                Some(inner) if inner.kind().is_composite() => {
                    walk_into(btf, inner, bit_offset, route, budget, visit)?
                }
                _ => true,
            }
        } else {
            visit(Visited {
                name,
                type_id: member.type_id,
                bit_offset,
                bit_size: member.bit_size,
                route: route.as_slice(),
            })
        };
        route.pop();
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(steps: &[(u32, bool)]) -> Found {
        Found {
            type_id: 1,
            bit_offset: 0,
            bit_size: 0,
            route: steps.to_vec(),
        }
    }

    #[test]
    fn members_of_one_union_share_bytes_and_others_do_not() {
        let union_first = route(&[(2, false), (0, true)]);
        let union_second = route(&[(2, false), (1, true), (0, false)]);
        let union_second_too = route(&[(2, false), (1, true), (1, false)]);
        let plain = route(&[(0, false)]);
        assert!(union_first.shares_bytes_with(&union_second));
        assert!(!union_second.shares_bytes_with(&union_second_too));
        assert!(!union_first.shares_bytes_with(&plain));
        assert!(!union_first.shares_bytes_with(&union_first.clone()));
    }
}
