//! eBPF objects and kernel BTF out of Debian's packages, fetched into a cache.
