//! Words and brackets, each with where it stands.

use super::compile::CompileError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// A word, or one of `{ } [ ]`.
    pub text: &'a str,
    /// From 1, in characters.
    pub line: u32,
    pub column: u32,
}

/// A text's tokens one by one; `#` begins a comment to the line's end.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a str,
    line: u32,
    column: u32,
}

const BRACKETS: &str = "{}[]";

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Tokens<'a> {
        Tokens { rest: text, line: 1, column: 1 }
    }

    /// `None` at the end.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, CompileError> {
        self.skip_space();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let length = if BRACKETS.contains(first) {
            1
        } else {
            self.rest.find(|character| !is_word(character)).unwrap_or(self.rest.len())
        };
        let (Some(text), Some(rest)) = (self.rest.get(..length), self.rest.get(length..)) else { return Ok(None) };
        if text.is_empty() {
            let message =
                format!("'{}' has no meaning here: there are words, numbers, {{ }} and [ ]", first.escape_debug());
            return Err(CompileError { line: self.line, column: self.column, message });
        }
        let token = Token { text, line: self.line, column: self.column };
        self.rest = rest;
        // Words and brackets have one byte a character.
        self.column = self.column.saturating_add(length as u32);
        Ok(Some(token))
    }

    /// The next one, without taking it.
    pub fn peek(&self) -> Result<Option<Token<'a>>, CompileError> {
        self.clone().next()
    }

    /// Where the text ends, once it is read.
    pub fn place(&self) -> (u32, u32) {
        (self.line, self.column)
    }

    fn skip_space(&mut self) {
        let mut is_comment = false;
        let mut length = 0;
        for character in self.rest.chars() {
            match character {
                '\n' => {
                    is_comment = false;
                    self.line = self.line.saturating_add(1);
                    self.column = 0;
                }
                '#' => is_comment = true,
                _ if is_comment || character.is_whitespace() => {}
                _ => break,
            }
            self.column = self.column.saturating_add(1);
            length += character.len_utf8();
        }
        self.rest = self.rest.get(length..).unwrap_or_default();
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.+".contains(character)
}
