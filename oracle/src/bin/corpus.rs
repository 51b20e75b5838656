//! Fetches the test corpus, and says what it holds.

fn main() -> std::process::ExitCode {
    match bpf_oracle::corpus::ensure() {
        Ok(corpus) => {
            println!(
                "{} eBPF objects, {} kernels:",
                corpus.objects.len(),
                corpus.kernels.len()
            );
            for kernel in &corpus.kernels {
                let modules = kernel
                    .modules
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>();
                println!(
                    "{}",
                    format!("  {:<48} {}", kernel.name, modules.join(" ")).trim_end()
                );
            }
            std::process::ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e}");
            std::process::ExitCode::FAILURE
        }
    }
}
