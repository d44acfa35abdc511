//! What sessions without work cost an OSD, and how fast a pool with many objects is listed, on a cluster of one OSD of its own.

use basalt_benches::process_figures;
use basalt_client::{Client, ClientConfig, ObjectOperations};
use basalt_cluster::Config;
use basalt_cluster::config::ClientRole;
use basalt_net::message::object::Operation;
use basalt_net::{Credentials, Service, Session, session};
use basalt_ring::local::join_all;
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{Instant, Ring};
use clap::Parser;
use std::cell::Cell;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Prints its figures as a table's rows.
#[derive(Parser)]
struct Arguments {
    /// The cluster's configuration; its osd.0 is measured.
    #[arg(long)]
    config: PathBuf,
    /// The process of osd.0.
    #[arg(long)]
    daemon_pid: u32,
    #[arg(long, default_value = "data")]
    pool: String,
    /// Sessions without work; 0: leave that out.
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// Objects in the listing; 0: leave that out.
    #[arg(long, default_value_t = 1_000_000)]
    objects: u64,
}

/// Handshakes, and requests that make objects, at a time.
const SIDE_BY_SIDE: usize = 64;
const LISTINGS: usize = 5;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    uring::run(UringConfig::default(), async |ring| run(&ring, &arguments).await)?
}

async fn run(ring: &Ring, arguments: &Arguments) -> Result<()> {
    let config = Config::load(&arguments.config)?;
    let client = ClientConfig::from_config(&config, ClientRole::Administrator)?;
    // The same table of keys: what the client learns of OSDs, sessions without it know.
    let credentials = client.credentials();
    let client = Client::connect(ring, client).await?;
    if arguments.sessions > 0 {
        sessions(ring, arguments, &client, &credentials).await?;
    }
    if arguments.objects > 0 {
        listing(ring, arguments, &client).await?;
    }
    Ok(())
}

async fn sessions(ring: &Ring, arguments: &Arguments, client: &Client, credentials: &Credentials) -> Result<()> {
    let pool = client.pool(&arguments.pool).await?;
    pool.execute(b"session cost", ObjectOperations::new().operation(Operation::Touch)).await?;
    let address = client.map().osd(0).ok_or("there is no osd.0")?.public_address.parse()?;
    let before = process_figures::resident_bytes_of(arguments.daemon_pid)?;
    let began = ring.now();
    let mut open: Vec<Session> = Vec::with_capacity(arguments.sessions);
    while open.len() < arguments.sessions {
        let count = SIDE_BY_SIDE.min(arguments.sessions - open.len());
        let some = (0..count).map(|_| session::connect(ring, address, credentials, Service::Osd(0))).collect();
        for session in join_all(some).await {
            open.push(session?);
        }
    }
    let took = ring.now().since(began);
    // What they needed to begin is given back.
    ring.sleep(Duration::from_secs(5)).await;
    let after = process_figures::resident_bytes_of(arguments.daemon_pid)?;
    let each = after.saturating_sub(before) as f64 / arguments.sessions as f64;
    let opened = arguments.sessions as f64 / took.as_secs_f64();
    println!("| {} sessions without work | {each:.0} bytes each | {opened:.0} opened a second |", arguments.sessions);
    // None of them was ended, and the OSD serves others beside them.
    let began = ring.now();
    pool.execute(b"session cost", ObjectOperations::new().operation(Operation::Touch)).await?;
    println!("| a write beside them | {:.0} us | |", ring.now().since(began).as_secs_f64() * 1e6);
    let ended = open.iter().filter(|session| session.sender().is_closed()).count();
    if ended > 0 {
        return Err(format!("{ended} sessions were ended").into());
    }
    Ok(())
}

async fn listing(ring: &Ring, arguments: &Arguments, client: &Client) -> Result<()> {
    let pool = client.pool(&arguments.pool).await?;
    let next = Cell::new(0);
    let worker = async || -> Result<()> {
        while next.get() < arguments.objects {
            let number = next.replace(next.get() + 1);
            let name = format!("photo {number:08}");
            pool.execute(name.as_bytes(), ObjectOperations::new().operation(Operation::Touch)).await?;
        }
        Ok(())
    };
    let began = ring.now();
    for outcome in join_all((0..SIDE_BY_SIDE).map(|_| worker()).collect()).await {
        outcome?;
    }
    println!("| {} objects made | {:.0} a second | |", arguments.objects, rate(ring, began, arguments.objects));
    let mut rates = Vec::new();
    for _ in 0..LISTINGS {
        let began = ring.now();
        let mut pager = pool.list(b"photo ");
        let mut names = 0;
        while pager.next().await?.is_some() {
            names += 1;
        }
        if names != arguments.objects {
            return Err(format!("{names} names of {} were listed", arguments.objects).into());
        }
        rates.push(rate(ring, began, names));
    }
    rates.sort_by(f64::total_cmp);
    println!("| listed | {:.0} names a second | {:.0} to {:.0} |", rates[LISTINGS / 2], rates[0], rates[LISTINGS - 1]);
    Ok(())
}

fn rate(ring: &Ring, began: Instant, count: u64) -> f64 {
    count as f64 / ring.now().since(began).as_secs_f64()
}
