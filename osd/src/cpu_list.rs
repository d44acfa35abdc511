//! Which CPUs this process may run on, as the kernel says in `/proc/self/status`.

/// Never empty.
pub fn allowed() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let listed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(parse).unwrap_or_default();
    if listed.is_empty() { vec![0] } else { listed }
}

/// `0-3,8,10-11`. What is malformed is left out.
fn parse(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?.min(CPUS_MAX))
    };
    list.split(',').filter_map(range).flatten().collect()
}

const CPUS_MAX: usize = 8191;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_cpus_are_understood() {
        assert_eq!(parse(" 0-3,8,10-11\n"), vec![0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse("5"), vec![5]);
        assert_eq!(parse("nonsense,1"), vec![1]);
        assert!(!allowed().is_empty());
    }
}
