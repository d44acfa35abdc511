//! How a command begins and ends: its words understood or refused in one line, its failure told in one line, its exit status.

use crate::output::Output;
use crate::{Failure, Result};
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

/// Runs a whole command. Whatever goes wrong in it, even a bug, ends as one line on stderr and an exit status.
pub fn run(command: impl FnOnce() -> Result<ExitCode>) -> ExitCode {
    panic::set_hook(Box::new(|bug| {
        let place = bug.location().map_or(String::new(), |location| format!(" at {location}"));
        let message = bug.payload_as_str().unwrap_or("no message");
        tell(&Failure::new(
            libc::ENOTRECOVERABLE,
            format!("this is a bug in Basalt{place}: {message}; please report it with the command that led to it"),
        ));
    }));
    match panic::catch_unwind(AssertUnwindSafe(command)) {
        Ok(Ok(status)) => status,
        Ok(Err(failure)) if failure.is_reader_left() => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            tell(&failure);
            ExitCode::from(failure.exit_status())
        }
        Err(_) => ExitCode::from(Failure::new(libc::ENOTRECOVERABLE, "").exit_status()),
    }
}

/// Says on stderr what went wrong. Nobody may be listening there: that is no reason to fail.
pub fn tell(failure: &Failure) {
    let _ = writeln!(std::io::stderr().lock(), "{failure}");
}

/// What the words say, or, for `--help` and `--version`, what to print instead.
pub enum Words<A> {
    Arguments(A),
    Print(String),
}

/// A program's `main`: its words to `dispatch`, or their help to stdout.
///
/// `examples`: whole command lines, each shown below the help of its command.
pub fn run_arguments<A: clap::Parser>(examples: &[&str], dispatch: impl FnOnce(A) -> Result<ExitCode>) -> ExitCode {
    run(|| match parse::<A>(examples, std::env::args_os())? {
        Words::Arguments(arguments) => dispatch(arguments),
        Words::Print(text) => {
            let mut output = Output::new(Default::default());
            output.text(&text)?;
            output.finish()?;
            Ok(ExitCode::SUCCESS)
        }
    })
}

/// Understands the words of a command line; the first is the program's name.
pub fn parse<A: clap::Parser>(examples: &[&str], words: impl IntoIterator<Item = OsString>) -> Result<Words<A>> {
    let command = with_examples(A::command(), examples, "");
    let understood = command.try_get_matches_from(words).and_then(|matches| A::from_arg_matches(&matches));
    match understood {
        Ok(arguments) => Ok(Words::Arguments(arguments)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Words::Print(error.render().to_string()))
        }
        Err(error) => Err(Failure::invalid(one_line(&error.render().to_string()))),
    }
}

/// Puts each example below the help of the command that it is one of. `path`: the names that lead to this command.
fn with_examples(command: clap::Command, examples: &[&str], path: &str) -> clap::Command {
    let path = format!("{path}{} ", command.get_name());
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    if names.is_empty() {
        let own = examples.iter().find(|example| format!("{example} ").starts_with(&path));
        return match own {
            Some(example) => command.after_help(format!("Example:\n  {example}")),
            None => command,
        };
    }
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |command| with_examples(command, examples, &path)))
}

/// The paragraphs of a refusal as one line: what is wrong, the nearest right words, the usage.
fn one_line(text: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n") {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        let paragraph = words.join(" ");
        let paragraph = paragraph.trim_start_matches("error: ").trim_start_matches("tip: ");
        if paragraph.is_empty() || paragraph.starts_with("For more information") {
            continue;
        }
        parts.push(match paragraph.strip_prefix("Usage: ") {
            Some(usage) => format!("usage: {usage}"),
            None => paragraph.to_owned(),
        });
    }
    parts.join("; ")
}

/// For the tests of both programs.
#[doc(hidden)]
pub mod tests_of_commands {
    use super::*;

    pub const DOCUMENTS: [(&str, &str); 7] = [
        ("README.md", include_str!("../../README.md")),
        ("COMING-FROM-CEPH.md", include_str!("../../docs/COMING-FROM-CEPH.md")),
        ("HEALTH.md", include_str!("../../docs/HEALTH.md")),
        ("IMAGES.md", include_str!("../../docs/IMAGES.md")),
        ("OPERATIONS.md", include_str!("../../docs/OPERATIONS.md")),
        ("S3.md", include_str!("../../docs/S3.md")),
        ("TIERING.md", include_str!("../../docs/TIERING.md")),
    ];

