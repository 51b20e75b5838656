//! Single questions from the command line.

use bpfleet_crds::requirement::FunctionAttach;
use bpfleet_fit::{
    feature::Feature,
    function::is_pattern,
    question::{Answer, Question},
};
use serde::Serialize;

use crate::facts::Prober;

/// Answers in the order of the questions.
#[derive(Debug, Serialize)]
pub struct Answered {
    /// One for each question.
    pub answers: Vec<Row>,
}

/// One answer.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The question, or the name of a feature.
    pub name: String,
    /// Yes, No or Unknown.
    pub answer: &'static str,
    /// Why it is not Yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Row {
    /// An answer in words.
    pub fn new(name: String, answer: Answer) -> Self {
        let (answer, why) = match answer {
            Answer::Yes => ("Yes", None),
            Answer::No(why) => ("No", Some(why)),
            Answer::Unknown(why) => ("Unknown", Some(why)),
        };
        Self { name, answer, why }
    }
}

impl Answered {
    /// Asks.
    pub fn new(prober: &mut Prober, questions: Vec<Question>) -> Self {
        let mut answers = prober.answers(questions.iter().cloned());
        let rows = questions.into_iter().filter_map(|question| {
            let answer = answers.remove(&question)?;
            Some(Row::new(question.to_string(), answer))
        });
        Self {
            answers: rows.collect(),
        }
    }
}

/// What is asked; an error says what is wrong with the question.
pub fn read(
    functions: &[String],
    tracepoints: &[String],
    options: &[String],
    features: &[String],
) -> Result<Vec<Question>, String> {
    let mut questions = Vec::new();
    for name in functions {
        if is_pattern(name) {
            questions.push(Question::FunctionPattern(name.clone()));
            continue;
        }
        let function: bpfleet_fit::function::KernelFunction =
            name.parse().map_err(|why| format!("--function: {why}"))?;
        for attach in [
            FunctionAttach::Kprobe,
            FunctionAttach::Fentry,
            FunctionAttach::KprobeMulti,
        ] {
            questions.push(Question::Function {
                function: function.clone(),
                attach,
            });
        }
    }
    for name in tracepoints {
        questions.push(match name.split_once('/') {
            Some((category, name)) => Question::Tracepoint {
                category: category.to_owned(),
                name: name.to_owned(),
                fields: Vec::new(),
            },
            None => Question::RawTracepoint(name.clone()),
        });
    }
    for text in options {
        let (option, value) = match text.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        if !option.starts_with("CONFIG_") {
            return Err(format!("--config: {text:?} does not begin with CONFIG_"));
        }
        questions.push(Question::KernelConfig {
            option: option.to_owned(),
            value,
        });
    }
    for name in features {
        let feature: Feature = name.parse().map_err(|why| format!("--feature: {why}"))?;
        questions.push(Question::Feature(feature));
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(result: Result<Vec<Question>, String>) -> String {
        match result {
            Ok(questions) => questions.iter().map(|q| format!("{q}; ")).collect(),
            Err(why) => why,
        }
    }

    fn own(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    #[test]
    fn questions_are_read_as_a_person_writes_them() {
        for (questions, expected) in [
            (
                read(&own("do_exit"), &[], &[], &[]),
                "function do_exit by kprobe; function do_exit by fentry; function do_exit by kprobe.multi; ",
            ),
            (
                read(&own("tcp_*"), &[], &[], &[]),
                "functions tcp_* by kprobe.multi; ",
            ),
            (
                read(
                    &[],
                    &["sched/sched_switch".into(), "sched_switch".into()],
                    &[],
                    &[],
                ),
                "tracepoint sched/sched_switch; tracepoint sched_switch; ",
            ),
            (
                read(&[], &[], &["CONFIG_HZ=250".into(), "CONFIG_BPF".into()], &[]),
                "CONFIG_HZ=250; CONFIG_BPF; ",
            ),
            (read(&[], &[], &[], &own("map/ringbuf")), "map/ringbuf; "),
        ] {
            assert_eq!(shown(questions), expected);
        }
        for (questions, expected) in [
            (
                read(&own("a b"), &[], &[], &[]),
                "--function: \"a b\" is no kernel function",
            ),
            (read(&[], &[], &own("BPF"), &[]), "does not begin with CONFIG_"),
            (
                read(&[], &[], &[], &own("map/ringbuff")),
                "did you mean map/ringbuf?",
            ),
        ] {
            assert!(shown(questions).contains(expected), "{expected}");
        }
    }
}
