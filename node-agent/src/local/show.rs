//! What local mode shows: a table that stays in place on a terminal, a line for every change elsewhere, or JSON.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Instant,
};

use bpfleet_crds::node::ProgramStatus;
use comfy_table::{Table, presets};
use serde_json::json;

use crate::{engine::View, layout::ProgramDir, report::failing};

/// In what form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON object a line, for every change.
    Json,
}

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// What stands on the screen.
pub struct Shown {
    output: Output,
    terminal: bool,
    pin_root: PathBuf,
    started: Instant,
    lines: usize,
    last: Vec<ProgramStatus>,
}

impl Shown {
    /// Nothing yet.
    pub fn new(output: Output, terminal: bool, pin_root: PathBuf, started: Instant) -> Self {
        Self {
            output,
            terminal,
            pin_root,
            started,
            lines: 0,
            last: Vec::new(),
        }
    }

    /// Shows what changed.
    pub fn update(&mut self, out: &mut impl Write, view: &View) -> io::Result<()> {
        let after = self.started.elapsed().as_secs_f64() * 1000.0;
        match self.output {
            Output::Json => {
                for row in view.rows.iter().filter(|row| !self.last.contains(row)) {
                    let loaded = view.loaded.get(&row.name);
                    let line =
                        json!({"afterMilliseconds": after, "program": row, "loaded": loaded.map(|l| &**l)});
                    writeln!(out, "{line}")?;
                }
            }
            Output::Table if self.terminal => {
                let text = self.table(view, after);
                if self.lines > 0 {
                    write!(out, "\x1b[{}A\x1b[J", self.lines)?;
                }
                self.lines = text.lines().count();
                write!(out, "{text}")?;
            }
            Output::Table => {
                for row in view.rows.iter().filter(|row| !self.last.contains(row)) {
                    writeln!(out, "{}", line(row))?;
                    for hook in view.loaded.get(&row.name).iter().flat_map(|loaded| &loaded.hooks) {
                        writeln!(
                            out,
                            "  {}: {} at {}, attach call {:.1} ms",
                            hook.name,
                            hook.kind,
                            hook.target,
                            hook.attach_micros as f64 / 1000.0
                        )?;
                    }
                }
            }
        }
        self.last.clone_from(&view.rows);
        out.flush()
    }

    fn table(&self, view: &View, after: f64) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["PROGRAM", "STATE", "HOOK", "KIND", "TARGET", "ATTACH"]);
        let mut notes = String::new();
        for row in &view.rows {
            let state = state(row);
            let hooks = view
                .loaded
                .get(&row.name)
                .map(|loaded| loaded.hooks.as_slice())
                .unwrap_or_default();
            if hooks.is_empty() {
                table.add_row([row.name.as_str(), state, "", "", "", ""]);
            }
            for (index, hook) in hooks.iter().enumerate() {
                let first = index == 0;
                table.add_row([
                    if first { &row.name } else { "" },
                    if first { state } else { "" },
                    &hook.name,
                    &hook.kind,
                    &hook.target,
                    &format!("{:.1} ms", hook.attach_micros as f64 / 1000.0),
                ]);
            }
            if let Some(message) = &row.message {
                let colour = if failing(row) { RED } else { YELLOW };
                notes.push_str(&format!("\n{colour}{}{PLAIN}: {message}\n", row.name));
            }
            if let Some(log) = &row.log_tail {
                notes.push_str(&format!("{log}\n"));
            }
            if let Ok(dir) = ProgramDir::new(&self.pin_root, &row.name)
                && row.revision.is_some()
            {
                notes.push_str(&format!("\nmaps of {}: {}\n", row.name, dir.maps().display()));
            }
        }
        let text = table
            .to_string()
            .replace("Running", &format!("{GREEN}Running{PLAIN}"));
        format!("{text}\n{notes}\n{after:.1} ms after the start. Ctrl-C unloads.\n")
    }

    /// The programs are going.
    pub fn unloading(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.lines = 0;
        if self.output == Output::Table && !self.last.is_empty() {
            writeln!(out, "unloading")?;
        }
        Ok(())
    }

    /// A program could not be unloaded.
    pub fn left(&self, out: &mut impl Write, row: &ProgramStatus) -> io::Result<()> {
        match self.output {
            Output::Json => writeln!(out, "{}", json!({"program": row})),
            Output::Table => writeln!(out, "not unloaded: {}", line(row)),
        }
    }
}

fn state(row: &ProgramStatus) -> &str {
    row.reason.as_deref().unwrap_or("Running")
}

fn line(row: &ProgramStatus) -> String {
    let mut text = format!(
        "{}: {}, {} of {} hooks",
        row.name,
        state(row),
        row.hooks_attached,
        row.hooks_wanted
    );
    for detail in [&row.message, &row.log_tail].into_iter().flatten() {
        text.push('\n');
        text.push_str(detail);
    }
    text
}
