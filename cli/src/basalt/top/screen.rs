//! A picture on a screen, or on as much of it as fits.

use super::picture::{Picture, Rates};
use basalt_cluster::quantity::{format_bytes, format_count};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, Widget};

/// Above the tables, with what is wrong.
const HEAD_LINES: usize = 4;
/// Of what is wrong.
const CHECKS_MAX: usize = 5;

fn head_lines(picture: &Picture) -> usize {
    HEAD_LINES + picture.checks.len().min(CHECKS_MAX)
}

/// Lines that the whole picture takes.
pub fn height(picture: &Picture) -> u16 {
    // A table has a heading, and an empty line behind it.
    let tables = picture.by_pool.len() + picture.by_osd.len() + picture.by_client.len() + 3 * 2;
    u16::try_from(head_lines(picture) + tables).unwrap_or(u16::MAX)
}

pub fn draw(picture: &Picture, area: Rect, buffer: &mut Buffer) {
    let rows = |count: usize| u16::try_from(count + 2).unwrap_or(u16::MAX);
    let wanted = [picture.by_pool.len(), picture.by_osd.len(), picture.by_client.len()].map(rows);
    let head_height = u16::try_from(head_lines(picture)).unwrap_or(u16::MAX);
    let [top, pools, osds, clients] = Layout::vertical([
        Constraint::Length(head_height),
        Constraint::Max(wanted[0]),
        Constraint::Max(wanted[1]),
        Constraint::Fill(1),
    ])
    .areas(area);
    head(picture).render(top, buffer);
    Widget::render(pool_table(picture), pools, buffer);
    Widget::render(osd_table(picture), osds, buffer);
    Widget::render(client_table(picture), clients, buffer);
}

/// What stands in a buffer, without spaces at the ends of lines.
pub fn lines(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let line = |y: u16| {
        let cells = (area.left()..area.right()).filter_map(|x| buffer.cell((x, y)));
        cells.map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
    };
    let mut lines: Vec<String> = (area.top()..area.bottom()).map(line).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

fn head(picture: &Picture) -> Paragraph<'static> {
    let colour = match picture.health.as_str() {
        "HEALTH_OK" => Color::Green,
        "HEALTH_WARN" => Color::Yellow,
        _ => Color::Red,
    };
    let health = Span::styled(plain(&picture.health), Style::new().fg(colour).add_modifier(Modifier::BOLD));
    let mut lines = vec![
        Line::from(vec![
            health,
            Span::raw(format!(
                "   osds: {} of {} up   used: {} of {}",
                picture.osds_up,
                picture.osds,
                format_bytes(picture.used_bytes),
                format_bytes(picture.total_bytes)
            )),
        ]),
        Line::raw(format!("pgs: {}", plain(&picture.states))),
    ];
    lines.extend(picture.checks.iter().take(CHECKS_MAX).map(|check| Line::raw(format!("  ! {}", plain(check)))));
    let [reads, writes, read, written] = of_rates(&picture.rates);
    lines.push(Line::raw(format!(
        "clients: {reads} reads/s {read}, {writes} writes/s {written}   recovery: {}/s, {} objects degraded",
        format_bytes(picture.recovering_bytes_sec),
        format_count(picture.degraded_objects)
    )));
    Paragraph::new(lines)
}

fn of_rates(rates: &Rates) -> [String; 4] {
    [
        format_count(rates.read_op_per_sec),
        format_count(rates.write_op_per_sec),
        format_bytes(rates.read_bytes_sec) + "/s",
        format_bytes(rates.write_bytes_sec) + "/s",
    ]
}

/// Names are anybody's: what a terminal would obey is not shown.
fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