    fn words(line: &str) -> impl Iterator<Item = OsString> {
        line.split_whitespace().map(OsString::from)
    }

    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path}{} ", command.get_name());
        if !command.has_subcommands() {
            found.push(path.trim_end().to_owned());
        }
        command.get_subcommands().for_each(|command| leaves(command, &path, found));
    }

    pub fn must_parse<A: clap::Parser>(line: &str) {
        if let Err(failure) = parse::<A>(&[], words(line)) {
            panic!("{line}: {failure}");
        }
    }

    /// Every command of the program that a document shows, in backticks or on a line of a block, exists and has the options that are
    /// given with it. Returns how many there are.
    pub fn check_document<A: clap::Parser>(program: &str, name: &str, text: &str) -> usize {
        let mut root = A::command().disable_help_subcommand(true);
        root.build();
        let mut count = 0;
        let mut is_block = false;
        for line in text.lines() {
            if line.starts_with("```") {
                is_block = !is_block;
                continue;
            }
            let shown: Vec<&str> = match is_block {
                true => vec![line.split(" | ").last().unwrap_or(line).trim_start_matches("$ ")],
                false => line.split('`').skip(1).step_by(2).collect(),
            };
            for command in shown {
                if let Some(words) = command.strip_prefix(program).and_then(|rest| rest.strip_prefix(' ')) {
                    check_words(&root, words, &format!("{name}: {command}"));
                    count += 1;
                }
            }
        }
        count
    }

    fn check_words(root: &clap::Command, words: &str, place: &str) {
        let mut command = root;
        let mut words = words.split(" # ").next().unwrap_or_default().split_whitespace();
        while let Some(word) = words.next() {
            if let Some(option) = word.strip_prefix("--") {
                let (name, value) = option.split_once('=').unzip();
                let name = name.unwrap_or(option);
                let found = command.get_arguments().find(|argument| argument.get_long() == Some(name));
                // What follows `bench` is its own.
                if command.get_name() != "bench" {
                    let found = found.unwrap_or_else(|| panic!("{place}: there is no --{name}"));
                    if found.get_action().takes_values() && value.is_none() {
                        words.next();
                    }
                }
            } else if command.has_subcommands() && !word.starts_with('-') {
                // `set|unset`: each of them.
                for name in word.split('|').rev() {
                    let found = command.find_subcommand(name);
                    let found = found.unwrap_or_else(|| panic!("{place}: there is no {name}"));
                    if word.starts_with(name) {
                        command = found;
                    }
                }
            }
        }
    }

    /// Every command has an example, which its help shows and which is understood; every example is of a command; and a wrong word is
    /// refused in one line.
    pub fn check<A: clap::Parser>(program: &str, examples: &[&str]) {
        let mut commands = Vec::new();
        leaves(&A::command(), "", &mut commands);
        assert!(commands.len() > 5, "{commands:?}");
        for command in &commands {
            assert!(command.starts_with(program), "{command}");
            let Ok(Words::Print(help)) = parse::<A>(examples, words(&format!("{command} --help"))) else {
                panic!("{command} has no help");
            };
            let example = help.split_once("Example:\n  ").map(|(_, example)| example.trim());
            let example = example.unwrap_or_else(|| panic!("{command} has no example:\n{help}"));
            assert!(
                format!("{example} ").starts_with(&format!("{command} ")),
                "{command} has the example of another: {example}"
            );
            let takes_anything = command.ends_with(" bench");
            let wrong = parse::<A>(examples, words(&format!("{command} --no-such-option")));
            match wrong {
                Err(failure) => {
                    let line = failure.to_string();
                    assert!(line.starts_with("Error EINVAL: ") && !line.contains('\n'), "{command}: {line}");
                }
                Ok(_) => assert!(takes_anything, "{command} takes --no-such-option"),
            }
        }
        for example in examples {
            must_parse::<A>(example);
            let is_known = commands.iter().any(|command| format!("{example} ").starts_with(&format!("{command} ")));
            assert!(is_known, "{example} is of no command");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Parser, Subcommand};

    #[derive(Parser, Debug)]
    #[command(name = "thing", subcommand_required = true)]
    struct Thing {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Subcommand, Debug)]
    enum Verb {
        Status { pool: String },
    }

    fn refusal(words: &[&str]) -> String {
        match parse::<Thing>(&[], words.iter().map(OsString::from)) {
            Err(failure) => failure.to_string(),
            Ok(_) => panic!("{words:?} was taken"),
        }
    }

    #[test]
    fn an_unknown_word_is_refused_in_one_line_with_the_nearest_right_one() {
        let line = refusal(&["thing", "stauts"]);
        assert!(line.starts_with("Error EINVAL: unrecognized subcommand 'stauts'"), "{line}");
        assert!(line.contains("'status'") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_missing_argument_is_named() {
        let line = refusal(&["thing", "status"]);
        assert!(line.contains("<POOL>") && line.contains("usage: thing status <POOL>"), "{line}");
    }

    #[test]
    fn help_is_an_answer_and_no_failure() {
        assert!(matches!(parse::<Thing>(&[], ["thing", "--help"].map(OsString::from)), Ok(Words::Print(_))));
    }
}
