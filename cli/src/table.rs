//! Tables without borders, in the manner of Ceph's: columns two spaces apart, headings at the left, figures at the right.

use comfy_table::{Cell, CellAlignment, Table as Grid, presets};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

pub struct Table {
    grid: Grid,
    columns: Vec<Align>,
    heading_follows: bool,
}

impl Table {
    /// Headings stand at the left of their columns.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        Table::build(columns, false)
    }

    /// Headings stand where their columns' cells stand.
    pub fn with_headings_aligned(columns: &[(&str, Align)]) -> Table {
        Table::build(columns, true)
    }

    fn build(columns: &[(&str, Align)], heading_follows: bool) -> Table {
        let mut table =
            Table { grid: Grid::new(), columns: columns.iter().map(|(_, align)| *align).collect(), heading_follows };
        table.grid.load_style(presets::NOTHING);
        table.grid.set_header(columns.iter().map(|(heading, align)| {
            let align = if table.heading_follows { *align } else { Align::Left };
            cell(heading, align)
        }));
        table
    }

    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().zip(&self.columns).map(|(text, align)| cell(text.as_ref(), *align));
        self.grid.add_row(cells);
    }

    /// The table's lines, each ended, without trailing blanks.
    pub fn render(mut self) -> String {
        let columns = self.columns.len();
        for (index, column) in self.grid.column_iter_mut().enumerate() {
            column.set_padding((0, if index + 1 == columns { 0 } else { 2 }));
        }
        let mut text = String::new();
        for line in self.grid.to_string().lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn cell(text: &str, align: Align) -> Cell {
    Cell::new(text).set_alignment(match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_two_spaces_apart_and_figures_at_the_right() {
        let mut table = Table::new(&[("ID", Align::Right), ("WEIGHT", Align::Right), ("TYPE NAME", Align::Left)]);
        table.row(["-1", "1.00000", "root default"]);
        table.row(["0", "1.00000", "        osd.0"]);
        assert_eq!(table.render(), "ID  WEIGHT   TYPE NAME\n-1  1.00000  root default\n 0  1.00000          osd.0\n");
    }
}