fn table(headings: &[(&'static str, u16)], rows: Vec<Vec<String>>) -> Table<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED);
    let heading = Row::new(headings.iter().map(|(heading, _)| *heading).collect::<Vec<_>>()).style(bold);
    let widths: Vec<Constraint> = headings.iter().map(|(_, width)| Constraint::Length(*width)).collect();
    Table::new(rows.into_iter().map(Row::new), widths).header(heading).column_spacing(1)
}

fn pool_table(picture: &Picture) -> Table<'static> {
    let rows = picture.by_pool.iter().map(|row| {
        let [reads, writes, read, written] = of_rates(&row.rates);
        let fill = if row.target_bytes == 0 { 0.0 } else { 100.0 * row.hot_bytes as f64 / row.target_bytes as f64 };
        let (dirty, hits) = (100.0 * row.dirty_ratio, 100.0 * row.hit_ratio);
        vec![
            plain(&row.pool),
            reads,
            writes,
            read,
            written,
            format_bytes(row.hot_bytes),
            format!("{fill:.1}%"),
            format!("{dirty:.1}%"),
            format!("{hits:.1}%"),
        ]
    });
    let headings = [
        ("POOL", 24),
        ("READS/S", 9),
        ("WRITES/S", 9),
        ("READ", 12),
        ("WRITTEN", 12),
        ("HOT", 10),
        ("FILL", 7),
        ("DIRTY", 7),
        ("HITS", 7),
    ];
    table(&headings, rows.collect())
}

fn osd_table(picture: &Picture) -> Table<'static> {
    let milliseconds = |ns: u64| format!("{:.2} ms", ns as f64 / 1e6);
    let rows = picture.by_osd.iter().map(|row| {
        vec![
            format!("osd.{}", row.osd),
            plain(&row.host),
            plain(&row.status),
            format!("{:.1}%", row.used_percent),
            row.pgs.to_string(),
            milliseconds(row.commit_latency_ns),
            milliseconds(row.apply_latency_ns),
        ]
    });
    let headings = [("OSD", 10), ("HOST", 24), ("STATUS", 8), ("USED", 8), ("PGS", 6), ("COMMIT", 12), ("APPLY", 12)];
    table(&headings, rows.collect())
}

fn client_table(picture: &Picture) -> Table<'static> {
    let rows = picture.by_client.iter().map(|row| {
        let [reads, writes, read, written] = of_rates(&row.rates);
        vec![
            plain(&row.client),
            plain(&row.name),
            plain(&row.address),
            row.osds.to_string(),
            reads,
            writes,
            read,
            written,
        ]
    });
    let headings = [
        ("CLIENT", 17),
        ("NAME", 16),
        ("ADDRESS", 24),
        ("OSDS", 5),
        ("READS/S", 9),
        ("WRITES/S", 9),
        ("READ", 12),
        ("WRITTEN", 12),
    ];
    table(&headings, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::super::picture::{ClientRow, OsdRow, PoolRow};
    use super::*;

    fn picture() -> Picture {
        let rates =
            Rates { read_op_per_sec: 1500, write_op_per_sec: 20, read_bytes_sec: 6 << 20, write_bytes_sec: 81920 };
        Picture {
            health: "HEALTH_WARN".into(),
            checks: vec!["1 osds down".into()],
            osds_up: 2,
            osds: 3,
            states: "32 active+undersized+degraded".into(),
            used_bytes: 3 << 30,
            total_bytes: 24 << 30,
            rates,
            by_pool: vec![PoolRow {
                pool: "da\u{1b}[2Jta".into(),
                rates,
                hot_bytes: 256 << 20,
                target_bytes: 1 << 30,
                dirty_ratio: 0.125,
                hit_ratio: 0.9,
            }],
            by_osd: vec![OsdRow {
                osd: 1,
                host: "h1".into(),
                status: "up".into(),
                used_percent: 12.5,
                pgs: 32,
                commit_latency_ns: 1_234_567,
                apply_latency_ns: 2_000_000,
            }],
            by_client: vec![ClientRow {
                client: "00000000000000aa".into(),
                name: "client.admin".into(),
                address: "192.0.2.7:4000".into(),
                osds: 3,
                rates,
            }],
            ..Picture::default()
        }
    }

    fn drawn(width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw(&picture(), area, &mut buffer);
        lines(&buffer)
    }

    #[test]
    fn pools_osds_and_clients_are_each_in_a_line_below_what_is_wrong() {
        let lines = drawn(120, height(&picture()));
        let words = |start: &str| {
            let line =
                lines.iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}: {lines:#?}"));
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines[0], "HEALTH_WARN   osds: 2 of 3 up   used: 3 GiB of 24 GiB");
        assert_eq!(lines[2], "  ! 1 osds down");
        assert_eq!(
            words("da[2Jta")[1..],
            ["1.50k", "20", "6", "MiB/s", "80", "KiB/s", "256", "MiB", "25.0%", "12.5%", "90.0%"]
        );
        assert_eq!(words("osd.1")[1..], ["h1", "up", "12.5%", "32", "1.23", "ms", "2.00", "ms"]);
        assert_eq!(words("00000000000000aa")[1..5], ["client.admin", "192.0.2.7:4000", "3", "1.50k"]);
    }

    #[test]
    fn a_small_screen_shows_what_fits_and_nothing_else_happens() {
        for (width, height) in [(1, 1), (20, 3), (200, 2), (3, 100), (80, 24)] {
            assert!(drawn(width, height).len() <= usize::from(height));
        }
    }
}
