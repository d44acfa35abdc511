//! From an empty hot slice to a full one, and on: throughput, the 99th percentile and the dirty ratio of each second under 4 KiB random writes,
//! beside the same load on a pool without a slice. Prints what it comes to, and draws it.
//!
//! It runs `basaltd dev` with a base device as slow as a disk, or on one that the kernel holds to so many operations a second, `basalt bench` against it, and asks for `basalt osd tier status` every second.

mod cluster;
mod throttle;

use clap::Parser;
use cluster::Cluster;
use plotters::prelude::*;
use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Arguments {
    /// The programs' folder.
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// For the clusters; they are removed again.
    #[arg(long, default_value = "data/tier-transition")]
    dir: PathBuf,
    #[arg(long, default_value = "8G")]
    base: String,
    #[arg(long, default_value = "256M")]
    hot: String,
    /// What is written to, at random.
    #[arg(long, default_value = "1G")]
    size: String,
    #[arg(long, default_value_t = 16)]
    iodepth: u32,
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Of the load on a pool without a slice; 0: none.
    #[arg(long, default_value_t = 60)]
    bare_seconds: u64,
    /// `random`, `zipf:THETA` or `pareto:H`.
    #[arg(long, default_value = "random")]
    distribution: String,
    /// How slow the base device is: `hdd` or `none`.
    #[arg(long, default_value = "hdd")]
    base_model: String,
    /// Holds the base device to so many operations a second in each direction, by the blkio cgroup (as root); 0: as fast as it is.
    #[arg(long, default_value_t = 0)]
    base_iops: u32,
    #[arg(long, default_value = "data/tier-transition.png")]
    png: PathBuf,
    /// A TrueType font for the labels.
    #[arg(long, default_value = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")]
    font: PathBuf,
}

/// One second of a load.
#[derive(Clone, Copy)]
struct Second {
    writes: f64,
    p99_ms: f64,
    max_ms: f64,
}

struct Load {
    seconds: Vec<Second>,
    /// Seconds since the load began, and dirty bytes of the pool's target.
    dirty: Vec<(f64, f64)>,
}

