//! `basalt bench`: words in fio's language, run on this thread's ring.

use crate::arguments::Global;
use crate::connection::{client_config, no_ring};
use crate::yardstick;
use basalt_benches::{Invocation, OutputFormat, Progress, Report, TargetError, run_on_threads};
use basalt_cli::output::{Format, Output};
use basalt_cli::table::{Align, Table};
use basalt_cli::{Failure, Result, command_line};
use basalt_client::Client;
use basalt_cluster::quantity::format_bytes;
use basalt_ring::Ring;
use basalt_ring::uring::UringConfig;
use clap::ValueEnum;
use indicatif::ProgressBar;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Job files are small; a wrong path may name something endless.
const JOB_FILE_BYTES_MAX: u64 = 1 << 20;

pub fn run(global: &Global, words: Vec<OsString>) -> Result<ExitCode> {
    let Words { global, summary, rest } = split(global, words)?;
    if let Some(settings) = yardstick::settings(&rest)? {
        return yardstick::run(&global, settings);
    }
    let invocation = Invocation::parse(&rest, read_job_file).map_err(|error| Failure::invalid(error.to_string()))?;
    let config = if invocation.needs_cluster() { Some(client_config(&global)?) } else { None };
    let format = match (global.format, invocation.format) {
        (Format::Plain, OutputFormat::Json) => Format::JsonPretty,
        (format, _) => format,
    };
    let bar = if format.shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let connect = async |ring: Ring| match &config {
        Some(config) => {
            let client = Client::connect(&ring, config.clone()).await;
            client.map(Some).map_err(|error| TargetError::new(error.errno(), error.message()))
        }
        None => Ok(None),
    };
    let watch = |progress| bar.set_message(progress_line(&progress));
    let report = run_on_threads(&UringConfig::default(), &invocation.jobs, connect, watch);
    bar.finish_and_clear();
    let report = report.map_err(|error| no_ring(&error))?;
    let report = report.map_err(|error| Failure::new(error.errno, error.message))?;
    let mut output = Output::new(format);
    output.show(&report.json(), |_| if summary { table(&report) } else { report.text() })?;
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

/// As fio's line while it runs.
fn progress_line(progress: &Progress) -> String {
    format!(
        "{}s: r={:.0} w={:.0} IOPS, {}/s",
        progress.elapsed.as_secs(),
        progress.reads_per_second,
        progress.writes_per_second,
        format_bytes(progress.bytes_per_second as u64)
    )
}

struct Words {
    global: Global,
    /// One line a job instead of fio's report.
    summary: bool,
    /// fio's.
    rest: Vec<String>,
}

/// fio's options go on to the end of the line, so those that are not fio's are picked out from among them here.
fn split(global: &Global, words: Vec<OsString>) -> Result<Words> {
    let mut global = global.clone();
    let mut summary = false;
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
        if option == "--summary" {
            summary = true;
            continue;
        }
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
    Ok(Words { global, summary, rest })
}

fn table(report: &Report) -> String {
    let right = |heading| (heading, Align::Right);
    let mut table = Table::with_headings_aligned(&[
        ("JOB", Align::Left),
        ("DIRECTION", Align::Left),
        right("DEPTH"),
        right("JOBS"),
        right("OPERATIONS"),
        right("IOPS"),
        right("BANDWIDTH"),
        right("MEAN"),
        right("P50"),
        right("P99"),
    ]);
    let micro = |nanoseconds: f64| format!("{:.0} us", nanoseconds / 1000.0);
    for job in &report.groups {
        for (direction, figures) in [("read", &job.read), ("write", &job.write)] {
            if figures.operations() == 0 {
                continue;
            }
            table.row([
                job.job.name.clone(),
                direction.to_owned(),
                job.job.iodepth.to_string(),
                job.clones.to_string(),
                figures.operations().to_string(),
                format!("{:.0}", figures.iops()),
                format_bytes(figures.bytes_per_second() as u64) + "/s",
                micro(figures.clat.mean()),
                micro(figures.clat.percentile(50.0) as f64),
                micro(figures.clat.percentile(99.0) as f64),
            ]);
        }
    }
    table.render()
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

    fn split(words: &[&str]) -> Result<Words> {
        let global = Global { config: "before".into(), format: Format::Plain };
        super::split(&global, words.iter().map(OsString::from).collect())
    }

    #[test]
    fn options_of_every_command_are_found_among_those_of_fio() {
        let words =
            split(&["--name=t", "-f", "json", "--rw=read", "--summary", "--config=here.toml", "job.fio"]).unwrap();
        assert_eq!((words.global.config, words.global.format), (PathBuf::from("here.toml"), Format::Json));
        assert_eq!(
            (words.summary, words.rest),
            (true, vec!["--name=t".to_owned(), "--rw=read".into(), "job.fio".into()])
        );
        assert_eq!(split(&["--name=t"]).unwrap().global.config, PathBuf::from("before"));
        assert!(split(&["--format"]).is_err() && split(&["--format=xml"]).is_err());
    }
}
