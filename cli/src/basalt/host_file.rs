//! A host's configuration file, made and changed: always whole, and never what a person wrote in it lost.

use basalt_cli::{Failure, Result};
use basalt_cluster::Config;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The user that a package's daemons run as.
const USER: &str = "basalt";
const HEADER: &str = "[[osd.device]]";

pub struct HostFile {
    path: PathBuf,
    text: String,
    config: Config,
}

impl HostFile {
    pub fn load(path: &Path) -> Result<HostFile> {
        let config = Config::load(path)?;
        let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        Ok(HostFile { path: path.to_owned(), text, config })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file with one more OSD: an entry at its end.
    pub fn with_device(&self, osd: u32, base: &Path, hot: Option<&Path>) -> Result<String> {
        let quoted = |path: &Path| match path.to_str() {
            Some(text) => Ok(toml::Value::String(text.to_owned()).to_string()),
            None => Err(Failure::invalid(format!("{} can't be written into a file of UTF-8", path.display()))),
        };
        let mut text = self.text.trim_end().to_owned();
        text.push_str(&format!("\n\n{HEADER}\nid = {osd}\nbase = {}\n", quoted(base)?));
        if let Some(hot) = hot {
            text.push_str(&format!("hot = {}\n", quoted(hot)?));
        }
        self.check(&text, |devices| devices.contains(&osd))?;
        Ok(text)
    }

    /// The file without an OSD: the entry with its id goes, up to the next header.
    pub fn without_device(&self, osd: u32) -> Result<String> {
        let mut entries: Vec<Vec<&str>> = vec![Vec::new()];
        for line in self.text.lines() {
            if line.trim_start().starts_with('[') {
                entries.push(Vec::new());
            }
            if let Some(entry) = entries.last_mut() {
                entry.push(line);
            }
        }
        let is_its = |entry: &Vec<&str>| {
            let id = entry
                .iter()
                .filter_map(|line| line.split('#').next()?.split_once('='))
                .find(|(key, _)| key.trim() == "id");
            entry.first().is_some_and(|line| line.trim_start().starts_with(HEADER))
                && id.is_some_and(|(_, value)| value.trim().parse() == Ok(osd))
        };
        let lines: Vec<&str> = entries.into_iter().filter(|entry| !is_its(entry)).flatten().collect();
        let text = lines.join("\n").trim_end().to_owned() + "\n";
        self.check(&text, |devices| !devices.contains(&osd))?;
        Ok(text)
    }

    /// A change that is not what it was to be, such as of a file that is laid out in its own way, is not made.
    fn check(&self, text: &str, is_right: impl Fn(&[u32]) -> bool) -> Result<()> {
        let config = Config::parse(text, &self.path)?;
        let devices: Vec<u32> =
            config.osd.iter().flat_map(|section| &section.devices).map(|device| device.id).collect();
        if !is_right(&devices) {
            let path = self.path.display();
            return Err(Failure::invalid(format!(
                "{path} is laid out in a way that can't be changed here: edit it by hand"
            )));
        }
        Ok(())
    }

    /// Beside the file first, and then in its place: a daemon that starts now reads the old one or the new one.
    pub fn replace(&self, text: &str) -> Result<()> {
        let beside = self.beside(text)?;
        fs::rename(&beside, &self.path).map_err(|error| Failure::file(&self.path, &error))
    }

    /// The changed text in a file of its own in the same folder, with the mode and the owner of the old one.
    pub fn beside(&self, text: &str) -> Result<PathBuf> {
        let beside = self.path.with_extension("toml.changed");
        let write = || {
            use std::os::unix::fs::MetadataExt;
            fs::write(&beside, text)?;
            let old = fs::metadata(&self.path)?;
            fs::set_permissions(&beside, old.permissions())?;
            // Only root may give files away, and needs to only where they were another's.
            let new = fs::metadata(&beside)?;
            if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
                chown(&beside, Some(old.uid()), Some(old.gid()))?;
            }
            fs::File::open(&beside)?.sync_all()
        };
        write().map_err(|error| Failure::file(&beside, &error))?;
        Ok(beside)
    }
}

/// Lets the daemons' user read a file, or have a folder, where there is such a user and this is root.
pub fn hand_over(path: &Path, is_its_own: bool) -> Result<()> {
    let failed = |error: std::io::Error| Failure::file(path, &error);
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    let Some((user, group)) = ids_of(USER).filter(|_| is_root) else { return Ok(()) };
    chown(path, Some(if is_its_own { user } else { 0 }), Some(group)).map_err(failed)?;
    let mode = if is_its_own { 0o750 } else { 0o640 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

/// As `/etc/passwd` has them.
fn ids_of(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<&str> =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name))?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Ours.\nfsid = \"6b1f3c3e-4a1d-4d57-9a6e-0f2d9c1b7a11\"\nkey_file = \"key\"\nmonitors = [\"127.0.0.1:6789\"]\n\n\
        [osd]\npublic_address = \"127.0.0.1:6800\"\ncluster_address = \"127.0.0.1:6801\"\n\n\
        [[osd.device]]\nid = 3 # the old one\nbase = \"/dev/sdb\"\n\n[[osd.device]]\nid = 30\nbase = \"/dev/sdc\"\n\n[s3]\nlisten = \"127.0.0.1:8000\"\n";

    fn file() -> HostFile {
        let path = PathBuf::from("/etc/basalt/basalt.toml");
        HostFile { config: Config::parse(FILE, &path).unwrap(), path, text: FILE.into() }
    }

    fn ids(text: &str) -> Vec<u32> {
        let config = Config::parse(text, Path::new("/etc/basalt/basalt.toml")).unwrap();
        config.osd.unwrap().devices.iter().map(|device| device.id).collect()
    }

    #[test]
    fn an_osd_is_added_at_the_end_and_what_was_there_stays_as_it_was() {
        let text =
            file().with_device(7, Path::new("/dev/disk/by-id/\"odd\""), Some(Path::new("/dev/nvme0n1p1"))).unwrap();
        assert!(text.starts_with(FILE.trim_end()));
        assert_eq!(ids(&text), [3, 30, 7]);
        assert!(file().with_device(3, Path::new("/dev/sdz"), None).is_err(), "there is an osd.3");
        assert!(file().with_device(8, Path::new("/dev/sdb"), None).is_err(), "the device is osd.3's");
    }

    #[test]
    fn an_osd_is_taken_out_and_nothing_else() {
        let text = file().without_device(3).unwrap();
        assert_eq!(ids(&text), [30]);
        assert!(text.starts_with("# Ours.") && text.contains("[s3]") && !text.contains("the old one"), "{text}");
        assert_eq!(ids(&file().without_device(30).unwrap()), [3]);
    }
}
