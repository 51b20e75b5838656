//! One BpfProgram: gather, validate, plan, apply, report.

pub mod apply;
pub mod compatible;
#[cfg(test)]
mod fixtures;
pub mod gather;
pub mod input;
pub mod kernels;
pub mod nodes;
pub mod plan;
pub mod report;
pub mod validate;

use crate::{context::Context, queue::Outcome};

/// Brings one BpfProgram a step further, and says in its status where it stands. Everything is looked at
/// anew each time, so that it does not matter why it was called.
pub async fn reconcile(context: &Context, name: &str) -> Outcome {
    let Some(input) = gather::gather(context, name).await else {
        return Outcome::Done;
    };
    let accepted = validate::validate(&input);
    let plan = plan::plan(&input, &accepted);
    let applied = apply::apply(context, &input, &plan).await;
    let status = report::report(&input, &accepted, &plan, &applied, context.now());
    let published = apply::publish(context, &input, &plan, status).await;
    next(
        context,
        name,
        accepted.err().is_some_and(|fault| fault.retry),
        applied.failure.is_some() || !published,
    )
}

/// When to look again without being told of a change.
fn next(context: &Context, name: &str, waits_for_input: bool, failed: bool) -> Outcome {
    match context.resolver.retry_at(name) {
        _ if failed => Outcome::Failed,
        Some(at) => Outcome::Again(at.saturating_duration_since(tokio::time::Instant::now())),
        None if waits_for_input => Outcome::Failed,
        None => Outcome::Done,
    }
}
