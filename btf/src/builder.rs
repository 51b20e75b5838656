//! [`Builder`]: writes BTF.

use std::collections::HashMap;

use crate::bytes::u32_bytes;
use crate::endian::Endian;
use crate::kind::{Kind, Linkage};
use crate::parse::Btf;
use crate::types::{Array, Type};

/// A type to be written, with its names as bytes. [`Type::definition`] makes it from one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Definition {
    /// `raw`: the encoding's four bits; `offset`, `bits`: see [`crate::IntEncoding`].
    Int {
        name: Vec<u8>,
        size: u32,
        raw: u8,
        offset: u8,
        bits: u8,
    },
    /// A pointer to a type.
    Ptr(u32),
    /// An array.
    Array(Array),
    /// A struct or (`union`) a union. `flag`: members say the widths of bit fields.
    Composite {
        union: bool,
        name: Vec<u8>,
        size: u32,
        flag: bool,
        members: Vec<MemberDef>,
    },
    /// An enum of at most 4 bytes, or (`wide`) of 8.
    Enum {
        wide: bool,
        name: Vec<u8>,
        size: u32,
        signed: bool,
        values: Vec<EnumeratorDef>,
    },
    /// A forward declaration.
    Fwd { name: Vec<u8>, union: bool },
    /// A typedef.
    Typedef { name: Vec<u8>, target: u32 },
    /// `volatile`, `const` or `restrict`.
    Qualifier { kind: Kind, target: u32 },
    /// A function with its prototype.
    Func {
        name: Vec<u8>,
        linkage: Linkage,
        prototype: u32,
    },
    /// A prototype; `returns` 0 for void.
    FuncProto {
        returns: u32,
        parameters: Vec<ParameterDef>,
    },
    /// A variable.
    Var {
        name: Vec<u8>,
        target: u32,
        linkage: Linkage,
    },
    /// A section of variables.
    Datasec {
        name: Vec<u8>,
        size: u32,
        variables: Vec<VariableDef>,
    },
    /// A floating-point number.
    Float { name: Vec<u8>, size: u32 },
    /// A note on a declaration; `component` −1 for the whole of it.
    DeclTag {
        name: Vec<u8>,
        target: u32,
        component: i32,
        flag: bool,
    },
    /// A note on a type.
    TypeTag { name: Vec<u8>, target: u32, flag: bool },
}

/// A member: `raw_offset` is the word as it is, with the width of a bit field in its upper 8 bits where
/// the struct's flag says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct MemberDef {
    pub name: Vec<u8>,
    pub type_id: u32,
    pub raw_offset: u32,
}

/// An enumerator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct EnumeratorDef {
    pub name: Vec<u8>,
    pub value: i64,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct ParameterDef {
    pub name: Vec<u8>,
    pub type_id: u32,
}

pub use crate::types::Variable as VariableDef;

/// Writes BTF: types get ids in the order in which they are added, equal strings stand once.
pub struct Builder {
    endian: Endian,
    types: Vec<u8>,
    next: u32,
    strings: Vec<u8>,
    offsets: HashMap<Vec<u8>, u32>,
}

impl Builder {
    /// BTF with nothing in it.
    pub fn new(endian: Endian) -> Self {
        Builder {
            endian,
            types: Vec::new(),
            next: 1,
            strings: vec![0],
            offsets: HashMap::from([(Vec::new(), 0)]),
        }
    }

    /// BTF without types, with the strings of another at the same offsets, so that what refers to those
    /// (`.BTF.ext`) stays valid.
    pub fn with_strings_of(btf: &Btf<'_>) -> Self {
        let strings = btf.strings();
        let mut offsets = HashMap::new();
        let mut at = 0usize;
        for string in strings.split_inclusive(|b| *b == 0) {
            if let ([name @ .., 0], Ok(offset)) = (string, u32::try_from(at)) {
                offsets.entry(name.to_vec()).or_insert(offset);
            }
            at += string.len();
        }
        Builder {
            endian: btf.endian(),
            types: Vec::new(),
            next: 1,
            strings: strings.to_vec(),
            offsets,
        }
    }

