//! Names of objects, xattrs and keys, which are any bytes, where text is wanted.

use serde_json::{Value, json};
use std::fmt::Write;

/// For messages: in single quotes, with what is not printable escaped.
pub fn quoted(name: &[u8]) -> String {
    let mut text = String::from("'");
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\'' || character == '\\' {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('\'');
    text
}

/// For JSON, without loss: a string where the name is UTF-8, else `{"hex": "…"}`.
pub fn json(name: &[u8]) -> Value {
    match std::str::from_utf8(name) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "hex": hex(name) }),
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_name_is_printable() {
        assert_eq!(quoted(b"a b/\xc3\xa4"), "'a b/ä'");
        assert_eq!(quoted(b"it's\n\xff\x1b"), r"'it\'s\n\xff\u{1b}'");
    }

    #[test]
    fn a_name_in_json_loses_nothing() {
        assert_eq!(json("ä\n".as_bytes()).to_string(), r#""ä\n""#);
        assert_eq!(json(b"\xff\x00").to_string(), r#"{"hex":"ff00"}"#);
    }
}
