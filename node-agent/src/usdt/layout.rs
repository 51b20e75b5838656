//! How an object wants its arguments described: `struct __bpf_usdt_spec` of bpf/usdt.bpf.h, read from the object's
//! own types, since libbpf's versions differ in it.

use btf::{Btf, Endian, Kind, Member, Type};
use object::{Object, ObjectSection};

use super::{
    argument::{Argument, MAX_ARGUMENTS, Operand},
    error::UsdtError,
};

const SPEC: &str = "__bpf_usdt_spec";
const ARGUMENT: &str = "__bpf_usdt_arg_spec";
/// Longest description that can be; 208 bytes up to libbpf 1.7.
const MAX_SPEC: u32 = 4096;

/// `enum __bpf_usdt_arg_type`.
const CONSTANT: u64 = 0;
const REGISTER: u64 = 1;
const MEMORY: u64 = 2;
const INDEXED: u64 = 3;

/// Bits of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    first: u32,
    count: u32,
}

/// Where each part of a description is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a description.
    size: u32,
    /// Where the arguments begin, bits of each, and how many there are.
    arguments: u32,
    argument_bits: u32,
    argument_limit: usize,
    cookie: Field,
    count: Field,
    value: Field,
    kind: Field,
    register: Field,
    signed: Field,
    shift: Field,
    /// The second register and its shift, from libbpf 1.7 on.
    index: Option<(Field, Field)>,
}

impl Layout {
    /// The layout that an object's types say.
    pub fn of(btf: &Btf<'_>) -> Result<Self, UsdtError> {
        if btf.endian() != Endian::Little {
            return Err(wrong(SPEC, "it is of the other byte order"));
        }
        let spec = find(btf, SPEC)?;
        let argument = find(btf, ARGUMENT)?;
        let size = spec.own_size().filter(|size| (1..=MAX_SPEC).contains(size));
        let size = size.ok_or_else(|| wrong(SPEC, "it has an odd size"))?;
        let list = member(SPEC, spec, "args")?;
        let array = btf
            .get(list.type_id)
            .and_then(Type::resolved)
            .and_then(|list| list.array())
            .filter(|array| {
                btf.get(array.element)
                    .and_then(Type::resolved)
                    .is_some_and(|of| of.id() == argument.id())
            });
        let array = array.ok_or_else(|| wrong(SPEC, "args is no array of descriptions of arguments"))?;
        let argument_bits = argument.own_size().and_then(|size| size.checked_mul(8));
        let argument_bits = argument_bits.ok_or_else(|| wrong(ARGUMENT, "it has an odd size"))?;
        let within = |name| field(btf, ARGUMENT, argument, name, argument_bits);
        let index = match (within("idx_reg_off"), within("scale_bitshift")) {
            (Ok(index), Ok(scale)) => Some((index, scale)),
            _ => None,
        };
        let end = array
            .length
            .checked_mul(argument_bits)
            .and_then(|bits| bits.checked_add(list.bit_offset));
        if end.is_none_or(|end| end > size * 8) {
            return Err(wrong(SPEC, "its arguments reach beyond its end"));
        }
        Ok(Layout {
            size,
            arguments: list.bit_offset,
            argument_bits,
            argument_limit: MAX_ARGUMENTS.min(usize::try_from(array.length).unwrap_or(0)),
            cookie: field(btf, SPEC, spec, "usdt_cookie", size * 8)?,
            count: field(btf, SPEC, spec, "arg_cnt", size * 8)?,
            value: within("val_off")?,
            kind: within("arg_type")?,
            register: within("reg_off")?,
            signed: within("arg_signed")?,
            shift: within("arg_bitshift")?,
            index,
        })
    }

    /// The layout that the types of an object file say.
    pub fn of_object(elf: &[u8]) -> Result<Self, UsdtError> {
        let unreadable = |detail: String| wrong(SPEC, &detail);
        let file = object::File::parse(elf).map_err(|error| unreadable(error.to_string()))?;
        let section = file.section_by_name(".BTF");
        let section = section.ok_or_else(|| unreadable("the object has no BTF".to_owned()))?;
        let data = section.data().map_err(|error| unreadable(error.to_string()))?;
        Self::of(&Btf::parse(data).map_err(|error| unreadable(error.to_string()))?)
    }

