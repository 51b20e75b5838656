//! libbpf's wrappers, with BTF made here.
#![allow(clippy::unwrap_used)]

use bpf_oracle::libbpf::{Btf, BtfBuilder, Insn, Relo, calc, candidates, essential_name_len, logged, patch};

const EINVAL: i32 = -22;

/// Calls a helper that does not exist, which is how libbpf makes an instruction invalid.
const INVALID: Insn = {
    let [a, b, c, d] = 195_896_080_i32.to_ne_bytes();
    [0x85, 0, 0, 0, a, b, c, d]
};

/// `r1 = VALUE`.
fn mov(value: i32) -> Insn {
    let mut insn = [0xb7, 1, 0, 0, 0, 0, 0, 0];
    insn[4..].copy_from_slice(&value.to_ne_bytes());
    insn
}

/// Local BTF with `struct NAME { int x; }`, that struct, and where that access string is.
fn local(name: &str, access: &str) -> (Btf, u32, u32) {
    let mut btf = BtfBuilder::new().unwrap();
    let int = btf.int("int", 4, 1).unwrap();
    let structure = btf.structure(name, 4).unwrap();
    btf.field("x", int, 0).unwrap();
    let named = btf.structure(access, 0).unwrap();
    let btf = btf.finish().unwrap();
    let offset = (0..btf.bytes().len() as u32)
        .find(|at| btf.string(*at).as_deref() == Some(access))
        .unwrap();
    assert_eq!(btf.name(named).as_deref(), Some(access));
    (btf, structure, offset)
}

/// Vmlinux with a struct of that name, and modules with one each of their own, whose x is at 8 × (1 + i).
fn targets(name: &str, module_names: &[&str]) -> (Btf, Vec<Btf>) {
    let mut btf = BtfBuilder::new().unwrap();
    let int = btf.int("int", 4, 1).unwrap();
    btf.structure(name, 8).unwrap();
    btf.field("x", int, 32).unwrap();
    let vmlinux = btf.finish().unwrap();
    let modules = (1..).zip(module_names).map(|(at, name)| {
        let mut btf = BtfBuilder::split(&vmlinux).unwrap();
        btf.structure(name, 8 * at + 4).unwrap();
        btf.field("x", int, 64 * at).unwrap();
        btf.finish().unwrap()
    });
    let modules = modules.collect();
    (vmlinux, modules)
}

fn relo(type_id: u32, access_str_off: u32, kind: u32) -> Relo {
    Relo {
        insn_off: 0,
        type_id,
        access_str_off,
        kind,
    }
}

#[test]
fn modules_count_only_where_vmlinux_has_nothing() {
    let (local, root, access) = local("thing___mine", "0:0");
    assert_eq!(essential_name_len("thing___mine"), 5);
    let found = |vmlinux: &Btf, modules: &[Btf]| {
        let found = candidates(&local, root, vmlinux, modules).unwrap();
        found.iter().map(|c| (c.origin, c.id)).collect::<Vec<_>>()
    };
    let (vmlinux, modules) = targets("thing", &["thing___2"]);
    assert_eq!(found(&vmlinux, &modules), [(0, 2)]);
    let (vmlinux, modules) = targets("nothing", &["nothing", "thing"]);
    assert_eq!(modules[1].base().unwrap().type_count(), 3);
    assert_eq!(found(&vmlinux, &modules), [(2, 3)]);
    assert_eq!(found(&vmlinux, &[]), []);
    // The same from bytes.
    let again = [Btf::split(modules[1].bytes(), &vmlinux).unwrap()];
    assert_eq!(found(&vmlinux, &again), [(1, 3)]);
    let mut cands = candidates(&local, root, &vmlinux, &again).unwrap();
    let outcome = calc("p", &local, &relo(root, access, 0), 0, &mut cands).unwrap();
    assert_eq!((outcome.new_val, outcome.orig_val), (16, 0));
    let target = outcome.target.unwrap();
    assert_eq!(
        (target.origin, target.spec.root_type_id, target.spec.raw),
        (1, 3, vec![0, 0])
    );
    assert_eq!(outcome.local.accessors[1].name.as_deref(), Some("x"));
    assert_eq!(candidates(&local, 99, &vmlinux, &[]).unwrap_err(), EINVAL);
}

