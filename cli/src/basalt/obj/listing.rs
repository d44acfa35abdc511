//! `obj ls`: names as they come, so that a pool of any size can be listed.

use basalt_cli::output::{Format, Output};
use basalt_cli::{Result, name_text};
use basalt_client::Pool;
use serde_json::json;

const NAMES_PAGE: usize = 1024;

pub async fn list(pool: &Pool, prefix: &[u8], null: bool, output: &mut Output) -> Result<()> {
    let json = output.format().is_json();
    let pretty = output.format() == Format::JsonPretty;
    let end: &[u8] = if null { b"\0" } else { b"\n" };
    let mut pager = pool.list(prefix);
    let mut first = true;
    if json {
        output.text("[")?;
    }
    loop {
        let page = pager.next_page(NAMES_PAGE).await?;
        if page.is_empty() {
            break;
        }
        for name in page {
            if json {
                output.text(match (first, pretty) {
                    (true, false) => "",
                    (false, false) => ",",
                    (true, true) => "\n  ",
                    (false, true) => ",\n  ",
                })?;
                output.text(&json!({ "name": name_text::json(&name) }).to_string())?;
                first = false;
            } else {
                output.bytes(&name)?;
                output.bytes(end)?;
            }
        }
        output.flush()?;
    }
    if json {
        output.line(if pretty && !first { "\n]" } else { "]" })?;
    }
    Ok(())
}
