//! Picks few and small inputs that reach much: `pick CONTROL FILES BYTES`, where CONTROL is the control file of
//! libFuzzer's `-merge=1`, which says what each input reaches. Prints their paths.

use std::collections::{HashMap, HashSet};
use std::error::Error;

struct Input<'a> {
    path: &'a str,
    bytes: u64,
    reaches: HashSet<u32>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [control, files, bytes] = arguments.as_slice() else {
        return Err("usage: pick CONTROL FILES BYTES".into());
    };
    let (files, mut left): (usize, u64) = (files.parse()?, bytes.parse()?);
    let control = std::fs::read_to_string(control)?;
    let mut inputs = read(&control)?;
    let mut reached = HashSet::new();
    for _ in 0..files {
        // What is reached for the first time, by size; whoever is too large now will always be.
        inputs.retain(|i| i.bytes <= left && i.reaches.iter().any(|f| !reached.contains(f)));
        let worth = |i: &Input<'_>| {
            let new = i.reaches.iter().filter(|f| !reached.contains(*f)).count() as u64;
            new * 1_000_000 / (i.bytes + 200)
        };
        let Some(best) = (0..inputs.len()).max_by_key(|at| worth(&inputs[*at])) else {
            break;
        };
        let best = inputs.swap_remove(best);
        left -= best.bytes;
        println!("{}", best.path);
        reached.extend(best.reaches);
    }
    Ok(())
}

/// How many files, how many of them in the first directory, their paths, and then lines of what was found of
/// each by its number.
fn read(control: &str) -> Result<Vec<Input<'_>>, Box<dyn Error>> {
    let mut lines = control.lines();
    let count: usize = lines.next().ok_or("an empty control file")?.parse()?;
    let paths: Vec<&str> = lines.by_ref().skip(1).take(count).collect();
    let mut found: HashMap<usize, (u64, HashSet<u32>)> = HashMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let (Some(word), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) else {
            continue;
        };
        let entry = found.entry(number).or_default();
        let mut rest = words.filter_map(|w| w.parse::<u32>().ok());
        match word {
            "STARTED" => entry.0 = rest.next().unwrap_or(0).into(),
            "FT" => entry.1.extend(rest),
            _ => {}
        }
    }
    Ok(found
        .into_iter()
        .filter_map(|(number, (bytes, reaches))| {
            Some(Input {
                path: paths.get(number)?,
                bytes,
                reaches,
            })
        })
        .collect())
}
