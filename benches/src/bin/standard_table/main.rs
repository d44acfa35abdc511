//! The standard table: pools of one and of three copies, tiered and not, beside fio and the raw ring on a file of the same disk, all in one
//! run. Prints it, and puts it where docs/PERFORMANCE.md has it.

mod cluster;

use clap::Parser;
use cluster::{Cluster, first_job};
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Arguments {
    /// For the files of all; on the disk that is measured.
    #[arg(long)]
    dir: PathBuf,
    /// Where `basaltd` and `basalt` are.
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// Medians of so many; figures that are quoted take five.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The page whose table is written anew.
    #[arg(long)]
    page: Option<PathBuf>,
}

/// The set that is read and written.
const SIZE: &str = "256M";
const BEGIN: &str = "<!-- the standard table, by `make bench` -->\n";
const END: &str = "<!-- its end -->\n";

struct Row {
    what: &'static str,
    rw: &'static str,
    bs: &'static str,
    depth: u32,
    unit: Unit,
    /// Objects of the size of an operation, each written or read whole. A raw file has nothing like it.
    whole_objects: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Operations,
    Bytes,
}

const fn row(what: &'static str, rw: &'static str, bs: &'static str, depth: u32, unit: Unit) -> Row {
    Row { what, rw, bs, depth, unit, whole_objects: false }
}

const ROWS: [Row; 12] = [
    row("4 KiB random write", "randwrite", "4k", 1, Unit::Operations),
    row("4 KiB random write", "randwrite", "4k", 16, Unit::Operations),
    row("4 KiB random write", "randwrite", "4k", 32, Unit::Operations),
    row("4 KiB random read", "randread", "4k", 1, Unit::Operations),
    row("4 KiB random read", "randread", "4k", 16, Unit::Operations),
    row("4 KiB random read", "randread", "4k", 32, Unit::Operations),
    row("64 KiB random write", "randwrite", "64k", 16, Unit::Bytes),
    row("64 KiB random read", "randread", "64k", 16, Unit::Bytes),
    row("4 MiB sequential write", "write", "4M", 4, Unit::Bytes),
    row("4 MiB sequential read", "read", "4M", 4, Unit::Bytes),
    Row { whole_objects: true, ..row("objects of 64 KiB put", "write", "64k", 16, Unit::Operations) },
    Row { whole_objects: true, ..row("objects of 64 KiB got", "randread", "64k", 16, Unit::Operations) },
];

/// What each row is measured on. The first is what the others are held against.
const COLUMNS: [&str; 5] = ["fio", "raw ring", "one copy", "one copy, tiered", "three copies"];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.dir)?;
    let bench = Bench::start(&arguments)?;
    let mut figures = vec![[const { Vec::new() }; COLUMNS.len()]; ROWS.len()];
    for round in 0..arguments.rounds {
        for (row, figures) in ROWS.iter().zip(&mut figures) {
            eprintln!("round {} of {}: {}, depth {}", round + 1, arguments.rounds, row.what, row.depth);
            for (column, figures) in figures.iter_mut().enumerate() {
                figures.extend(bench.measure(row, column)?);
            }
        }
    }
    drop(bench);
    let table = table(&arguments, &figures)?;
    print!("{table}");
    if let Some(page) = &arguments.page {
        put(page, &table)?;
    }
    Ok(())
}

struct Bench<'a> {
    arguments: &'a Arguments,
    raw: PathBuf,
    clusters: [Cluster; 3],
}