fn run(arguments: &Arguments, name: &str, hot: &str, seconds: u64) -> Result<Load> {
    let cluster = Cluster::start(arguments, name, hot)?;
    let bench = cluster.bench(arguments, seconds)?;
    let began = Instant::now();
    let mut dirty = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        let status = cluster.json(&["osd", "tier", "status", "data"])?;
        if let Some(ratio) = dirty_ratio(&status) {
            dirty.push((began.elapsed().as_secs_f64(), ratio));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let output = bench.wait_with_output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    if !output.status.success() {
        return Err(format!("the load failed: {}", report["jobs"][0]["error_message"]).into());
    }
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let intervals = report["jobs"][0]["write"]["intervals"].as_array().cloned().unwrap_or_default();
    let seconds = intervals.iter().take(seconds as usize).map(|interval| Second {
        writes: number(&interval["iops"]),
        p99_ms: number(&interval["clat_ns"]["99.000000"]) / 1e6,
        max_ms: number(&interval["clat_ns"]["max"]) / 1e6,
    });
    Ok(Load { seconds: seconds.collect(), dirty })
}

fn dirty_ratio(status: &Value) -> Option<f64> {
    let pool = status.as_array().and_then(|pools| pools.first()).or_else(|| status.get("data"))?;
    let target = pool["target_bytes"].as_f64().filter(|target| *target > 0.0)?;
    Some(pool["dirty_bytes"].as_f64()? / target)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn summary(name: &str, load: &Load) {
    let writes: Vec<f64> = load.seconds.iter().map(|second| second.writes).collect();
    let least = writes.iter().copied().fold(f64::INFINITY, f64::min);
    let longest = load.seconds.iter().map(|second| second.max_ms).fold(0.0, f64::max);
    let p99 = median(load.seconds.iter().map(|second| second.p99_ms).collect());
    let mean = writes.iter().sum::<f64>() / writes.len().max(1) as f64;
    println!(
        "{name}: {} s, {mean:.0} writes a second (median {:.0}, least {least:.0}), p99 {p99:.1} ms (median), longest {longest:.0} ms",
        writes.len(),
        median(writes.clone()),
    );
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    plotters::style::register_font("sans-serif", FontStyle::Normal, font(&arguments.font)?)
        .map_err(|_| format!("{} is not a TrueType font", arguments.font.display()))?;
    let bare = match arguments.bare_seconds {
        0 => None,
        seconds => Some(run(&arguments, "bare", "0", seconds)?),
    };
    let tiered = run(&arguments, "tiered", &arguments.hot, arguments.seconds)?;
    let _ = std::fs::remove_dir(&arguments.dir);
    if let Some(bare) = &bare {
        summary("without a slice", bare);
    }
    summary("with a slice", &tiered);
    if let Some(bare) = &bare {
        let bare = median(bare.seconds.iter().map(|second| second.writes).collect());
        let least = tiered.seconds.iter().map(|second| second.writes / bare).fold(f64::INFINITY, f64::min);
        println!("the slowest second is {least:.2} times the bare pool's median");
    }
    let settled: Vec<f64> = tiered.dirty.iter().skip(tiered.dirty.len() / 4).map(|(_, ratio)| *ratio).collect();
    let (low, high) = settled.iter().fold((f64::INFINITY, 0.0f64), |(low, high), r| (low.min(*r), high.max(*r)));
    let most = tiered.dirty.iter().map(|(_, ratio)| *ratio).fold(0.0, f64::max);
    println!("dirty ratio: {low:.3} to {high:.3} after the first quarter, {most:.3} at the most");
    draw(&arguments.png, &tiered, bare.as_ref())?;
    println!("drawn: {}", arguments.png.display());
    Ok(())
}

/// Fonts live as long as the program.
fn font(path: &Path) -> Result<&'static [u8]> {
    let bytes = std::fs::read(path).map_err(|error| {
        format!(
            "{}: {error}; install a TrueType font (Debian: fonts-dejavu-core), or name one with --font",
            path.display()
        )
    })?;
    Ok(bytes.leak())
}

fn draw(path: &Path, tiered: &Load, bare: Option<&Load>) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let root = BitMapBackend::new(path, (1000, 900)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((3, 1));
    let end = tiered.seconds.len() as f64;
    let of = |load: &Load, figure: fn(&Second) -> f64| -> Vec<(f64, f64)> {
        load.seconds.iter().enumerate().map(|(at, second)| (at as f64, figure(second))).collect()
    };
    let writes: fn(&Second) -> f64 = |second| second.writes.max(1.0);
    let p99: fn(&Second) -> f64 = |second| second.p99_ms.max(0.01);
    for (panel, title, figure, range) in [
        (&panels[0], "writes of 4 KiB a second", writes, 10.0..100_000.0),
        (&panels[1], "99th percentile, ms", p99, 0.1..10_000.0),
    ] {
        let mut chart = ChartBuilder::on(panel)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(28)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..end, range.log_scale())?;
        chart.configure_mesh().label_style(("sans-serif", 13)).light_line_style(WHITE).draw()?;
        chart
            .draw_series(LineSeries::new(of(tiered, figure), BLUE.stroke_width(2)))?
            .label("with a hot slice")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLUE.stroke_width(2)));
        if let Some(bare) = bare {
            chart
                .draw_series(LineSeries::new(of(bare, figure), RED.stroke_width(2)))?
                .label("without")
                .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], RED.stroke_width(2)));
        }
        chart.configure_series_labels().label_font(("sans-serif", 13)).border_style(BLACK).draw()?;
    }
    let mut chart = ChartBuilder::on(&panels[2])
        .caption("dirty bytes of the target; grey: dirty ratio 0.4, high ratio 0.6", ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, 0.0..1.0)?;
    chart.configure_mesh().label_style(("sans-serif", 13)).light_line_style(WHITE).x_desc("seconds").draw()?;
    for ratio in [0.4, 0.6] {
        chart.draw_series(LineSeries::new([(0.0, ratio), (end, ratio)], BLACK.mix(0.3)))?;
    }
    chart.draw_series(LineSeries::new(tiered.dirty.iter().copied(), BLUE.stroke_width(2)))?;
    root.present()?;
    Ok(())
}
