//! Writes the table of values into the chart's README, from the comments in values.yaml and the types in
//! values.schema.json.

use std::{env, fs, path::Path, process::ExitCode};

use serde_json::Value;

const USAGE: &str = "\
Writes the table of a chart's values into its README.md.

Usage: chartdoc DIRECTORY             rewrites DIRECTORY/README.md (DIRECTORY is charts/bpfleet)
       chartdoc --stdout DIRECTORY    prints what it would write
";
const BEGIN: &str = "<!-- values: made from values.yaml by `make generate` -->\n";
const END: &str = "<!-- end of values -->\n";
/// Longest default that is shown in the table.
const MAX_DEFAULT: usize = 60;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: std::io::Error },
    #[error("values.yaml: {0}")]
    Yaml(#[from] serde_norway::Error),
    #[error("values.schema.json: {0}")]
    Json(#[from] serde_json::Error),
    #[error("values.yaml: {0} has no comment that begins with `# --`, nor have the values in it")]
    Undocumented(String),
    #[error("values.schema.json says nothing of {0}, which is in values.yaml")]
    Unknown(String),
    #[error("README.md has no lines `{}` and `{}`", BEGIN.trim(), END.trim())]
    NoMarkers,
}

/// A value that a comment describes.
struct Documented {
    path: Vec<String>,
    comment: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [flag, directory] if flag == "--stdout" => readme(Path::new(directory)).map(|text| print!("{text}")),
        [directory] if !directory.starts_with('-') => rewrite(Path::new(directory)),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chartdoc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rewrite(chart: &Path) -> Result<(), Error> {
    let (path, text) = (chart.join("README.md"), readme(chart)?);
    fs::write(&path, text).map_err(|source| Error::Write {
        path: path.display().to_string(),
        source,
    })
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.display().to_string(),
        source,
    })
}

fn readme(chart: &Path) -> Result<String, Error> {
    let old = read(&chart.join("README.md"))?;
    let (head, rest) = old.split_once(BEGIN).ok_or(Error::NoMarkers)?;
    let (_, tail) = rest.split_once(END).ok_or(Error::NoMarkers)?;
    let values = read(&chart.join("values.yaml"))?;
    let schema = serde_json::from_str(&read(&chart.join("values.schema.json"))?)?;
    Ok(format!(
        "{head}{BEGIN}\n{}\n{END}{tail}",
        table(&values, &schema)?
    ))
}

fn table(text: &str, schema: &Value) -> Result<String, Error> {
    let values: Value = serde_norway::from_str(text)?;
    let mut table = "| value | type | default | what |\n|---|---|---|---|\n".to_owned();
    for Documented { path, comment } in documented(text)? {
        let name = path.join(".");
        let default = path.iter().fold(&values, |value, key| &value[key]).to_string();
        let default = if default.len() > MAX_DEFAULT {
            "see values.yaml".to_owned()
        } else {
            format!("`{default}`")
        };
        let type_ = schema_of(schema, &path)
            .map(|found| type_of(schema, found))
            .ok_or_else(|| Error::Unknown(name.clone()))?;
        let cells = [format!("`{name}`"), type_, default, comment].map(|cell| cell.replace('|', "\\|"));
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    Ok(table)
}

/// The values with a comment, in the order of the file. A commented map is one value.
fn documented(text: &str) -> Result<Vec<Documented>, Error> {
    let mut found = Vec::new();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut comment: Option<String> = None;
    // The indentation of a commented key: what is indented more belongs to it.
    let mut inside: Option<usize> = None;
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(first) = content.strip_prefix("# -- ") {
            comment = Some(first.to_owned());
        } else if let Some(more) = content.strip_prefix("# ") {
            if let Some(comment) = &mut comment {
                comment.push(' ');
                comment.push_str(more);
            }
        } else if content.is_empty() {
            comment = None;
        } else if !content.starts_with('-') && inside.is_none_or(|outer| indent <= outer) {
            inside = None;
            let (key, value) = content.split_once(':').unwrap_or((content, ""));
            while parents.last().is_some_and(|(parent, _)| *parent >= indent) {
                parents.pop();
            }
            parents.push((indent, key.to_owned()));
            let path: Vec<String> = parents.iter().map(|(_, key)| key.clone()).collect();
            match comment.take() {
                Some(comment) => {
                    found.push(Documented { path, comment });
                    inside = Some(indent);
                }
                None if value.trim().is_empty() => {}
                None => return Err(Error::Undocumented(path.join("."))),
            }
        }
    }
    Ok(found)
}

fn schema_of<'s>(root: &'s Value, path: &[String]) -> Option<&'s Value> {
    path.iter().try_fold(root, |schema, key| {
        resolve(root, schema).get("properties")?.get(key)
    })
}

fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    schema["$ref"]
        .as_str()
        .and_then(|reference| root.pointer(reference.trim_start_matches('#')))
        .unwrap_or(schema)
}

fn type_of(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    if let Some(allowed) = schema["enum"].as_array() {
        let words: Vec<String> = allowed
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        return words.join(", ");
    }
    if let Some(either) = schema["oneOf"].as_array() {
        let types: Vec<String> = either.iter().map(|one| type_of(root, one)).collect();
        return types.join(" or ");
    }
    match schema["type"].as_str() {
        Some("array") => "list".to_owned(),
        Some("object") => "map".to_owned(),
        other => other.unwrap_or("any").to_owned(),
    }
}
