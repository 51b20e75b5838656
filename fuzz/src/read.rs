//! Reads everything that BTF says.

use btf::{Btf, BtfExt, Builder, Definition, Type};

/// Asks everything of every type, and writes it again: what is read from that is the same.
pub fn read_all(btf: &Btf<'_>) {
    assert_eq!(btf.types().count() as u32, btf.len() - btf.first_id());
    // Before there is a table of names, they are looked for without.
    let names: Vec<&[u8]> = btf
        .types()
        .map(|t| btf::essential(t.name_bytes()))
        .filter(|n| !n.is_empty())
        .collect();
    let without = btf.candidates_of(&names);
    for (name, ids) in names.iter().zip(without) {
        assert_eq!(btf.candidates(name).collect::<Vec<_>>(), ids, "{name:?}");
    }
    let mut definitions = Vec::new();
    for t in btf.types() {
        read_type(btf, t);
        definitions.push(t.definition());
    }
    // Beyond its own: the base's, void, and nothing.
    for id in [0, 1, btf.first_id().wrapping_sub(1), btf.len(), u32::MAX] {
        let _ = (btf.get(id), btf.size(id), btf.c_name(id));
    }
    for at in [0, 1, btf.strings().len() as u32, u32::MAX] {
        let _ = (btf.string(at), btf.text(at));
    }
    again(btf, &definitions);
}

fn read_type(btf: &Btf<'_>, t: Type<'_>) {
    let id = t.id();
    let _ = (
        t.resolved().map(|t| t.id()),
        btf.size(id),
        t.linkage(),
        t.component(),
        t.int(),
    );
    let counts = [
        t.members().count(),
        t.enumerators().count(),
        t.parameters().count(),
        t.variables().count(),
    ];
    assert!(counts.into_iter().all(|count| count <= t.count() as usize));
    for member in t.members() {
        let _ = (member.name(), member.has_name(), btf.size(member.type_id));
    }
    let name = t.name_bytes();
    let found = btf
        .find(t.kind(), name)
        .expect("a type is found by its own kind and name");
    assert_eq!((found.kind(), found.name_bytes()), (t.kind(), name));
    let mut before = 0;
    for candidate in btf.candidates(btf::essential(name)) {
        assert!(candidate > before, "candidates come by ascending ids");
        before = candidate;
    }
    assert!(btf.c_name(id).len() <= 520);
}

/// Spells some types as C.
pub fn spell(btf: &Btf<'_>) {
    for t in btf.types().take(8) {
        assert!(t.to_c().len() < 2 << 20);
    }
}

/// Written and read again, definitions are the same.
fn again(btf: &Btf<'_>, definitions: &[Option<Definition>]) {
    for mut builder in [Builder::new(btf.endian()), Builder::with_strings_of(btf)] {
        for definition in definitions.iter().flatten() {
            builder.add(definition);
        }
        let written = builder.finish();
        let read = Btf::parse(written).expect("what was written is BTF");
        let read: Vec<_> = read.types().map(|t| t.definition()).collect();
        assert_eq!(read, definitions);
    }
}

/// Reads `.BTF.ext`.
pub fn read_ext(data: &[u8]) {
    let Ok(ext) = BtfExt::parse(data) else { return };
    let _ = ext.endian();
    let size = data.len();
    // Each record has bytes of its own; an error ends them.
    if let Ok(records) = ext.functions() {
        assert!(records.count() <= size);
    }
    if let Ok(records) = ext.lines() {
        assert!(records.count() <= size);
    }
    if let Ok(records) = ext.relocations() {
        assert!(records.count() <= size);
    }
}
