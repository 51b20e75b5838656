//! Prints what object files hold: `cargo run -p bpf-object --example inspect FILE…`

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut failed = false;
    for path in std::env::args_os().skip(1) {
        let path = std::path::PathBuf::from(path);
        let info = std::fs::read(&path)
            .map_err(|e| e.to_string())
            .and_then(|bytes| bpf_object::inspect(&bytes).map_err(|e| e.to_string()));
        match info {
            Ok(info) => print(&path, &info),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                failed = true;
            }
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn print(path: &std::path::Path, info: &bpf_object::ObjectInfo) {
    println!(
        "{}: licence {}",
        path.display(),
        info.license.as_deref().unwrap_or("none")
    );
    for p in &info.programs {
        println!(
            "  program {} [{}] {:?}, {} instructions",
            p.name, p.kind, p.target, p.instructions
        );
    }
    for m in &info.maps {
        let (key, value) = (m.key_size, m.value_size);
        println!(
            "  map {} [{}] {key} -> {value} bytes, {} entries",
            m.name,
            m.type_name(),
            m.max_entries
        );
    }
    for e in &info.externs {
        println!(
            "  extern {} [{}]{}",
            e.name,
            e.kind,
            if e.weak { " weak" } else { "" }
        );
    }
    for r in &info.co_re {
        println!("  CO-RE {}", r.describe());
    }
}
