//! The process itself, from `/proc`.

use super::exposition::Exposition;
use basalt_net::Trust;

pub fn describe(exposition: &mut Exposition) {
    let version = env!("CARGO_PKG_VERSION");
    exposition.gauge("basalt_build_info", "Always 1; the version is in the label.", &[("version", version)], 1.0);
    if let Some(pages) = field_of("/proc/self/statm", 1) {
        let bytes = pages as f64 * page_bytes();
        exposition.gauge("basalt_process_resident_bytes", "Memory of the daemon that is resident.", &[], bytes);
    }
    if let Some(seconds) = cpu_seconds() {
        let help = "Time of all cores that the daemon has used, the kernel's work for it included.";
        exposition.counter_of_seconds("basalt_process_cpu_seconds_total", help, &[], seconds);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        exposition.gauge("basalt_process_open_files", "Descriptors that are open.", &[], files.count() as f64);
    }
}

/// Who connected and was not let in, by why; what was cut later because a frame was not as its sender had made it, too.
pub fn describe_turned_away(exposition: &mut Exposition, daemon: &str, trust: &Trust) {
    for (why, count) in trust.turned_away() {
        let help = "Connections that were not let in, or were cut because of a frame that was altered, by why.";
        exposition.counter("basalt_turned_away_total", help, &[("daemon", daemon), ("why", why.name())], count);
    }
}

fn field_of(path: &str, index: usize) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.split_whitespace().nth(index)?.parse().ok()
}

/// User and system time stand in fields 14 and 15, in the unit that `getconf CLK_TCK` says: always hundredths on Linux.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; the third field follows it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}

/// `AT_PAGESZ` (6) of the auxiliary vector.
fn page_bytes() -> f64 {
    const AT_PAGESZ: u64 = 6;
    let vector = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let words: Vec<u64> =
        vector.chunks_exact(8).filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?))).collect();
    let found = words.chunks_exact(2).find_map(|pair| match pair {
        [AT_PAGESZ, bytes] => Some(*bytes),
        _ => None,
    });
    found.unwrap_or(4096) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory_files_and_a_page_size() {
        let mut exposition = Exposition::default();
        describe(&mut exposition);
        let text = exposition.text();
        for name in ["resident_bytes", "cpu_seconds_total", "open_files"] {
            let line = text.lines().find(|line| line.starts_with(&format!("basalt_process_{name} "))).unwrap();
            assert!(line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() >= 0.0, "{line}");
        }
        assert!(page_bytes() >= 4096.0);
    }
}
