//! Where a probe's arguments are, as compilers write it into the binary: `-4@-20(%rbp) 8@$7`, that is size, sign
//! and operand in the assembler's words.

use super::register::Machine;

/// Most arguments of a probe (BPF_USDT_MAX_ARG_CNT of libbpf's bpf/usdt.bpf.h).
pub const MAX_ARGUMENTS: usize = 12;

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its size in bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// Whether it has a sign.
    pub signed: bool,
    /// Where it is.
    pub operand: Operand,
}

/// Where an argument is. Registers are offsets in the context of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// It is always the same.
    Constant(i64),
    /// In a register.
    Register(u16),
    /// In memory.
    Memory {
        /// The register with the address.
        base: u16,
        /// What is added to it.
        offset: i64,
    },
    /// In memory, by two registers (x86-64).
    Indexed {
        /// The register with the address.
        base: u16,
        /// A register that is added to it.
        index: u16,
        /// By how many bits that one is shifted to the left before: 0 to 3.
        shift: u8,
        /// What else is added.
        offset: i64,
    },
}

/// Why arguments cannot be read: which, from 1, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which, from 1.
    pub number: usize,
    /// Why.
    pub detail: String,
}

/// All arguments of a probe. There may be more than [`MAX_ARGUMENTS`], but few.
pub fn parse(text: &str, machine: Machine) -> Result<Vec<Argument>, Unreadable> {
    let mut rest = Text(text);
    let mut arguments = Vec::new();
    rest.skip_spaces();
    while !rest.0.is_empty() {
        let number = arguments.len() + 1;
        let argument = argument(&mut rest, machine).map_err(|detail| Unreadable { number, detail })?;
        arguments.push(argument);
        rest.skip_spaces();
    }
    Ok(arguments)
}

fn argument(rest: &mut Text<'_>, machine: Machine) -> Result<Argument, String> {
    let size = rest.number().ok_or("its size is no number")?;
    rest.take('@').ok_or("there is no @ behind its size")?;
    let size_given = size.unsigned_abs();
    if !matches!(size_given, 1 | 2 | 4 | 8) {
        return Err(format!("its size is {size_given} bytes, and not 1, 2, 4 or 8"));
    }
    let operand = match machine {
        Machine::X86_64 => x86_64(rest)?,
        Machine::Arm64 => arm64(rest)?,
    };
    if !rest.at_end_of_word() {
        return Err(format!("something follows it: {:?}", rest.word()));
    }
    Ok(Argument {
        size: size_given as u8,
        signed: size < 0,
        operand,
    })
}

/// `$7`, `%eax`, `-20(%rbp)`, `(%rsp)`, `-96(%rbp,%rax,8)`, `(%rbp,%rax)`.
fn x86_64(rest: &mut Text<'_>) -> Result<Operand, String> {
    let register = |rest: &mut Text<'_>| {
        rest.skip_spaces();
        rest.take('%').ok_or("a register is missing")?;
        let name = rest.name();
        let offset = Machine::X86_64.register(name);
        offset.ok_or_else(|| format!("{name:?} is no general register"))
    };
    rest.skip_spaces();
    if rest.take('$').is_some() {
        let value = rest.number().ok_or("its constant is no number")?;
        return Ok(Operand::Constant(value));
    }
    if rest.0.starts_with('%') {
        return register(rest).map(Operand::Register);
    }
    let offset = match rest.0.starts_with('(') {
        true => 0,
        false => rest.number().ok_or_else(|| {
            format!(
                "{:?} is neither a constant, a register nor an address",
                rest.word()
            )
        })?,
    };
    rest.take('(').ok_or("an address without a register")?;
    let base = register(rest)?;
    if rest.take(')').is_some() {
        return Ok(Operand::Memory { base, offset });
    }
    rest.take(',').ok_or("its address does not end")?;
    let index = register(rest)?;
    let scale = match rest.take(',') {
        Some(()) => rest.number().ok_or("its scale is no number")?,
        None => 1,
    };
    let shift = match scale {
        1 => 0,
        2 => 1,
        4 => 2,
        8 => 3,
        other => return Err(format!("its scale is {other}, and not 1, 2, 4 or 8")),
    };
    rest.take(')').ok_or("its address does not end")?;
    Ok(Operand::Indexed {
        base,
        index,
        shift,
        offset,
    })
}

/// `7`, `x4`, `[sp]`, `[sp, 96]`.
fn arm64(rest: &mut Text<'_>) -> Result<Operand, String> {
    let register = |rest: &mut Text<'_>| {
        rest.skip_spaces();
        let name = rest.name();
        let offset = Machine::Arm64.register(name);
        offset.ok_or_else(|| format!("{name:?} is no general register"))
    };
    rest.skip_spaces();
    if rest.take('[').is_some() {
        let base = register(rest)?;
        let offset = match rest.take(',') {
            Some(()) => rest.number().ok_or("what is added to its address is no number")?,
            None => 0,
        };
        rest.take(']').ok_or("its address does not end")?;
        return Ok(Operand::Memory { base, offset });
    }
    match rest.number() {
        Some(value) => Ok(Operand::Constant(value)),
        None => register(rest).map(Operand::Register),
    }
}