    /// Bytes of a description, which is a value of the map.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The description of a probe's arguments. `cookie` is what the program asks for with bpf_usdt_cookie().
    pub fn describe(&self, probe: &str, arguments: &[Argument], cookie: u64) -> Result<Vec<u8>, UsdtError> {
        if arguments.len() > self.argument_limit {
            return Err(UsdtError::TooManyArguments {
                probe: probe.to_owned(),
                count: arguments.len(),
                limit: self.argument_limit,
            });
        }
        let mut spec = Spec(vec![0; self.size as usize]);
        spec.put(SPEC, "usdt_cookie", self.cookie, 0, cookie)?;
        spec.put(SPEC, "arg_cnt", self.count, 0, arguments.len() as u64)?;
        for (place, argument) in (0u32..).zip(arguments) {
            let at = self.arguments + place * self.argument_bits;
            let (kind, value, register) = match argument.operand {
                Operand::Constant(value) => (CONSTANT, value, 0),
                Operand::Register(register) => (REGISTER, 0, register),
                Operand::Memory { base, offset } => (MEMORY, offset, base),
                Operand::Indexed { base, offset, .. } => (INDEXED, offset, base),
            };
            if let Operand::Indexed { index, shift, .. } = argument.operand {
                let fields = self.index.ok_or_else(|| UsdtError::NoIndex(probe.to_owned()))?;
                spec.put(ARGUMENT, "idx_reg_off", fields.0, at, index.into())?;
                spec.put(ARGUMENT, "scale_bitshift", fields.1, at, shift.into())?;
            }
            spec.put(ARGUMENT, "val_off", self.value, at, value.cast_unsigned())?;
            spec.put(ARGUMENT, "arg_type", self.kind, at, kind)?;
            spec.put(ARGUMENT, "reg_off", self.register, at, register.into())?;
            spec.put(ARGUMENT, "arg_signed", self.signed, at, argument.signed.into())?;
            // Shifted to the left and back, a value has its size and sign.
            let shift = 64 - u64::from(argument.size) * 8;
            spec.put(ARGUMENT, "arg_bitshift", self.shift, at, shift)?;
        }
        Ok(spec.0)
    }
}

/// A description being written, in the order of bits that little-endian machines have.
struct Spec(Vec<u8>);

impl Spec {
    fn put(
        &mut self,
        type_name: &'static str,
        name: &str,
        field: Field,
        base: u32,
        value: u64,
    ) -> Result<(), UsdtError> {
        if field.count < 64 && value >> field.count != 0 {
            return Err(wrong(type_name, &format!("{value} does not fit into {name}")));
        }
        for bit in 0..field.count.min(64) {
            let at = base + field.first + bit;
            if value >> bit & 1 == 1
                && let Some(byte) = self.0.get_mut((at / 8) as usize)
            {
                *byte |= 1 << (at % 8);
            }
        }
        Ok(())
    }
}

fn find<'b>(btf: &'b Btf<'_>, name: &'static str) -> Result<Type<'b>, UsdtError> {
    btf.find(Kind::Struct, name.as_bytes())
        .ok_or_else(|| wrong(name, "the object has no such type"))
}

fn member<'b>(type_name: &'static str, of: Type<'b>, name: &str) -> Result<Member<'b>, UsdtError> {
    of.members()
        .find(|member| member.name_bytes() == name.as_bytes())
        .ok_or_else(|| wrong(type_name, &format!("it has no member {name}")))
}

/// The bits of a member, which must end before `end`.
fn field(
    btf: &Btf<'_>,
    type_name: &'static str,
    of: Type<'_>,
    name: &str,
    end: u32,
) -> Result<Field, UsdtError> {
    let member = member(type_name, of, name)?;
    let count = match member.bit_size {
        0 => btf.size(member.type_id).and_then(|size| size.checked_mul(8)),
        bits => Some(bits),
    };
    let field = count.filter(|count| (1..=64).contains(count)).map(|count| Field {
        first: member.bit_offset,
        count,
    });
    field
        .filter(|field| {
            field
                .first
                .checked_add(field.count)
                .is_some_and(|last| last <= end)
        })
        .ok_or_else(|| wrong(type_name, &format!("member {name} has an odd size")))
}

