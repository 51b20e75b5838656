//! Where registers are in the context of a program at a uprobe: `struct pt_regs` (arch/x86/include/asm/ptrace.h)
//! and `struct user_pt_regs` (arch/arm64/include/uapi/asm/ptrace.h).

/// A kind of processor of which argument descriptions are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// arm64, also called aarch64.
    Arm64,
}

impl Machine {
    /// This one.
    pub const HOST: Option<Machine> = if cfg!(target_arch = "x86_64") {
        Some(Machine::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Machine::Arm64)
    } else {
        None
    };

    /// As Kubernetes calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Machine::X86_64 => "amd64",
            Machine::Arm64 => "arm64",
        }
    }

    /// Where a register is, in bytes.
    pub(super) fn register(self, name: &str) -> Option<u16> {
        match self {
            Machine::X86_64 => x86_64(name),
            Machine::Arm64 => arm64(name),
        }
    }
}

/// A register by the names of its parts, which all begin with its lowest byte.
fn x86_64(name: &str) -> Option<u16> {
    Some(match name {
        "r15" | "r15d" | "r15w" | "r15b" => 0,
        "r14" | "r14d" | "r14w" | "r14b" => 8,
        "r13" | "r13d" | "r13w" | "r13b" => 16,
        "r12" | "r12d" | "r12w" | "r12b" => 24,
        "rbp" | "ebp" | "bp" | "bpl" => 32,
        "rbx" | "ebx" | "bx" | "bl" => 40,
        "r11" | "r11d" | "r11w" | "r11b" => 48,
        "r10" | "r10d" | "r10w" | "r10b" => 56,
        "r9" | "r9d" | "r9w" | "r9b" => 64,
        "r8" | "r8d" | "r8w" | "r8b" => 72,
        "rax" | "eax" | "ax" | "al" => 80,
        "rcx" | "ecx" | "cx" | "cl" => 88,
        "rdx" | "edx" | "dx" | "dl" => 96,
        "rsi" | "esi" | "si" | "sil" => 104,
        "rdi" | "edi" | "di" | "dil" => 112,
        "rip" | "eip" => 128,
        "rsp" | "esp" | "sp" | "spl" => 152,
        _ => return None,
    })
}

fn arm64(name: &str) -> Option<u16> {
    if name == "sp" {
        return Some(31 * 8);
    }
    let digits = name.strip_prefix('x')?;
    let number = digits.parse::<u16>().ok().filter(|number| *number < 31)?;
    // Not `x07`, not `x+7`.
    (number.to_string() == digits).then_some(number * 8)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Machine::X86_64, "rax", Some(80))]
    #[case(Machine::X86_64, "al", Some(80))]
    #[case(Machine::X86_64, "r15d", Some(0))]
    #[case(Machine::X86_64, "rsp", Some(152))]
    #[case(Machine::X86_64, "ah", None)]
    #[case(Machine::X86_64, "xmm0", None)]
    #[case(Machine::X86_64, "x0", None)]
    #[case(Machine::Arm64, "x0", Some(0))]
    #[case(Machine::Arm64, "x30", Some(240))]
    #[case(Machine::Arm64, "sp", Some(248))]
    #[case(Machine::Arm64, "x31", None)]
    #[case(Machine::Arm64, "x+1", None)]
    #[case(Machine::Arm64, "x", None)]
    fn registers_are_where_the_kernel_has_them(
        #[case] machine: Machine,
        #[case] name: &str,
        #[case] offset: Option<u16>,
    ) {
        assert_eq!(machine.register(name), offset);
    }
}
