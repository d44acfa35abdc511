//! `basalt image …`: block images, as `rbd`'s users type it.

mod copy;
mod show;

use crate::arguments::Global;
use crate::arguments::image::{Image as Command, Snap, Snapshot};
use crate::connection::with_client;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_client::image::{Change, Id, ImageName, apply, manage};
use basalt_cluster::quantity::format_bytes;
use std::process::ExitCode;

pub fn run(global: &Global, command: Command) -> Result<ExitCode> {
    let mut output = Output::new(global.format);
    with_client(global, async |client| carry_out(&client, &command, &mut output).await)?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(client: &Client, command: &Command, output: &mut Output) -> Result<()> {
    match command {
        Command::Create { image, size } => Ok(manage::create(client, &image.pool, &image.image, *size).await?),
        Command::Ls { pool, long } => show::list(client, pool, *long, output).await,
        Command::Info { image } => show::info(client, image, output).await,
        Command::Resize { image, size, allow_shrink } => resize(client, image, *size, *allow_shrink).await,
        Command::Rm { image } => Ok(manage::remove(client, &image.pool, &image.image).await?),
        Command::Snap(snap) => carry_out_snap(client, snap, output).await,
        Command::Clone { parent, child } => {
            if parent.pool != child.pool {
                return Err(Failure::new(
                    libc::EXDEV,
                    format!(
                        "{child} can't be a clone of {parent}: a clone shares its parent's data and lives in the same pool; export and import copy it"
                    ),
                ));
            }
            Ok(manage::clone(client, &parent.pool, &parent.image, snapshot_of(parent)?, &child.image).await?)
        }
        Command::Children { image } => show::children(client, image, output).await,
        Command::Flatten { image } => Ok(apply(client, &image.pool, &image.image, &Change::Flatten).await?),
        Command::Import { file, image } => copy::import(client, file, image).await,
        Command::Export { image, file } => copy::export(client, image, file, output).await,
    }
}

async fn carry_out_snap(client: &Client, snap: &Snap, output: &mut Output) -> Result<()> {
    let change =
        |of: &Snapshot| -> Result<(ImageName, String)> { Ok((of.name.clone(), snapshot_of(&of.name)?.to_owned())) };
    let (image, change) = match snap {
        Snap::Ls { image } => return show::snapshots(client, image, output).await,
        Snap::Protect(of) => {
            let (image, snapshot) = change(of)?;
            return Ok(manage::protect(client, &image.pool, &image.image, &snapshot).await?);
        }
        Snap::Unprotect(of) => {
            let (image, snapshot) = change(of)?;
            return Ok(manage::unprotect(client, &image.pool, &image.image, &snapshot).await?);
        }
        Snap::Create(of) => {
            let (image, name) = change(of)?;
            (image, Change::CreateSnapshot { name, request: Id::random(client.ring()) })
        }
        Snap::Rm(of) => {
            let (image, name) = change(of)?;
            (image, Change::RemoveSnapshot { name })
        }
        Snap::Rollback(of) => {
            let (image, name) = change(of)?;
            (image, Change::RollBack { name })
        }
    };
    Ok(apply(client, &image.pool, &image.image, &change).await?)
}

/// The arguments' parser has made sure that there is one.
fn snapshot_of(name: &ImageName) -> Result<&str> {
    name.snapshot.as_deref().ok_or_else(|| Failure::invalid(format!("{name} names no snapshot")))
}

async fn resize(client: &Client, image: &ImageName, size: u64, allow_shrink: bool) -> Result<()> {
    let (header, _) = manage::info(client, &image.pool, &image.image).await?;
    if size < header.size && !allow_shrink {
        return Err(Failure::invalid(format!(
            "{image} has {}, and what lies beyond {} would be lost: --allow-shrink does it",
            format_bytes(header.size),
            format_bytes(size)
        )));
    }
    Ok(apply(client, &image.pool, &image.image, &Change::Resize { size }).await?)
}