#[test]
fn candidates_that_disagree_are_ambiguous_and_others_are_dropped() {
    let (local, root, access) = local("thing", "0:0");
    let field = relo(root, access, 0);
    let (vmlinux, modules) = targets("nothing", &["thing", "thing"]);
    let mut cands = candidates(&local, root, &vmlinux, &modules).unwrap();
    assert_eq!(cands.len(), 2);
    let (result, log) = logged(|| calc("p", &local, &field, 7, &mut cands.clone()));
    assert_eq!(result, Err(EINVAL));
    assert!(
        log.contains("relo #7: field offset ambiguity: 128 != 64"),
        "{log}"
    );

    // One without the field: only the other one is left.
    let mut empty = BtfBuilder::split(&vmlinux).unwrap();
    empty.structure("thing", 4).unwrap();
    let modules = [empty.finish().unwrap(), modules[1].clone()];
    let mut two = candidates(&local, root, &vmlinux, &modules).unwrap();
    assert_eq!(two.len(), 2);
    let outcome = calc("p", &local, &field, 0, &mut two).unwrap();
    assert_eq!((outcome.new_val, outcome.target.unwrap().origin), (16, 2));
    assert_eq!(two.iter().map(|c| c.origin).collect::<Vec<_>>(), [2]);

    // None at all.
    cands.clear();
    let outcome = calc("p", &local, &field, 0, &mut cands).unwrap();
    assert!(outcome.poison && outcome.target.is_none());
    let poisoned = patch(&[[0x18, 1, 0, 0, 0, 0, 0, 0], [0; 8]], 0, &field, 0, &outcome).unwrap();
    assert_eq!(poisoned, [poisoned[0]; 2]);
    assert_eq!(poisoned[0], INVALID);
    // Half an instruction, and IDs that are none.
    assert_eq!(patch(&[[0x18; 8]], 0, &field, 0, &outcome), Err(EINVAL));
    assert_eq!(
        calc("p", &local, &relo(99, access, 0), 0, &mut cands),
        Err(EINVAL)
    );
    assert_eq!(
        calc("p", &local, &relo(root, 9999, 0), 0, &mut cands),
        Err(EINVAL)
    );
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let (local, root, access) = local("thing", "0:0");
    let field = relo(root, access, 0);
    let (vmlinux, _) = targets("thing", &[]);
    let mut cands = candidates(&local, root, &vmlinux, &[]).unwrap();
    let outcome = calc("p", &local, &field, 0, &mut cands).unwrap();
    assert_eq!(
        (outcome.orig_val, outcome.new_val, outcome.validate),
        (0, 4, true)
    );
    assert_eq!(patch(&[mov(0)], 0, &field, 0, &outcome).unwrap(), [mov(4)]);
    let (result, log) = logged(|| patch(&[mov(1)], 0, &field, 0, &outcome));
    assert_eq!(result, Err(EINVAL));
    assert!(log.contains("unexpected insn #0"), "{log}");
}

#[test]
fn access_strings_that_would_lead_libbpf_astray_are_refused() {
    let (vmlinux, _) = targets("thing", &[]);
    for (access, fine) in [
        ("0:0", true),
        ("0:-1", false),
        ("0:4294967295", false),
        ("0:1", false),
    ] {
        let (local, root, at) = local("thing", access);
        let mut cands = candidates(&local, root, &vmlinux, &[]).unwrap();
        let result = calc("p", &local, &relo(root, at, 0), 0, &mut cands);
        assert_eq!(result.is_ok(), fine, "{access}");
    }
}
