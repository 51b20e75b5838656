//! libbpf itself, relocation by relocation and object by object.
