//! `basalt image …`.

use basalt_client::image::ImageName;
use basalt_cluster::quantity;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum Image {
    /// Makes an image, empty and sparse.
    Create {
        #[arg(value_parser = image, value_name = "POOL/NAME")]
        image: ImageName,
        /// Bytes, or 10G, 1T.
        #[arg(short = 's', long, value_parser = quantity::parse_bytes)]
        size: u64,
    },
    /// Names of a pool's images; `-l` with sizes, snapshots, parents and who has them locked.
    #[command(alias = "list")]
    Ls {
        pool: String,
        #[arg(short = 'l', long)]
        long: bool,
    },
    /// What an image or a snapshot is.
    Info {
        #[arg(value_parser = image_or_snapshot, value_name = "POOL/NAME[@SNAP]")]
        image: ImageName,
    },
    /// Makes an image larger or smaller; whoever uses it sees that when he opens it again.
    Resize {
        #[arg(value_parser = image, value_name = "POOL/NAME")]
        image: ImageName,
        #[arg(short = 's', long, value_parser = quantity::parse_bytes)]
        size: u64,
        /// What lies beyond the new end is lost.
        #[arg(long)]
        allow_shrink: bool,
    },
    /// Removes an image that has no snapshots and is in use by nobody.
    #[command(alias = "remove")]
    Rm {
        #[arg(value_parser = image, value_name = "POOL/NAME")]
        image: ImageName,
    },
    /// Snapshots.
    #[command(subcommand)]
    Snap(Snap),
    /// Makes an image that shows what a protected snapshot has, and shares its data.
    Clone {
        #[arg(value_parser = snapshot, value_name = "POOL/PARENT@SNAP")]
        parent: ImageName,
        #[arg(value_parser = image, value_name = "POOL/NAME")]
        child: ImageName,
    },
    /// The clones of a snapshot, or of all snapshots of an image.
    Children {
        #[arg(value_parser = image_or_snapshot, value_name = "POOL/NAME[@SNAP]")]
        image: ImageName,
    },
    /// Gives a clone all that it shows of its parent, so that it needs it no more.
    Flatten {
        #[arg(value_parser = image, value_name = "POOL/NAME")]
        image: ImageName,
    },
    /// Makes an image of a file, or of stdin (`-`); runs of zeros take no space.
    Import {
        file: PathBuf,
        #[arg(value_parser = image, value_name = "POOL/NAME")]
        image: ImageName,
    },
    /// Writes an image or a snapshot to a sparse file, or to stdout (`-`).
    Export {
        #[arg(value_parser = image_or_snapshot, value_name = "POOL/NAME[@SNAP]")]
        image: ImageName,
        file: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
pub enum Snap {
    /// All that was written and acknowledged before is in it; images in use go on.
    Create(Snapshot),
    #[command(alias = "list")]
    Ls {
        #[arg(value_parser = image, value_name = "POOL/NAME")]
        image: ImageName,
    },
    #[command(alias = "remove")]
    Rm(Snapshot),
    /// Makes the image what the snapshot is. Refused while it is in use.
    Rollback(Snapshot),
    /// Keeps it from being removed, so that it may be cloned.
    Protect(Snapshot),
    /// Refused while there are clones of it.
    Unprotect(Snapshot),
}

#[derive(Args, Debug)]
pub struct Snapshot {
    #[arg(value_parser = snapshot, value_name = "POOL/NAME@SNAP")]
    pub name: ImageName,
}

fn image_or_snapshot(text: &str) -> Result<ImageName, String> {
    ImageName::parse(text).map_err(|error| error.to_string())
}

fn image(text: &str) -> Result<ImageName, String> {
    let name = image_or_snapshot(text)?;
    if name.snapshot.is_some() {
        return Err("an image is meant here, POOL/NAME, and no snapshot".into());
    }
    Ok(name)
}

fn snapshot(text: &str) -> Result<ImageName, String> {
    let name = image_or_snapshot(text)?;
    if name.snapshot.is_none() {
        return Err("a snapshot is meant here: POOL/NAME@SNAP".into());
    }
    Ok(name)
}
