//! `basalt bench --yardstick`: the raw file or device, and the pool, measured in turn in one run.

use crate::arguments::Global;
use crate::connection::{client_config, on_ring};
use basalt_benches::yardstick::{self, Settings};
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_cluster::quantity;
use basalt_ring::uring::UringConfig;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// `--yardstick=FILE [--pool=POOL] [--daemon-pid=PID] [--size=256M] [--runtime=5]`; `None` where the words ask for something else.
pub fn settings(words: &[String]) -> Result<Option<Settings>> {
    let mut settings = Settings {
        raw: PathBuf::new(),
        pool: None,
        daemon_pid: None,
        size: 256 << 20,
        runtime: Duration::from_secs(5),
    };
    if !words.iter().any(|word| word.starts_with("--yardstick")) {
        return Ok(None);
    }
    for word in words {
        let invalid = |what: String| Failure::invalid(format!("{word}: {what}"));
        let (option, value) = word.split_once('=').ok_or_else(|| invalid("give it as --option=value".to_owned()))?;
        match option {
            "--yardstick" => settings.raw = PathBuf::from(value),
            "--pool" => settings.pool = Some(value.to_owned()),
            "--daemon-pid" => {
                let pid = value.parse().map_err(|_| invalid("this is no process id".to_owned()))?;
                settings.daemon_pid = Some(pid);
            }
            "--size" => settings.size = quantity::parse_bytes(value).map_err(invalid)?,
            "--runtime" => settings.runtime = quantity::parse_duration(value).map_err(invalid)?,
            _ => return Err(invalid("with --yardstick go --pool, --daemon-pid, --size and --runtime".to_owned())),
        }
    }
    Ok(Some(settings))
}

pub fn run(global: &Global, settings: Settings) -> Result<ExitCode> {
    let config = if settings.pool.is_some() { Some(client_config(global)?) } else { None };
    let yardstick = on_ring(UringConfig::default(), async |ring| {
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
