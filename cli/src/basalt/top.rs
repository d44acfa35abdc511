//! `top`: who does what, live. Looks are gathered from the monitor and the OSDs ([`picture`]), and drawn ([`screen`]).

mod picture;
mod screen;

use crate::arguments::Top;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, errno};
use basalt_client::Client;
use picture::{Look, Picture};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

/// What one look spans, where there is but one.
const SPAN: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(250);
/// How soon a key is heard.
const KEY_INTERVAL: Duration = Duration::from_millis(50);
/// Of a look as text.
const TEXT_WIDTH: u16 = 120;

pub async fn run(client: &Client, output: &mut Output, arguments: &Top) -> Result<()> {
    let is_live = !arguments.once && !output.format().is_json() && stdout().is_terminal();
    if is_live {
        return live(client, arguments.interval.max(INTERVAL_MIN)).await;
    }
    let first = Look::take(client).await?;
    client.ring().sleep(SPAN).await;
    let picture = Picture::between(&first, &Look::take(client).await?);
    output.show(&picture.document(), |_| text(&picture))
}

/// All of it, however long.
fn text(picture: &Picture) -> String {
    let area = Rect::new(0, 0, TEXT_WIDTH, screen::height(picture));
    let mut buffer = Buffer::empty(area);
    screen::draw(picture, area, &mut buffer);
    screen::lines(&buffer).iter().fold(String::new(), |text, line| text + line + "\n")
}

async fn live(client: &Client, interval: Duration) -> Result<()> {
    let failed = |error: std::io::Error| Failure::new(errno::of_io(&error), format!("the terminal: {error}"));
    let mut before = Look::take(client).await?;
    // Puts the terminal back as it was, also after a panic.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let outcome = async {
        client.ring().sleep(SPAN.min(interval)).await;
        loop {
            let now = Look::take(client).await?;
            let picture = Picture::between(&before, &now);
            before = now;
            let due = client.ring().now() + interval;
            loop {
                let draw = |frame: &mut ratatui::Frame| screen::draw(&picture, frame.area(), frame.buffer_mut());
                terminal.draw(draw).map_err(failed)?;
                if wants_to_end().map_err(failed)? {
                    return Ok(());
                }
                if client.ring().now() >= due {
                    break;
                }
                client.ring().sleep(KEY_INTERVAL).await;
            }
        }
    }
    .await;
    ratatui::restore();
    outcome
}

/// Takes the keys that were pressed.
fn wants_to_end() -> std::io::Result<bool> {
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let interrupts = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            if interrupts || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