    /// The id that the next type will get.
    pub fn next_id(&self) -> u32 {
        self.next
    }

    /// The offset of a string, which is added if it is new. A NUL within it ends it.
    pub fn string(&mut self, text: &[u8]) -> u32 {
        let text = text.split(|b| *b == 0).next().unwrap_or(&[]);
        if let Some(offset) = self.offsets.get(text) {
            return *offset;
        }
        let offset = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        self.strings.extend_from_slice(text);
        self.strings.push(0);
        self.offsets.insert(text.to_vec(), offset);
        offset
    }

    /// Adds a type and gives its id. Of more than 65,535 members, enumerators, parameters or variables
    /// the rest is left out: the format has no room for them.
    pub fn add(&mut self, definition: &Definition) -> u32 {
        use Definition as D;
        match definition {
            D::Int {
                name,
                size,
                raw,
                offset,
                bits,
            } => {
                self.head(Kind::Int, name, 0, false, *size);
                self.word(u32::from(*raw) << 24 | u32::from(*offset) << 16 | u32::from(*bits));
            }
            D::Ptr(target) => self.head(Kind::Ptr, b"", 0, false, *target),
            D::Array(array) => {
                self.head(Kind::Array, b"", 0, false, 0);
                for value in [array.element, array.index, array.length] {
                    self.word(value);
                }
            }
            D::Composite {
                union,
                name,
                size,
                flag,
                members,
            } => {
                let kind = if *union { Kind::Union } else { Kind::Struct };
                let members = bounded(members);
                self.head(kind, name, members.len(), *flag, *size);
                for member in members {
                    self.named(&member.name);
                    self.word(member.type_id);
                    self.word(member.raw_offset);
                }
            }
            D::Enum {
                wide,
                name,
                size,
                signed,
                values,
            } => {
                let kind = if *wide { Kind::Enum64 } else { Kind::Enum };
                let values = bounded(values);
                self.head(kind, name, values.len(), *signed, *size);
                for value in values {
                    self.named(&value.name);
                    let bits = value.value.cast_unsigned();
                    self.word(bits as u32);
                    if *wide {
                        self.word((bits >> 32) as u32);
                    }
                }
            }
            D::Fwd { name, union } => self.head(Kind::Fwd, name, 0, *union, 0),
            D::Typedef { name, target } => self.head(Kind::Typedef, name, 0, false, *target),
            D::Qualifier { kind, target } => self.head(*kind, b"", 0, false, *target),
            D::Func {
                name,
                linkage,
                prototype,
            } => self.head(Kind::Func, name, linkage.raw() as usize, false, *prototype),
            D::FuncProto { returns, parameters } => {
                let parameters = bounded(parameters);
                self.head(Kind::FuncProto, b"", parameters.len(), false, *returns);
                for parameter in parameters {
                    self.named(&parameter.name);
                    self.word(parameter.type_id);
                }
            }
            D::Var {
                name,
                target,
                linkage,
            } => {
                self.head(Kind::Var, name, 0, false, *target);
                self.word(linkage.raw());
            }
            D::Datasec {
                name,
                size,
                variables,
            } => {
                let variables = bounded(variables);
                self.head(Kind::Datasec, name, variables.len(), false, *size);
                for variable in variables {
                    for value in [variable.type_id, variable.offset, variable.size] {
                        self.word(value);
                    }
                }
            }
            D::Float { name, size } => self.head(Kind::Float, name, 0, false, *size),
            D::DeclTag {
                name,
                target,
                component,
                flag,
            } => {
                self.head(Kind::DeclTag, name, 0, *flag, *target);
                self.word(component.cast_unsigned());
            }
            D::TypeTag { name, target, flag } => self.head(Kind::TypeTag, name, 0, *flag, *target),
        }
        let id = self.next;
        self.next = self.next.saturating_add(1);
        id
    }

