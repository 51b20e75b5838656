//! Lines of /proc/kallsyms. Without rights its addresses are zeros; names and types are there all the same.

/// Where it is.
pub const PATH: &str = "/proc/kallsyms";

/// A line: `ffffffff81000000 T name [module]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Where it is; none if it is no number, 0 if it is hidden.
    pub address: Option<u64>,
    /// Its type, as nm(1) has it.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The module that has it, in brackets as it stands there; none: the kernel.
    pub module: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// Reads a line; none if it has no name.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            address: u64::from_str_radix(address, 16).ok(),
            kind,
            name,
            module: words.next(),
        })
    }

    /// The module's name without its brackets.
    pub fn module_name(&self) -> Option<&'a str> {
        self.module?.strip_prefix('[')?.strip_suffix(']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_and_modules_are_told_apart_and_garbage_is_no_line() {
        let line = Line::parse("ffffffff81000000 T do_exit").unwrap();
        assert_eq!(
            (line.address, line.kind, line.module_name()),
            (Some(0xffff_ffff_8100_0000), "T", None)
        );
        let line = Line::parse("0000000000000000 t veth_xmit\t[veth]").unwrap();
        assert_eq!(
            (line.address, line.name, line.module_name()),
            (Some(0), "veth_xmit", Some("veth"))
        );
        assert_eq!(Line::parse("x t name").unwrap().address, None);
        assert_eq!(Line::parse("garbage"), None);
    }
}
