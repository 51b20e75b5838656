//! Stand-in.
use bpf_object::kconfig::Kconfig;
use bpfleet_fit::question::{Answer, Answers, Question};

use super::FactPaths;

/// Answers questions.
pub struct Prober {
    paths: FactPaths,
}

impl Prober {
    /// New.
    pub fn new(paths: &FactPaths) -> Self {
        Self { paths: paths.clone() }
    }
    /// Answers.
    pub fn answers(&mut self, questions: impl Iterator<Item = Question>) -> Answers {
        questions
            .map(|question| {
                let answer = match &question {
                    Question::KernelBtf if self.paths.kernel_btf.exists() => Answer::Yes,
                    Question::KernelBtf => Answer::No(format!(
                        "this kernel carries no BTF of its own ({} does not exist)",
                        self.paths.kernel_btf.display()
                    )),
                    _ => Answer::Unknown("stand-in".into()),
                };
                (question, answer)
            })
            .collect()
    }
    /// Kconfig.
    pub fn kconfig(&mut self) -> Result<Kconfig, String> {
        Err("none".into())
    }
    /// Prefix.
    pub fn syscall_prefix(&mut self) -> Option<String> {
        Some("__x64_sys_".into())
    }
}