impl Bench<'_> {
    fn start(arguments: &Arguments) -> Result<Bench<'_>> {
        let start = |name: &str, dev: &[&str]| Cluster::start(&arguments.programs, arguments.dir.join(name), dev);
        let clusters = [
            start("one", &["--osds", "1", "--base", "4G", "--hot", "0"])?,
            start("tiered", &["--osds", "1", "--base", "4G", "--hot", "1G"])?,
            start("three", &["--osds", "3", "--base", "4G", "--hot", "0"])?,
        ];
        let bench = Bench { arguments, raw: arguments.dir.join("raw"), clusters };
        // The raw file has no holes, and pools have no objects without data.
        first_job(Command::new("fio").args(bench.raw_options()).args(["--rw=write", "--bs=1M", "--end_fsync=1"]))?;
        for cluster in &bench.clusters {
            let options = ["--name=table", "--rw=write", "--bs=4M", "--iodepth=4"].map(str::to_owned);
            cluster.bench(&[options.as_slice(), &[format!("--size={SIZE}")]].concat())?;
        }
        Ok(bench)
    }

    fn raw_options(&self) -> Vec<String> {
        let options = ["--name=table", "--ioengine=io_uring", "--direct=1", "--randrepeat=0"].map(str::to_owned);
        let file = format!("--filename={}", self.raw.display());
        [options.as_slice(), &[file, format!("--size={SIZE}")]].concat()
    }

    /// Operations or bytes a second; `None` where the column has nothing like it.
    fn measure(&self, row: &Row, column: usize) -> Result<Option<f64>> {
        let mut options = vec![
            format!("--rw={}", row.rw),
            format!("--bs={}", row.bs),
            format!("--iodepth={}", row.depth),
            format!("--runtime={}", self.arguments.seconds),
            "--time_based".to_owned(),
        ];
        let writes = row.rw.ends_with("write");
        let job = match column {
            0 | 1 if row.whole_objects => return Ok(None),
            0 => {
                // As durable as what is acknowledged by a pool; deeper, fio would wait for a flush with each.
                options.extend((writes && row.depth == 1).then(|| "--fdatasync=1".to_owned()));
                first_job(Command::new("fio").args(self.raw_options()).arg("--norandommap").args(options))?
            }
            1 => {
                let file = format!("--filename={}", self.raw.display());
                options.extend((writes && row.depth == 1).then(|| "--fdatasync=1".to_owned()));
                let mut command = Command::new(self.arguments.programs.join("basalt"));
                first_job(command.args(["bench", "--name=table", &file]).args(options).arg(format!("--size={SIZE}")))?
            }
            _ => {
                let name = if row.whole_objects { "small" } else { "table" };
                options.extend([format!("--name={name}"), format!("--size={SIZE}")]);
                options.extend(row.whole_objects.then(|| format!("--object_size={}", row.bs)));
                self.clusters[column - 2].bench(&options)?
            }
        };
        let done = &job[if writes { "write" } else { "read" }];
        let key = if row.unit == Unit::Bytes { "bw_bytes" } else { "iops" };
        Ok(Some(done[key].as_f64().filter(|rate| *rate > 0.0).ok_or_else(|| format!("no {key} in {job}"))?))
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_file(&self.raw);
    }
}

fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn shown(rate: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{:.0} MiB/s", rate / f64::from(1 << 20)),
        Unit::Operations if rate < 10_000.0 => format!("{:.2}k /s", rate / 1e3),
        Unit::Operations => format!("{:.1}k /s", rate / 1e3),
    }
}

fn table(arguments: &Arguments, figures: &[[Vec<f64>; COLUMNS.len()]]) -> Result<String> {
    let mut table = String::new();
    let rounds = match arguments.rounds {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds"),
    };
    writeln!(table, "{} s each, {rounds}; in parentheses: of what fio did.\n", arguments.seconds)?;
    writeln!(table, "| | depth | {} |", COLUMNS.join(" | "))?;
    writeln!(table, "|---|---|{}", "---|".repeat(COLUMNS.len()))?;
    for (row, figures) in ROWS.iter().zip(figures) {
        let fio = median(&figures[0]);
        write!(table, "| {} | {} |", row.what, row.depth)?;
        for (column, figures) in figures.iter().enumerate() {
            match (median(figures), fio) {
                (None, _) => write!(table, " |")?,
                (Some(rate), Some(fio)) if column > 0 => {
                    write!(table, " {} ({:.2}) |", shown(rate, row.unit), rate / fio)?;
                }
                (Some(rate), _) => write!(table, " {} |", shown(rate, row.unit))?,
            }
        }
        writeln!(table)?;
    }
    Ok(table)
}

/// Puts the table between its marks.
fn put(page: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(page)?;
    let marks = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = marks.ok_or_else(|| format!("{} has no place for the table", page.display()))?;
    std::fs::write(page, format!("{before}{BEGIN}\n{table}\n{END}{after}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_place_for_the_table() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PERFORMANCE.md");
        let text = std::fs::read_to_string(page).unwrap();
        assert!(text.split_once(BEGIN).is_some_and(|(_, rest)| rest.contains(END)));
    }

    #[test]
    fn a_table_says_what_each_did_of_what_fio_did() {
        let arguments = Arguments::parse_from(["table", "--dir", "data", "--rounds", "3"]);
        let mut figures = vec![[const { Vec::new() }; COLUMNS.len()]; ROWS.len()];
        figures[0][0] = vec![10_000.0, 12_000.0, 1_000.0];
        figures[0][2] = vec![5_000.0, 9_000.0, 4_000.0];
        figures[6][0] = vec![f64::from(200 << 20)];
        let table = table(&arguments, &figures).unwrap();
        let rows: Vec<&str> = table.lines().skip(4).collect();
        assert_eq!(rows[0], "| 4 KiB random write | 1 | 10.0k /s | | 5.00k /s (0.50) | | |");
        assert_eq!(rows[6], "| 64 KiB random write | 16 | 200 MiB/s | | | | |");
    }
}
