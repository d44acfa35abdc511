//! Writes each target's seeds as files, `DIR/TARGET/seed-N`, for libFuzzer to begin from.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: seeds DIR");
        std::process::exit(22);
    };
    let crates = [
        basalt_blockstore::fuzzing::TARGETS,
        basalt_net::fuzzing::TARGETS,
        basalt_cluster::fuzzing::TARGETS,
        basalt_benches::fuzzing::TARGETS,
    ];
    for (name, _, seeds) in crates.into_iter().flatten() {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds().into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
