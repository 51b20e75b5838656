//! One BpfProgram, many kernels: what each makes of it. What is expected of a kernel is asked of that kernel, and what
//! runs there is seen from what it counts, not from the status alone.

mod case;
mod functions;
mod guest;
mod modules;
mod requirements;
mod restart;
mod run;
mod security;
mod types;
mod variants;
mod ways;

#[test]
fn one_program_serves_every_kernel_in_the_way_that_suits_it() {
    let cases = [
        functions::cases(),
        modules::cases(),
        requirements::cases(),
        security::cases(),
        types::cases(),
        variants::cases(),
        ways::cases(),
    ];
    run::all(&cases.concat(), &functions::impossible_cases());
}