/// What is not read yet.
struct Text<'t>(&'t str);

impl<'t> Text<'t> {
    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start();
    }

    /// Takes a character, with spaces before it.
    fn take(&mut self, wanted: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(wanted)?;
        Some(())
    }

    /// Takes a decimal number, with spaces before it.
    fn number(&mut self) -> Option<i64> {
        let text = self.0.trim_start();
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at_checked(text.len() - digits.len() + count)?;
        let value = number.parse().ok()?;
        self.0 = rest;
        Some(value)
    }

    /// Takes letters and digits.
    fn name(&mut self) -> &'t str {
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric());
        let (name, rest) = self
            .0
            .split_at_checked(end.unwrap_or(self.0.len()))
            .unwrap_or((self.0, ""));
        self.0 = rest;
        name
    }

    fn at_end_of_word(&self) -> bool {
        self.0.chars().next().is_none_or(char::is_whitespace)
    }

    fn word(&self) -> &'t str {
        self.0.split_whitespace().next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const RAX: u16 = 80;
    const RBP: u16 = 32;

    fn signed(size: u8, operand: Operand) -> Argument {
        Argument {
            size,
            signed: true,
            operand,
        }
    }

    fn unsigned(size: u8, operand: Operand) -> Argument {
        Argument {
            size,
            signed: false,
            operand,
        }
    }

    fn memory(base: u16, offset: i64) -> Operand {
        Operand::Memory { base, offset }
    }

    fn indexed(offset: i64, shift: u8) -> Operand {
        Operand::Indexed {
            base: RBP,
            index: RAX,
            shift,
            offset,
        }
    }

    #[rstest]
    #[case("", vec![])]
    #[case("-4@%eax", vec![signed(4, Operand::Register(RAX))])]
    #[case("8@%rax", vec![unsigned(8, Operand::Register(RAX))])]
    #[case("1@%al 2@%ax", vec![unsigned(1, Operand::Register(RAX)), unsigned(2, Operand::Register(RAX))])]
    #[case("4@$71", vec![unsigned(4, Operand::Constant(71))])]
    #[case("-8@$-9223372036854775808", vec![signed(8, Operand::Constant(i64::MIN))])]
    #[case("-4@-1204(%rbp)", vec![signed(4, memory(RBP, -1204))])]
    #[case("8@(%rbp)", vec![unsigned(8, memory(RBP, 0))])]
    #[case("8@16(%rbp) -4@$7", vec![unsigned(8, memory(RBP, 16)), signed(4, Operand::Constant(7))])]
    #[case("1@-96(%rbp,%rax,8)", vec![unsigned(1, indexed(-96, 3))])]
    #[case("1@(%rbp,%rax,4)", vec![unsigned(1, indexed(0, 2))])]
    #[case("-2@-96(%rbp,%rax)", vec![signed(2, indexed(-96, 0))])]
    #[case("1@(%rbp,%rax,2)  ", vec![unsigned(1, indexed(0, 1))])]
    #[case(" 8 @ 16 ( %rbp , %rax , 1 )", vec![unsigned(8, indexed(16, 0))])]
    fn operands_of_x86_64_are_read(#[case] text: &str, #[case] arguments: Vec<Argument>) {
        assert_eq!(parse(text, Machine::X86_64), Ok(arguments));
    }

    #[rstest]
    #[case("-4@5", vec![signed(4, Operand::Constant(5))])]
    #[case("8@x4 -4@x30", vec![unsigned(8, Operand::Register(32)), signed(4, Operand::Register(240))])]
    #[case("-4@[sp, 96]", vec![signed(4, memory(248, 96))])]
    #[case("-4@[sp,-8] 8@[x19]", vec![signed(4, memory(248, -8)), unsigned(8, memory(152, 0))])]
    fn operands_of_arm64_are_read(#[case] text: &str, #[case] arguments: Vec<Argument>) {
        assert_eq!(parse(text, Machine::Arm64), Ok(arguments));
    }

    #[rstest]
    #[case("%eax", 1, "no number")]
    #[case("4@%eax 4%ebx", 2, "no @")]
    #[case("3@%eax", 1, "3 bytes")]
    #[case("8@%xmm0", 1, "\"xmm0\"")]
    #[case("8f@%xmm0", 1, "no @")]
    #[case("8@counter(%rip)", 1, "\"counter(%rip)\"")]
    #[case("4@$0x10", 1, "\"x10\"")]
    #[case("8@-8(%rbp", 1, "does not end")]
    #[case("8@(%rbp,%rax,3)", 1, "scale is 3")]
    #[case("8@(,%rax,8)", 1, "a register is missing")]
    #[case("8@$99999999999999999999", 1, "no number")]
    #[case("8@", 1, "neither")]
    fn what_is_not_understood_is_named(#[case] text: &str, #[case] number: usize, #[case] part: &str) {
        let error = parse(text, Machine::X86_64).unwrap_err();
        assert_eq!(error.number, number);
        assert!(error.detail.contains(part), "{}", error.detail);
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[-0-9@$%(),a-z\\[\\] é]{0,40}") {
            for machine in [Machine::X86_64, Machine::Arm64] {
                let _ = parse(&text, machine);
            }
        }
    }
}