fn wrong(type_name: &'static str, detail: &str) -> UsdtError {
    UsdtError::Layout {
        type_name,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use btf::{Array, Builder, Definition, MemberDef};

    use super::*;

    /// Types of members: how many bytes an integer of this type has.
    const SIZES: [(u32, u32); 4] = [(1, 8), (2, 4), (3, 2), (4, 1)];

    /// A member: its name, its type in [`SIZES`], its first bit, and its bits if it is a bit field.
    type Part = (&'static str, u32, u32, u32);

    /// As libbpf has them up to 1.6: 16 bytes for each argument.
    const BEFORE_1_7: [Part; 5] = [
        ("val_off", 1, 0, 0),
        ("arg_type", 2, 64, 0),
        ("reg_off", 3, 96, 0),
        ("arg_signed", 4, 112, 0),
        ("arg_bitshift", 4, 120, 0),
    ];
    /// As clang lays them out in 1.7: 24 bytes.
    const FROM_1_7: [Part; 7] = [
        ("val_off", 1, 0, 0),
        ("arg_type", 2, 64, 8),
        ("idx_reg_off", 3, 80, 12),
        ("scale_bitshift", 3, 92, 4),
        ("reg_off", 3, 112, 0),
        ("arg_signed", 4, 128, 0),
        ("arg_bitshift", 4, 136, 0),
    ];

    fn composite(name: &str, size: u32, parts: &[Part]) -> Definition {
        Definition::Composite {
            union: false,
            name: name.into(),
            size,
            flag: true,
            members: parts
                .iter()
                .map(|(name, type_id, first, bits)| MemberDef {
                    name: (*name).into(),
                    type_id: *type_id,
                    raw_offset: bits << 24 | first,
                })
                .collect(),
        }
    }

    fn types(argument_size: u32, parts: &[Part], length: u32, endian: Endian) -> Vec<u8> {
        let mut builder = Builder::new(endian);
        for (id, size) in SIZES {
            let name = format!("int{size}").into_bytes();
            let added = builder.add(&Definition::Int {
                name,
                size,
                raw: 0,
                offset: 0,
                bits: u8::try_from(size * 8).unwrap(),
            });
            assert_eq!(added, id);
        }
        let argument = builder.add(&composite(ARGUMENT, argument_size, parts));
        let list = builder.add(&Definition::Array(Array {
            element: argument,
            index: 2,
            length,
        }));
        let end = argument_size * length * 8;
        let members = [
            ("args", list, 0, 0),
            ("usdt_cookie", 1, end, 0),
            ("arg_cnt", 3, end + 64, 0),
        ];
        builder.add(&composite(SPEC, argument_size * length + 16, &members));
        builder.finish()
    }

    fn layout(argument_size: u32, parts: &[Part]) -> Result<Layout, UsdtError> {
        Layout::of(&Btf::parse(types(argument_size, parts, 12, Endian::Little)).unwrap())
    }

    pub(in crate::usdt) fn before_1_7() -> Layout {
        layout(16, &BEFORE_1_7).unwrap()
    }

    fn argument(size: u8, signed: bool, operand: Operand) -> Argument {
        Argument {
            size,
            signed,
            operand,
        }
    }

    const INDEX: Operand = Operand::Indexed {
        base: 112,
        index: 88,
        shift: 2,
        offset: -4,
    };

    #[test]
    fn a_description_is_what_libbpf_before_1_7_writes() {
        let arguments = [
            argument(8, false, Operand::Register(80)),
            argument(4, true, Operand::Constant(-9)),
            argument(
                1,
                true,
                Operand::Memory {
                    base: 152,
                    offset: 0x1234,
                },
            ),
        ];
        let layout = before_1_7();
        let spec = layout.describe("p", &arguments, 0x0102_0304_0506_0708).unwrap();
        let mut wanted = vec![0; 208];
        wanted[..16].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 80, 0, 0, 0]);
        wanted[16..32].copy_from_slice(&[0xf7, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 1, 32]);
        wanted[32..48].copy_from_slice(&[0x34, 0x12, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 152, 0, 1, 56]);
        wanted[192..202].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1, 3, 0]);
        assert_eq!(spec, wanted);
        assert_eq!(layout.size(), 208);
        let error = layout.describe("p", &[argument(4, true, INDEX)], 0).unwrap_err();
        assert_eq!(error, UsdtError::NoIndex("p".to_owned()));
    }

    #[test]
    fn from_1_7_on_a_second_register_has_its_place() {
        let layout = layout(24, &FROM_1_7).unwrap();
        let spec = layout.describe("p", &[argument(4, true, INDEX)], 0).unwrap();
        let wanted = [
            0xfc, 255, 255, 255, 255, 255, 255, 255, 3, 0, 88, 0x20, 0, 0, 112, 0, 1, 32,
        ];
        assert_eq!(spec[..18], wanted);
        assert_eq!(spec[18..288], [0; 270]);
        assert_eq!(spec[296], 1);
    }

    #[test]
    fn more_arguments_than_there_is_room_for_are_refused() {
        let arguments = [argument(4, true, Operand::Constant(1)); 13];
        let error = before_1_7().describe("p", &arguments, 0).unwrap_err();
        assert!(matches!(
            error,
            UsdtError::TooManyArguments {
                count: 13,
                limit: 12,
                ..
            }
        ));
    }

    #[test]
    fn types_that_are_not_libbpfs_are_refused() {
        let error = |result: Result<Layout, UsdtError>| match result {
            Err(UsdtError::Layout { type_name, detail }) => (type_name, detail),
            other => panic!("{other:?}"),
        };
        let (name, detail) = error(layout(16, &BEFORE_1_7[1..]));
        assert_eq!((name, detail.as_str()), (ARGUMENT, "it has no member val_off"));
        let (_, detail) = error(layout(15, &BEFORE_1_7));
        assert_eq!(detail, "member arg_bitshift has an odd size");
        let big = types(16, &BEFORE_1_7, 12, Endian::Big);
        assert!(
            error(Layout::of(&Btf::parse(big).unwrap()))
                .1
                .contains("byte order")
        );
        let none = Builder::new(Endian::Little).finish();
        assert_eq!(
            error(Layout::of(&Btf::parse(none).unwrap())).1,
            "the object has no such type"
        );
        assert!(error(Layout::of_object(b"no ELF")).0 == SPEC);
    }
}
