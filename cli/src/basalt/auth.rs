//! Who is known to the cluster, by which keys, and what each may do. Secret keys are made and kept here, and never sent.

use crate::administration;
use crate::arguments::Global;
use crate::connection::with_client;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_net::message::monitor::{AdminCommand, AuthCommand};
use basalt_net::{Key, PublicKey};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Subcommand, Debug)]
pub enum Auth {
    /// Everybody, with their public keys and capabilities.
    Ls,
    Get {
        entity: String,
    },
    /// Makes client.NAME, osd.N or mon.NAME known. Capabilities are pairs such as: mon 'allow r' osd 'allow rw pool=vms'.
    Add {
        entity: String,
        #[arg(value_name = "mon|osd CAPS")]
        caps: Vec<String>,
        #[command(flatten)]
        key: KeyChoice,
    },
    /// Gives other capabilities, instead of all that there were.
    Caps {
        entity: String,
        #[arg(required = true, value_name = "mon|osd CAPS")]
        caps: Vec<String>,
    },
    /// Not known any more: its sessions end.
    Rm {
        entity: String,
    },
    /// Makes it known by a second key, too. Once it uses that, the old one is dropped with `rm-key`.
    Rotate {
        entity: String,
        #[command(flatten)]
        key: KeyChoice,
    },
    /// Not known by this key any more: sessions that began with it end.
    RmKey {
        entity: String,
        public_key: PublicKey,
    },
    /// Makes a secret key in a new file, mode 0600, and prints its public key. With no cluster.
    Keygen {
        file: PathBuf,
    },
    /// Prints the public key that belongs to the secret one in a file. With no cluster.
    PublicKey {
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct KeyChoice {
    /// The file of its secret key, which is made if it is missing; only the public key is sent.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// As `basalt auth keygen` printed it elsewhere.
    #[arg(long, value_name = "KEY")]
    public_key: Option<PublicKey>,
}

impl KeyChoice {
    fn public(&self) -> Result<PublicKey> {
        match (&self.key_file, self.public_key) {
            (Some(file), _) if file.exists() => Ok(Key::load(file)?.public()),
            (Some(file), _) => make(file),
            (None, Some(key)) => Ok(key),
            (None, None) => Err(Failure::invalid("no key is given: --key-file FILE or --public-key KEY")),
        }
    }
}

pub fn run(global: &Global, command: Auth) -> Result<ExitCode> {
    let mut output = Output::new(global.format);
    match command {
        Auth::Keygen { file } => tell(&mut output, make(&file)?)?,
        Auth::PublicKey { file } => tell(&mut output, Key::load(&file)?.public())?,
        command => {
            let command = AdminCommand::Auth(words(command)?);
            with_client(global, async |client| administration::say(&client, &mut output, command).await)?;
        }
    }
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn tell(output: &mut Output, key: PublicKey) -> Result<()> {
    output.show(&json!({ "public_key": key.to_string() }), |_| format!("{key}\n"))
}

fn make(file: &Path) -> Result<PublicKey> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(libc::EIO, format!("the kernel gives no random bytes: {error}")))?;
    let key = Key::from_bytes(bytes);
    key.create(file)?;
    Ok(key.public())
}

fn words(command: Auth) -> Result<AuthCommand> {
    Ok(match command {
        Auth::Ls => AuthCommand::Ls,
        Auth::Get { entity } => AuthCommand::Get { entity },
        Auth::Add { entity, caps, key } => {
            let (mon, osd) = pairs(caps)?;
            AuthCommand::Add { entity, public_key: key.public()?.0, mon, osd }
        }
        Auth::Caps { entity, caps } => {
            let (mon, osd) = pairs(caps)?;
            AuthCommand::Caps { entity, mon, osd }
        }
        Auth::Rm { entity } => AuthCommand::Rm { entity },
        Auth::Rotate { entity, key } => AuthCommand::Rotate { entity, public_key: key.public()?.0 },
        Auth::RmKey { entity, public_key } => AuthCommand::RmKey { entity, public_key: public_key.0 },
        Auth::Keygen { .. } | Auth::PublicKey { .. } => return Err(Failure::invalid("this needs no cluster")),
    })
}

/// `mon CAPS osd CAPS`, in any order.
fn pairs(words: Vec<String>) -> Result<(String, String)> {
    let (mut mon, mut osd) = (None, None);
    let mut words = words.into_iter();
    while let Some(of) = words.next() {
        let place = match of.as_str() {
            "mon" => &mut mon,
            "osd" => &mut osd,
            // Ceph's file system is not here, and its words must not be taken for granted rights.
            _ => {
                return Err(Failure::invalid(format!(
                    "'{of}' has no capabilities: there are mon and osd, each followed by its own in quotes"
                )));
            }
        };
        let caps = words.next().ok_or_else(|| Failure::invalid(format!("{of} is followed by no capabilities")))?;
        if place.replace(caps).is_some() {
            return Err(Failure::invalid(format!("capabilities for {of} are given twice")));
        }
    }
    Ok((mon.unwrap_or_default(), osd.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_come_in_pairs() {
        let pairs = |words: &[&str]| pairs(words.iter().map(|word| (*word).to_owned()).collect()).ok();
        let both = |mon: &str, osd: &str| Some((mon.to_owned(), osd.to_owned()));
        assert_eq!(pairs(&[]), both("", ""));
        assert_eq!(pairs(&["osd", "allow rw", "mon", "allow r"]), both("allow r", "allow rw"));
        for wrong in [&["mon"][..], &["mds", "allow r"], &["mon", "allow r", "mon", "allow *"]] {
            assert_eq!(pairs(wrong), None, "{wrong:?}");
        }
    }
}
