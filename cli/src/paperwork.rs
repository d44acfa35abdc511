//! What is made of a program's own words for a package: completions for shells, and man pages.

use crate::{Failure, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::path::Path;

/// The script that has a shell complete the words of `A`.
pub fn completion<A: CommandFactory>(shell: Shell) -> Vec<u8> {
    let mut command = A::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// A page for the program and for each of its commands into `dir`, named as `basalt-osd-pool.1` is. Hidden ones have none.
pub fn man_pages<A: CommandFactory>(section: &str, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|error| Failure::file(dir, &error))?;
    let mut command = A::command().disable_help_subcommand(true);
    command.build();
    pages(&command, section, dir)
}

fn pages(command: &Command, section: &str, dir: &Path) -> Result<()> {
    let man = Man::new(command.clone()).section(section).manual("Basalt").source("");
    let path = dir.join(man.get_filename());
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| Failure::file(&path, &error))?;
    fs::write(&path, text).map_err(|error| Failure::file(&path, &error))?;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages(command, section, dir)?;
    }
    Ok(())
}
