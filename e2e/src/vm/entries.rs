//! What stands in a map of a guest, as bpftool prints it there: not read with bpfleet's own code.

use serde::Deserialize;

/// An entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; one for each processor where the map is per CPU.
    pub values: Vec<Vec<u8>>,
}

impl MapEntry {
    /// The key as text up to its first zero.
    pub fn text(&self) -> String {
        let end = self.key.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&self.key[..end.unwrap_or(self.key.len())]).into_owned()
    }

    /// The sum over all processors of the first 64 bits of the values, or of as many as they have.
    pub fn sum(&self) -> u64 {
        self.values.iter().map(|value| number(value)).sum()
    }
}

fn number(value: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(value) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

#[derive(Deserialize)]
struct Printed {
    key: Vec<String>,
    value: Option<Vec<String>>,
    values: Option<Vec<OfCpu>>,
}

#[derive(Deserialize)]
struct OfCpu {
    value: Vec<String>,
}

/// Reads what `bpftool -j map dump` prints.
pub(super) fn parse(json: &[u8]) -> Result<Vec<MapEntry>, String> {
    let printed: Vec<Printed> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let entry = |printed: Printed| {
        let per_cpu = printed.values.into_iter().flatten().map(|of| of.value);
        let values = printed.value.into_iter().chain(per_cpu);
        Ok(MapEntry {
            key: bytes(&printed.key)?,
            values: values.map(|value| bytes(&value)).collect::<Result<_, _>>()?,
        })
    };
    printed.into_iter().map(entry).collect()
}

fn bytes(printed: &[String]) -> Result<Vec<u8>, String> {
    let byte = |text: &String| {
        let digits = text.strip_prefix("0x").ok_or("no 0x".to_owned())?;
        u8::from_str_radix(digits, 16).map_err(|error| error.to_string())
    };
    printed
        .iter()
        .map(|text| byte(text).map_err(|error| format!("{text:?} is no byte: {error}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_with_and_without_processors() {
        let one = br#"[{"key":["0x6c","0x73","0x00"],"value":["0x02","0x01"],"formatted":{"key":"ls"}}]"#;
        let entry = &parse(one).unwrap()[0];
        assert_eq!((entry.text().as_str(), entry.sum()), ("ls", 0x102));
        let many = br#"[{"key":["0x00"],"values":[{"cpu":0,"value":["0x02"]},{"cpu":1,"value":["0x03"]}]}]"#;
        assert_eq!(parse(many).unwrap()[0].sum(), 5);
        assert!(parse(br#"[{"key":["0xzz"]}]"#).is_err() && parse(br#"{"error":"no"}"#).is_err());
    }
}
