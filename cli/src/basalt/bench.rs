//! `basalt bench`: words in fio's language, run on this thread's ring.

use crate::arguments::Global;
use crate::connection::{client_config, on_ring};
use basalt_benches::yardstick::{self, Settings};
use basalt_benches::{Invocation, OutputFormat};
use basalt_cli::output::{Format, Output};
use basalt_cli::{Failure, Result, command_line};
use basalt_client::Client;
use basalt_cluster::quantity;
use clap::ValueEnum;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Job files are small; a wrong path may name something endless.
const JOB_FILE_BYTES_MAX: u64 = 1 << 20;

pub fn run(global: &Global, words: Vec<OsString>) -> Result<ExitCode> {
    let (global, words) = split_global(global, words)?;
    if let Some(settings) = yardstick_settings(&words)? {
        return run_yardstick(&global, settings);
    }
    let invocation = Invocation::parse(&words, read_job_file).map_err(|error| Failure::invalid(error.to_string()))?;
    let config = if invocation.needs_cluster() { Some(client_config(&global)?) } else { None };
    let report = on_ring(async |ring| {
        let client = match config {
            Some(config) => Some(Client::connect(&ring, config).await?),
            None => None,
        };
        let report = basalt_benches::run(&ring, &invocation.jobs, client.as_ref()).await;
        report.map_err(|error| Failure::new(error.errno, error.message))
    })?;
    let format = match (global.format, invocation.format) {
        (Format::Plain, OutputFormat::Json) => Format::JsonPretty,
        (format, _) => format,
    };
    let mut output = Output::new(format);
    output.show(&report.json(), |_| report.text())?;
    output.finish()?;
    match report.error() {
        None => Ok(ExitCode::SUCCESS),
        Some(error) => {
            let failure = Failure::new(error.errno, error.message.clone());
            command_line::tell(&failure);
            Ok(ExitCode::from(failure.exit_status()))
        }
    }
}

/// `--yardstick=FILE [--pool=POOL] [--size=256M] [--runtime=5]`: the raw file or device, and the pool, measured in turn in one run.
fn yardstick_settings(words: &[String]) -> Result<Option<Settings>> {
    let mut settings = Settings { raw: PathBuf::new(), pool: None, size: 256 << 20, runtime: Duration::from_secs(5) };
    if !words.iter().any(|word| word.starts_with("--yardstick")) {
        return Ok(None);
    }
    for word in words {
        let invalid = |what: String| Failure::invalid(format!("{word}: {what}"));
        let (option, value) = word.split_once('=').ok_or_else(|| invalid("give it as --option=value".to_owned()))?;
        match option {
            "--yardstick" => settings.raw = PathBuf::from(value),
            "--pool" => settings.pool = Some(value.to_owned()),
            "--size" => settings.size = quantity::parse_bytes(value).map_err(invalid)?,
            "--runtime" => settings.runtime = quantity::parse_duration(value).map_err(invalid)?,
            _ => return Err(invalid("with --yardstick go --pool, --size and --runtime".to_owned())),
        }
    }
    Ok(Some(settings))
}

fn run_yardstick(global: &Global, settings: Settings) -> Result<ExitCode> {
    let config = if settings.pool.is_some() { Some(client_config(global)?) } else { None };
    let yardstick = on_ring(async |ring| {
        let client = match config {
            Some(config) => Some(Client::connect(&ring, config).await?),
            None => None,
        };
        let measured = yardstick::measure(&ring, &settings, client.as_ref()).await;
        measured.map_err(|error| Failure::new(error.errno, error.message))
    })?;
    let mut output = Output::new(global.format);
    output.show(&yardstick.json(), |_| yardstick.text())?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// fio's options go on to the end of the line, so those of every command are picked out from among them here.
fn split_global(global: &Global, words: Vec<OsString>) -> Result<(Global, Vec<String>)> {
    let mut global = global.clone();
    let mut rest = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let word = word
            .into_string()
            .map_err(|word| Failure::invalid(format!("{} is not UTF-8, as bench's words are", word.display())))?;
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if !matches!(option, "-c" | "--config" | "-f" | "--format") {
            rest.push(word);
            continue;
        }
        let next = || words.next().and_then(|word| word.into_string().ok());
        let value = value.or_else(next).ok_or_else(|| Failure::invalid(format!("{option} needs a value")))?;
        if matches!(option, "-c" | "--config") {
            global.config = PathBuf::from(value);
        } else {
            global.format = Format::from_str(&value, false)
                .map_err(|_| Failure::invalid(format!("{option} {value}: it is one of plain, json, json-pretty")))?;
        }
    }
    Ok((global, rest))
}

fn read_job_file(path: &str) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(JOB_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str]) -> Result<(Global, Vec<String>)> {
        let global = Global { config: "before".into(), format: Format::Plain };
        split_global(&global, words.iter().map(OsString::from).collect())
    }

    #[test]
    fn options_of_every_command_are_found_among_those_of_fio() {
        let (global, rest) = split(&["--name=t", "-f", "json", "--rw=read", "--config=here.toml", "job.fio"]).unwrap();
        assert_eq!((global.config, global.format), (PathBuf::from("here.toml"), Format::Json));
        assert_eq!(rest, ["--name=t", "--rw=read", "job.fio"]);
        assert_eq!(split(&["--name=t"]).unwrap().0.config, PathBuf::from("before"));
        assert!(split(&["--format"]).is_err() && split(&["--format=xml"]).is_err());
    }
}
