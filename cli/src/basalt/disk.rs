//! `disk ls|add|rm`: this host's disks, and which of them are OSDs.

use crate::administration::{ask, osds};
use crate::arguments::Global;
use crate::arguments::setup::Disk;
use crate::connection::with_client;
use crate::host_file::HostFile;
use basalt_cli::output::Output;
use basalt_cli::table::{Align, Table};
use basalt_cli::{Failure, Result, errno};
use basalt_cluster::Config;
use basalt_cluster::quantity::format_bytes;
use basalt_net::Key;
use basalt_net::message::monitor::{AdminCommand, AuthCommand};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

pub fn run(global: &Global, command: Disk) -> Result<ExitCode> {
    match command {
        Disk::Ls => ls(global),
        Disk::Add { device, hot, osd, sure } => add(global, &device, hot.as_deref(), osd, sure),
        Disk::Rm { osd, sure } => rm(global, osd, sure),
    }
}

fn ls(global: &Global) -> Result<ExitCode> {
    // A host that is not set up yet has disks as well.
    let config = Config::load(&global.config).ok();
    let mut disks: Vec<Value> = Vec::new();
    for (path, size, is_rotational) in block_devices()? {
        let holds = match contents(&path) {
            Ok(holds) => holds,
            Err(problem) => Some(problem.message().to_owned()),
        };
        disks.push(json!({
            "path": path,
            "size": size,
            "kind": if is_rotational { "hdd" } else { "ssd" },
            "holds": holds,
            "mounted": mounted_at(&path),
            "used_by": config.as_ref().and_then(|config| user_of(config, &path)),
        }));
    }
    let mut output = Output::new(global.format);
    output.show(&Value::Array(disks), |disks| {
        let left = |heading| (heading, Align::Left);
        let mut table =
            Table::new(&[left("DEVICE"), ("SIZE", Align::Right), left("KIND"), left("HOLDS"), left("USED BY")]);
        for disk in disks.as_array().into_iter().flatten() {
            let text = |key: &str| disk.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            let used_by = match (text("used_by"), text("mounted")) {
                (osd, _) if !osd.is_empty() => osd,
                (_, mounted) => mounted,
            };
            let size = format_bytes(disk.get("size").and_then(Value::as_u64).unwrap_or(0));
            table.row([text("path"), size, text("kind"), text("holds"), used_by]);
        }
        table.render()
    })?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn add(global: &Global, base: &Path, hot: Option<&Path>, osd: Option<u32>, sure: bool) -> Result<ExitCode> {
    let file = HostFile::load(&global.config)?;
    if file.config().osd.is_none() {
        let message = format!(
            "{} has no [osd] section; `basalt bootstrap` and `basalt host add` write one",
            global.config.display()
        );
        return Err(Failure::invalid(message));
    }
    let mut held = Vec::new();
    for device in std::iter::once(base).chain(hot) {
        if let Some(mounted) = mounted_at(device) {
            return Err(Failure::new(
                libc::EBUSY,
                format!("{} is mounted at {mounted}: unmount it first", device.display()),
            ));
        }
        if is_in_use(device) {
            return Err(Failure::new(libc::EBUSY, format!("{} is in use by the kernel or a daemon", device.display())));
        }
        held.extend(contents(device)?.map(|holds| format!("{} holds {holds}", device.display())));
    }
    if !held.is_empty() && !sure && !is_agreed(&held.join(", "))? {
        let message = format!("{}; --yes-i-really-really-mean-it destroys it", held.join(", "));
        return Err(Failure::new(libc::EEXIST, message));
    }
    let osd = match osd {
        Some(osd) => osd,
        None => free_number(global, file.config())?,
    };
    let text = file.with_device(osd, base, hot)?;
    // The store first: a file that names a device without one would keep the host's daemon from serving it.
    let beside = file.beside(&text)?;
    let made = mkfs(&beside, osd, !held.is_empty());
    let removed = fs::remove_file(&beside);
    made?;
    make_known(global, file.config(), osd)?;
    removed.map_err(|error| Failure::file(&beside, &error))?;
    file.replace(&text)?;
    let message = format!("osd.{osd} is made on {}", base.display());
    let next = "systemctl restart basalt-osd";
    let mut output = Output::new(global.format);
    output.show(&json!({ "osd": osd, "message": message, "next": next }), |_| format!("{message}\nnext: {next}\n"))?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn rm(global: &Global, osd: u32, sure: bool) -> Result<ExitCode> {
    let file = HostFile::load(&global.config)?;
    let devices = file.config().osd.as_ref().map_or(&[][..], |section| &section.devices);
    let Some(device) = devices.iter().find(|device| device.id == osd) else {
        return Err(Failure::new(libc::ENOENT, format!("{} has no osd.{osd}", global.config.display())));
    };
    let base = device.base.display().to_string();
    if !sure {
        with_client(global, async |client| {
            // One that was purged is nobody's any more.
            if !osds(&client).await?.contains(&osd) {
                return Ok(());
            }
            ask(&client, AdminCommand::OsdSafeToDestroy { osds: vec![osd] }).await.map(drop)
        })?;
    }
    file.replace(&file.without_device(osd)?)?;
    let message = format!("osd.{osd} is no longer in {}; its store is still on {base}", global.config.display());
    let next = format!("systemctl restart basalt-osd; basalt osd purge {osd} --yes-i-really-mean-it");
    let mut output = Output::new(global.format);
    output.show(&json!({ "osd": osd, "message": message, "next": next }), |_| format!("{message}\nnext: {next}\n"))?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// The lowest number that neither the cluster nor the host's file has.
fn free_number(global: &Global, config: &Config) -> Result<u32> {
    let known = with_client(global, async |client| osds(&client).await)?;
    let own = config.osd.iter().flat_map(|section| &section.devices).map(|device| device.id);
    let known: std::collections::BTreeSet<u32> = known.into_iter().chain(own).collect();
    Ok((0..).find(|id| !known.contains(id)).unwrap_or(0))
}

/// The cluster knows an OSD by its host's key, where each has its own.
fn make_known(global: &Global, config: &Config, osd: u32) -> Result<()> {
    let Some(key_file) = config.keys.osd.as_ref().filter(|_| !config.monitor_keys.is_empty()) else { return Ok(()) };
    let public_key = Key::load(key_file)?.public().0;
    let (entity, profile) = (format!("osd.{osd}"), "profile osd".to_owned());
    let command = AuthCommand::Add { entity, public_key, mon: profile.clone(), osd: profile };
    with_client(global, async |client| ask(&client, AdminCommand::Auth(command)).await.map(drop))
}

/// By the daemon's own program, which lies beside this one: it knows the format.
fn mkfs(config: &Path, osd: u32, force: bool) -> Result<()> {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("basaltd")).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| PathBuf::from("basaltd"));
    let mut command = Command::new(&program);
    command.args(["mkfs", "--osd", &osd.to_string(), "--config"]).arg(config).args(force.then_some("--force"));
    let output = command.output().map_err(|error| Failure::file(&program, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().last().unwrap_or("").trim_start_matches("Error ");
    let number = output.status.code().filter(|code| *code > 0).unwrap_or(libc::EIO);
    Err(Failure::new(number, format!("osd.{osd} can't be made: {line}")))
}

fn is_agreed(held: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    let failed = |error: std::io::Error| Failure::new(errno::of_io(&error), format!("cannot ask: {error}"));
    write!(std::io::stderr(), "{held}. All of it is lost if you go on. Type yes to go on: ").map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().take(64).read_line(&mut line).map_err(failed)?;
    Ok(line.trim() == "yes")
}

/// Disks and partitions that have a size, with it and whether they rotate.
fn block_devices() -> Result<Vec<(PathBuf, u64, bool)>> {
    let folder = Path::new("/sys/class/block");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Failure::file(folder, &error))? {
        let entry = entry.map_err(|error| Failure::file(folder, &error))?;
        let Ok(real) = entry.path().canonicalize() else { continue };
        let number = |path: PathBuf| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let sectors = number(real.join("size")).unwrap_or(0);
        // A partition's queue is its disk's.
        let queue = [real.join("queue"), real.join("../queue")].into_iter().find(|path| path.exists());
        let is_rotational = queue.and_then(|queue| number(queue.join("rotational"))) == Some(1);
        let path = Path::new("/dev").join(entry.file_name());
        if sectors > 0 && path.exists() && !entry.file_name().to_string_lossy().starts_with("ram") {
            found.push((path, sectors * 512, is_rotational));
        }
    }
    found.sort();
    Ok(found)
}

/// What a device or a file holds, in words; `None`: nothing that is known.
fn contents(path: &Path) -> Result<Option<String>> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    file.take(8192).read_to_end(&mut head).map_err(|error| Failure::file(path, &error))?;
    const MAGIC: &[u8] = b"BASALTSB";
    if [0, 4096].iter().any(|at| head.get(*at..*at + MAGIC.len()) == Some(MAGIC)) {
        return Ok(Some("a Basalt store".into()));
    }
    // Filesystems, LVM, RAID and partition tables are what util-linux knows best.
    let output = Command::new("blkid").args(["-p", "-o", "export"]).arg(path).output().map_err(|error| {
        Failure::new(
            errno::of_io(&error),
            format!("blkid tells what {} holds, and can't be run: {error}", path.display()),
        )
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Ok(match (value("TYPE"), value("PTTYPE"), output.status.code()) {
        (Some(kind), _, _) => Some(kind.to_owned()),
        (None, Some(table), _) => Some(format!("a partition table ({table})")),
        (None, None, Some(0 | 2)) => None,
        // Two that contradict each other, for one.
        _ => Some("something that can't be told".into()),
    })
}

fn mounted_at(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let device = Path::new(words.next()?).canonicalize().ok()?;
        (device == real).then(|| words.next().unwrap_or("").to_owned())
    })
}

/// The kernel gives a block device to nobody else while a filesystem, a device mapper or a daemon has it.
fn is_in_use(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_block = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device());
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(path);
    is_block && opened.is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
}

fn user_of(config: &Config, path: &Path) -> Option<String> {
    let is_it = |device: &Path| {
        device == path || device.canonicalize().ok().is_some_and(|real| path.canonicalize().ok() == Some(real))
    };
    config.osd.iter().flat_map(|section| &section.devices).find_map(|device| {
        let role = if is_it(&device.base) {
            "base"
        } else if device.hot.as_deref().is_some_and(is_it) {
            "hot"
        } else {
            return None;
        };
        Some(format!("osd.{} ({role})", device.id))
    })
}
