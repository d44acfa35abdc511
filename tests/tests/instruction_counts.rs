//! What an operation costs in instructions, counted by callgrind on one fixed path in a simulated world: free of the noise that times have on a shared
//! machine, so a few percent more are seen. `make instructions` prints where they go.
//!
//! The counts are of this profile (development, `opt-level = 1`) and toolchain; another toolchain may move them, and then the figures below
//! follow it in a change of their own.

use std::path::Path;
use std::process::Command;

/// Instructions an operation of 4 KiB: of client, OSD and store, and of the world that simulates their disks and network.
const EXPECTED: [(&str, u64); 3] = [("write", 139_239), ("read", 109_407), ("create", 146_309)];

const OPERATIONS: u64 = 1000;

#[test]
fn an_operation_takes_no_more_instructions_than_before() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut wrong = Vec::new();
    for (path, expected) in EXPECTED {
        let counts = directory.join(format!("callgrind.{path}.out"));
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--toggle-collect=fixed_path::measured*"])
            .arg(format!("--callgrind-out-file={}", counts.display()))
            .arg(env!("CARGO_BIN_EXE_fixed_path"))
            .args(["--path", path, "--operations", &OPERATIONS.to_string()])
            .output()
            .expect("valgrind is installed; `make test` sees to it");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        // Callgrind says it in the file's last line: `totals: 146372845`.
        let report = std::fs::read_to_string(&counts).expect("callgrind wrote it");
        let total = report.lines().find_map(|line| line.strip_prefix("totals: ")).expect("callgrind's totals");
        let count = total.parse::<u64>().expect("a number") / OPERATIONS;
        println!("{path}: {count} instructions an operation (expected {expected})");
        if count > expected + expected / 33 || count < expected - expected / 20 {
            wrong.push(format!("{path}: {count}, where {expected} were expected"));
        }
    }
    assert!(wrong.is_empty(), "at most 3 % more is allowed, and 5 % less is to be noted here:\n{}", wrong.join("\n"));
}
