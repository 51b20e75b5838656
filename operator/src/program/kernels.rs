//! How a program stands on each kernel of a fleet. Pure.

use std::collections::BTreeMap;

use bpfleet_crds::{conditions::truncate, node::HookChoice, program::KernelRow};

use super::{
    input::NodeInput,
    nodes::{Standing, standing},
};

/// Most kernels in a status.
const MAX_KERNELS: usize = 32;
/// Longest message of a row, in bytes.
const MAX_MESSAGE: usize = 512;

/// A row for each kernel of these nodes, those with most nodes first. The same nodes in another order give the same
/// rows.
pub fn kernels<'n>(
    nodes: impl Iterator<Item = &'n NodeInput>,
    program: &str,
    wanted: Option<&str>,
) -> Vec<KernelRow> {
    let mut rows: BTreeMap<(&str, &str), (KernelRow, &str)> = BTreeMap::new();
    for node in nodes.filter(|node| node.is_live()) {
        let Some(bpf_node) = node.bpf_node.as_deref() else {
            continue;
        };
        let (Some(kernel), Some(architecture)) = (&bpf_node.kernel, &bpf_node.architecture) else {
            continue;
        };
        let name = node.node.name.as_str();
        let (row, example) = rows.entry((kernel, architecture)).or_insert_with(|| {
            let row = KernelRow {
                kernel: kernel.clone(),
                architecture: architecture.clone(),
                nodes: 0,
                ready: 0,
                variant: None,
                message: None,
            };
            (row, name)
        });
        row.nodes += 1;
        let message = match standing(node, program, wanted) {
            Standing::Ready => {
                row.ready += 1;
                let known = bpf_node.row(program);
                let variant = known.and_then(|known| known.variant.clone());
                row.variant = match (row.variant.take(), variant) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                known.and_then(|known| choices(&known.choices))
            }
            Standing::Failed { reason, message } => Some(format!("{name}: {reason}: {message}")),
            _ => None,
        };
        // A failure is worth more than a choice, and the first node by name is the example.
        let failed = |message: &Option<String>| message.as_ref().is_some_and(|text| text.contains(": "));
        let better = match (&row.message, &message) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(_), Some(_)) if failed(&message) != failed(&row.message) => failed(&message),
            (Some(_), Some(_)) => name < *example,
        };
        if better {
            row.message = message.map(|text| truncate(&text, MAX_MESSAGE).to_owned());
            *example = name;
        }
    }
    let mut rows: Vec<KernelRow> = rows.into_values().map(|(row, _)| row).collect();
    rows.sort_by(|a, b| {
        b.nodes
            .cmp(&a.nodes)
            .then_with(|| (&a.kernel, &a.architecture).cmp(&(&b.kernel, &b.architecture)))
    });
    rows.truncate(MAX_KERNELS);
    rows
}

/// Hooks off their first alternative, in words.
fn choices(choices: &[HookChoice]) -> Option<String> {
    let one = |choice: &HookChoice| match (&choice.program, &choice.target) {
        (Some(program), Some(target)) => format!("hook {} by {program} at {target}", choice.name),
        (Some(program), None) => format!("hook {} by {program}", choice.name),
        (None, _) => format!("without hook {}", choice.name),
    };
    (!choices.is_empty()).then(|| choices.iter().map(one).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::fixtures::{node, row, with};

    fn on(name: &str, kernel: &str, reason: Option<&str>, choice: Option<&str>) -> NodeInput {
        let mut row = row(Some("p-1"), reason);
        row.variant = Some("core".into());
        row.choices = choice
            .map(|program| HookChoice {
                name: "unlink".into(),
                program: Some(program.to_owned()),
                target: Some("function f".into()),
                message: String::new(),
            })
            .into_iter()
            .collect();
        with(node(name, Some("p-1"), Some(row)), |view| {
            view.kernel = Some(kernel.into());
        })
    }

    #[test]
    fn each_kernel_has_a_row_whatever_the_order_of_the_nodes() {
        let mut nodes = [
            on("a", "6.1", None, Some("probe")),
            on("b", "6.1", None, None),
            on("c", "6.1", None, None),
            on("d", "5.10", Some("NoVariantFits"), None),
            on("e", "5.10", Some("VerifierRejected"), None),
            on("f", "7.3", None, None),
        ];
        let expected = [
            (
                "6.1",
                3,
                3,
                Some("core"),
                Some("hook unlink by probe at function f"),
            ),
            (
                "5.10",
                2,
                0,
                None,
                Some("d: NoVariantFits: NoVariantFits happened"),
            ),
            ("7.3", 1, 1, Some("core"), None),
        ];
        for _ in 0..2 {
            let rows = kernels(nodes.iter(), "p", Some("p-1"));
            let found: Vec<_> = rows
                .iter()
                .map(|row| {
                    let (variant, message) = (row.variant.as_deref(), row.message.as_deref());
                    (row.kernel.as_str(), row.nodes, row.ready, variant, message)
                })
                .collect();
            assert_eq!(found, expected);
            nodes.reverse();
        }
    }

    #[test]
    fn a_fleet_of_many_kernels_shows_the_most_common() {
        let nodes: Vec<NodeInput> = (0..100)
            .map(|n| on(&format!("n{n}"), &format!("6.{}", n % 40), None, None))
            .collect();
        let rows = kernels(nodes.iter(), "p", Some("p-1"));
        assert_eq!(rows.len(), MAX_KERNELS);
        assert!(rows.iter().take(20).all(|row| row.nodes == 3));
    }
}
