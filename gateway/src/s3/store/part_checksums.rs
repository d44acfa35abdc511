//! The checksums of an object's parts, as an entry keeps them: one behind the other, for there may be ten thousand. `SIZE:BASE64`, where each
//! has so many bytes. Entries of the first versions have a list of strings, each in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    List(Vec<String>),
    Packed(String),
}

/// `None`: they are not all of one size.
pub fn pack(values: &[String]) -> Option<String> {
    let decoded: Vec<Vec<u8>> = values.iter().map(|value| STANDARD.decode(value).ok()).collect::<Option<_>>()?;
    let size = decoded.first()?.len();
    let is_even = size > 0 && decoded.iter().all(|bytes| bytes.len() == size);
    is_even.then(|| format!("{size}:{}", STANDARD.encode(decoded.concat())))
}

fn unpack(packed: &str) -> Option<Vec<String>> {
    let (size, bytes) = packed.split_once(':')?;
    let size = size.parse::<usize>().ok().filter(|size| *size > 0)?;
    let bytes = STANDARD.decode(bytes).ok().filter(|bytes| bytes.len().is_multiple_of(size))?;
    Some(bytes.chunks(size).map(|value| STANDARD.encode(value)).collect())
}

pub fn serialize<S: Serializer>(values: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match pack(values) {
        Some(packed) => packed.serialize(serializer),
        None => values.serialize(serializer),
    }
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Kept::deserialize(deserializer)? {
        Kept::List(values) => Ok(values),
        Kept::Packed(packed) => {
            unpack(&packed).ok_or_else(|| serde::de::Error::custom("checksums of parts are SIZE:BASE64"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::*;
    use crate::s3::limits;

    #[test]
    fn ten_thousand_parts_of_the_usual_checksum_fit() {
        let values: Vec<String> = (0..limits::PARTS_MAX).map(|part| STANDARD.encode(part.to_le_bytes())).collect();
        assert!(pack(&values).unwrap().len() <= limits::PART_CHECKSUMS_BYTES_MAX);
        let entry = Entry { part_checksums: values, ..Entry::default() };
        let text = serde_json::to_string(&entry).unwrap();
        assert!(text.len() < limits::ENTRY_BYTES_MAX);
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }

    #[test]
    fn old_entries_and_uneven_checksums_are_read() {
        let uneven = Entry { part_checksums: vec!["AAAA".into(), "AAA=".into()], ..Entry::default() };
        let text = serde_json::to_string(&uneven).unwrap();
        assert!(text.contains(r#"["AAAA","AAA="]"#), "{text}");
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), uneven);
        for damaged in ["4", "0:", "x:AAAA", "2:AAAA", "3:!"] {
            let text = text.replace(r#"["AAAA","AAA="]"#, &format!("\"{damaged}\""));
            assert!(serde_json::from_str::<Entry>(&text).is_err(), "{damaged}");
        }
        assert_eq!(unpack("3:AAAABBBB"), Some(vec!["AAAA".into(), "BBBB".into()]));
    }
}
