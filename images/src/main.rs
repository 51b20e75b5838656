//! `bpfleet-images`: see `bpfleet-images --help`.

use std::{
    collections::BTreeSet,
    error::Error,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bpfleet_images::{
    binary,
    cli::{Archive, Build, Cli, Command, Push},
    component::{Component, Input, MAX_BYTES, Platform},
    image::{About, Index, image, index},
    layout::{Layout, Names, layout},
    push::push,
    report::{Row, rows, table},
    store,
};
use clap::Parser as _;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Build(arguments) => build(&arguments),
        Command::Show(arguments) => show(&arguments.layout),
        Command::Archive(arguments) => archive(&arguments),
        Command::Push(arguments) => push_all(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bpfleet-images: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(arguments: &Build) -> Result<()> {
    let names = Names::new(&arguments.prefix, &arguments.tag)?;
    let about = About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        licenses: env!("CARGO_PKG_LICENSE").to_owned(),
        epoch: arguments.epoch,
    };
    let platforms = |programs: &[(Platform, PathBuf)]| -> BTreeSet<Platform> {
        programs.iter().map(|(platform, _)| *platform).collect()
    };
    if platforms(&arguments.operator) != platforms(&arguments.agent) {
        return Err(
            "--operator and --agent are given for different architectures; a cluster needs both".into(),
        );
    }
    let ca_bundle = store::read_bundle(&arguments.ca_bundle, MAX_BYTES)?;
    if !ca_bundle
        .windows(27)
        .any(|at| at == b"-----BEGIN CERTIFICATE-----")
    {
        let path = arguments.ca_bundle.display();
        return Err(format!(
            "{path} has no certificate in PEM; are these the files of package ca-certificates?"
        )
        .into());
    }
    let make = |component, programs| make(component, programs, &ca_bundle, &about);
    let indexes = [
        make(Component::Operator, &arguments.operator)?,
        make(Component::Agent, &arguments.agent)?,
    ];
    let layout = layout(&indexes, &names)?;
    store::write_layout(&layout, &arguments.out)?;
    print(&rows(&layout)?)
}

fn make(
    component: Component,
    programs: &[(Platform, PathBuf)],
    ca_bundle: &[u8],
    about: &About,
) -> Result<Index> {
    let mut images = Vec::new();
    for (platform, path) in programs {
        eprintln!("packing {} for {}", component.name(), platform.name());
        let bytes = store::read(path, MAX_BYTES)?;
        let usable = binary::check(&bytes, *platform);
        usable.map_err(|error| format!("{} cannot be put into an image: {error}", path.display()))?;
        let input = Input {
            binary: &bytes,
            ca_bundle,
        };
        images.push(image(component, *platform, &input, about)?);
    }
    Ok(index(component, images, about)?)
}

fn load(directory: &Path) -> Result<(Layout, Vec<Row>)> {
    let layout = store::read_layout(directory, MAX_BYTES)?;
    let rows = rows(&layout).map_err(|error| {
        format!(
            "the layout {} cannot be used: {error}; build it again",
            directory.display()
        )
    })?;
    Ok((layout, rows))
}

fn show(directory: &Path) -> Result<()> {
    print(&load(directory)?.1)
}

fn archive(arguments: &Archive) -> Result<()> {
    let (layout, rows) = load(&arguments.layout)?;
    let bytes = layout.archive()?;
    store::write_file(&arguments.out, &bytes)?;
    eprintln!("wrote {} ({} bytes) with:", arguments.out.display(), bytes.len());
    for row in rows {
        eprintln!("    {}", row.full);
    }
    Ok(())
}

fn push_all(arguments: &Push) -> Result<()> {
    for row in load(&arguments.layout)?.1 {
        eprintln!("pushing {} to {}", row.short, arguments.to);
        let name = push(&arguments.layout, &row, &arguments.to, arguments.plain_http)?;
        writeln!(std::io::stdout(), "{name}")?;
    }
    Ok(())
}

fn print(rows: &[Row]) -> Result<()> {
    std::io::stdout().write_all(table(rows).as_bytes())?;
    Ok(())
}
