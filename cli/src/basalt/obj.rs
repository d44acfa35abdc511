//! `basalt obj …`: objects one by one, and trees of files.

mod attribute;
mod export;
mod import;
mod jobs;
mod listing;
pub mod pieces;
mod single;
mod tree;
mod verify;

use crate::arguments::{Global, Obj, Object};
use crate::connection::with_client;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, name_text};
use basalt_client::Pool;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// Bytes asked of a file, a pipe or the cluster at a time.
const PIECE_BYTES: usize = 4 << 20;

pub fn run(global: &Global, command: Obj) -> Result<ExitCode> {
    let mut output = Output::new(global.format);
    let status = with_client(global, async |client| {
        let pool = client.pool(pool_of(&command)).await?;
        let ring = client.ring().clone();
        match &command {
            Obj::Put { object, file } => single::put(&pool, object, file, &mut output).await?,
            Obj::Get { object, file } => single::get(&pool, object, file, &mut output).await?,
            Obj::Rm { names, .. } => single::remove(&pool, names, &mut output).await?,
            Obj::Stat { object } => single::stat(&pool, object, &mut output).await?,
            Obj::Append { object, file } => single::append(&pool, object, file, &mut output).await?,
            Obj::Truncate { object, size } => single::truncate(&pool, object, *size, &mut output).await?,
            Obj::Ls { prefix, null, .. } => {
                let prefix = prefix.as_ref().map_or(&b""[..], |prefix| prefix.as_bytes());
                listing::list(&pool, prefix, *null, &mut output).await?;
            }
            Obj::Listxattr { object } => attribute::list_xattrs(&pool, object, &mut output).await?,
            Obj::Getxattr { object, xattr } => attribute::get_xattr(&pool, object, xattr, &mut output).await?,
            Obj::Setxattr { object, xattr, value } => {
                attribute::set_xattr(&pool, object, xattr, value.as_deref(), &mut output).await?;
            }
            Obj::Rmxattr { object, xattr } => attribute::remove_xattr(&pool, object, xattr, &mut output).await?,
            Obj::Listomapkeys { object } => attribute::list_omap_keys(&pool, object, &mut output).await?,
            Obj::Getomapval { object, key, file } => attribute::get_omap(&pool, object, key, file, &mut output).await?,
            Obj::Setomapval { object, key, value } => {
                attribute::set_omap(&pool, object, key, value.as_deref(), &mut output).await?;
            }
            Obj::Rmomapkey { object, key } => attribute::remove_omap(&pool, object, key, &mut output).await?,
            Obj::Import { tree, acknowledged, max_bytes } => {
                return import::run(&ring, pool, tree, acknowledged.as_deref(), *max_bytes, &mut output).await;
            }
            Obj::Export { tree, prefix } => {
                let prefix = prefix.as_ref().map_or(&b""[..], |prefix| prefix.as_bytes());
                return export::run(&ring, pool, tree, prefix, &mut output).await;
            }
            Obj::Verify { tree, max_bytes } => return verify::run(&ring, pool, tree, *max_bytes, &mut output).await,
        }
        Ok(ExitCode::SUCCESS)
    })?;
    output.finish()?;
    Ok(status)
}

fn pool_of(command: &Obj) -> &str {
    match command {
        Obj::Put { object, .. }
        | Obj::Get { object, .. }
        | Obj::Stat { object }
        | Obj::Append { object, .. }
        | Obj::Truncate { object, .. }
        | Obj::Listxattr { object }
        | Obj::Getxattr { object, .. }
        | Obj::Setxattr { object, .. }
        | Obj::Rmxattr { object, .. }
        | Obj::Listomapkeys { object }
        | Obj::Getomapval { object, .. }
        | Obj::Setomapval { object, .. }
        | Obj::Rmomapkey { object, .. } => &object.pool,
        Obj::Rm { pool, .. } | Obj::Ls { pool, .. } => pool,
        Obj::Import { tree, .. } | Obj::Export { tree, .. } | Obj::Verify { tree, .. } => &tree.pool,
    }
}

/// Says of which object a failure is, where the cluster's message does not.
fn of_object<T>(pool: &Pool, name: &[u8], result: basalt_client::Result<T>) -> Result<T> {
    result.map_err(|error| {
        Failure::from(error).while_doing(format_args!("object {} in pool '{}'", name_text::quoted(name), pool.name()))
    })
}

fn name_of(object: &Object) -> &[u8] {
    object.name.as_bytes()
}