    /// The whole, with its header.
    pub fn finish(self) -> Vec<u8> {
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(24 + self.types.len() + self.strings.len());
        out.extend_from_slice(&match self.endian {
            Endian::Little => 0xeb9fu16.to_le_bytes(),
            Endian::Big => 0xeb9fu16.to_be_bytes(),
        });
        out.extend_from_slice(&[1, 0]);
        let types = length(&self.types);
        for value in [24, 0, types, types, length(&self.strings)] {
            out.extend_from_slice(&u32_bytes(value, self.endian));
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }

    fn head(&mut self, kind: Kind, name: &[u8], count: usize, flag: bool, size_or_type: u32) {
        self.named(name);
        // `bounded` keeps counts within 16 bits, and a linkage has two.
        let info = (count & 0xffff) as u32 | (kind as u32) << 24 | u32::from(flag) << 31;
        self.word(info);
        self.word(size_or_type);
    }

    fn named(&mut self, name: &[u8]) {
        let offset = self.string(name);
        self.word(offset);
    }

    fn word(&mut self, value: u32) {
        self.types.extend_from_slice(&u32_bytes(value, self.endian));
    }
}

fn bounded<T>(items: &[T]) -> &[T] {
    items.get(..items.len().min(0xffff)).unwrap_or(items)
}

impl Type<'_> {
    /// The type as it would be written; `None` for void and what is cut off.
    pub fn definition(&self) -> Option<Definition> {
        use Definition as D;
        let name = self.name_bytes().to_vec();
        let target = self.size_or_type();
        Some(match self.kind() {
            Kind::Void => return None,
            Kind::Int => {
                let int = self.int()?;
                D::Int {
                    name,
                    size: self.own_size()?,
                    raw: int.raw,
                    offset: int.offset,
                    bits: int.bits,
                }
            }
            Kind::Ptr => D::Ptr(target),
            Kind::Array => D::Array(self.array()?),
            Kind::Struct | Kind::Union => D::Composite {
                union: self.kind() == Kind::Union,
                name,
                size: self.own_size()?,
                flag: self.flag(),
                members: self
                    .members()
                    .map(|m| MemberDef {
                        name: m.name_bytes().to_vec(),
                        type_id: m.type_id,
                        raw_offset: m.bit_offset | m.bit_size << 24,
                    })
                    .collect(),
            },
            Kind::Enum | Kind::Enum64 => D::Enum {
                wide: self.kind() == Kind::Enum64,
                name,
                size: self.own_size()?,
                signed: self.flag(),
                values: self
                    .enumerators()
                    .map(|e| EnumeratorDef {
                        name: e.name_bytes().to_vec(),
                        value: e.value,
                    })
                    .collect(),
            },
            Kind::Fwd => D::Fwd {
                name,
                union: self.flag(),
            },
            Kind::Typedef => D::Typedef { name, target },
            kind @ (Kind::Volatile | Kind::Const | Kind::Restrict) => D::Qualifier { kind, target },
            Kind::Func => D::Func {
                name,
                linkage: self.linkage()?,
                prototype: target,
            },
            Kind::FuncProto => D::FuncProto {
                returns: target,
                parameters: self
                    .parameters()
                    .map(|p| ParameterDef {
                        name: p.name_bytes().to_vec(),
                        type_id: p.type_id,
                    })
                    .collect(),
            },
            Kind::Var => D::Var {
                name,
                target,
                linkage: self.linkage()?,
            },
            Kind::Datasec => D::Datasec {
                name,
                size: self.own_size()?,
                variables: self.variables().collect(),
            },
            Kind::Float => D::Float {
                name,
                size: self.own_size()?,
            },
            Kind::DeclTag => D::DeclTag {
                name,
                target,
                component: self.component()?,
                flag: self.flag(),
            },
            Kind::TypeTag => D::TypeTag {
                name,
                target,
                flag: self.flag(),
            },
        })
    }
}
