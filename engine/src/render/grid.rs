//! Drawing a table: borders, header, rows. Knows widths and text, nothing of Arrow;
//! [`layout`](super::layout) decides what is shown and how wide.

use std::borrow::Cow;

use super::cell;

/// Whether and how text is coloured. Off, every method gives the text back as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    Off,
    /// With escape codes for a terminal.
    On,
}

impl Paint {
    /// Colours when a condition holds.
    pub fn when(condition: bool) -> Self {
        if condition { Self::On } else { Self::Off }
    }

    /// Names and titles.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Text around the important part.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// An error.
    pub fn error(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// A hint.
    pub fn hint(self, text: &str) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Off => text.to_owned(),
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// A column of a drawn table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// The type shown under the name, if types are shown.
    pub(super) type_name: Option<String>,
    pub(super) width: usize,
    pub(super) right: bool,
}

/// A table that is being drawn.
pub(super) struct Grid {
    pub(super) columns: Vec<Column>,
    pub(super) border: Border,
    pub(super) paint: Paint,
}

/// The characters borders are made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Border {
    /// Box drawing, for a terminal.
    Box,
    /// ASCII, for a pipe or a file.
    Plain,
}

/// A horizontal rule: left end, line, crossing, right end.
type Rule = [&'static str; 4];

impl Border {
    fn vertical(self) -> &'static str {
        match self {
            Self::Box => "│",
            Self::Plain => "|",
        }
    }

    fn top(self) -> Rule {
        match self {
            Self::Box => ["┌", "─", "┬", "┐"],
            Self::Plain => ["+", "-", "+", "+"],
        }
    }

    fn middle(self) -> Rule {
        match self {
            Self::Box => ["├", "─", "┼", "┤"],
            Self::Plain => ["+", "-", "+", "+"],
        }
    }

    fn bottom(self) -> Rule {
        match self {
            Self::Box => ["└", "─", "┴", "┘"],
            Self::Plain => ["+", "-", "+", "+"],
        }
    }

    /// The mark for rows and columns that were left out.
    pub(super) fn ellipsis(self) -> &'static str {
        match self {
            Self::Box => "…",
            Self::Plain => "...",
        }
    }
}

impl Grid {
    /// The border above, names, types, and the rule below them.
    pub(super) fn header(&self, out: &mut Vec<u8>) {
        self.rule(self.border.top(), out);
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        self.line(&names, out, |paint, text| paint.bold(text), Align::Centre);
        if self.columns.iter().any(|column| column.type_name.is_some()) {
            let types: Vec<_> = self
                .columns
                .iter()
                .map(|column| column.type_name.as_deref().unwrap_or_default())
                .collect();
            self.line(&types, out, |paint, text| paint.dim(text), Align::Centre);
        }
        self.rule(self.border.middle(), out);
    }

    /// One row. A cell with newlines takes as many lines as it has.
    pub(super) fn row(&self, cells: &[Option<&str>], out: &mut Vec<u8>) {
        let lines = cells.iter().flatten().map(|text| text.split('\n').count()).max().unwrap_or(1);
        if lines == 1 {
            return self.cells(cells, out);
        }
        for i in 0..lines {
            let line: Vec<_> = cells
                .iter()
                .map(|cell| match cell {
                    None if i > 0 => Some(""),
                    None => None,
                    Some(text) => Some(text.split('\n').nth(i).unwrap_or_default()),
                })
                .collect();
            self.cells(&line, out);
        }
    }

    /// The row in the place of those that were left out.
    pub(super) fn gap(&self, out: &mut Vec<u8>) {
        let dots = vec![self.border.ellipsis(); self.columns.len()];
        self.line(&dots, out, |paint, text| paint.dim(text), Align::Centre);
    }

    /// The border below.
    pub(super) fn footer(&self, out: &mut Vec<u8>) {
        self.rule(self.border.bottom(), out);
    }

    fn rule(&self, [left, line, cross, right]: Rule, out: &mut Vec<u8>) {
        let mut rule = String::from(left);
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                rule.push_str(cross);
            }
            rule.push_str(&line.repeat(column.width + 2));
        }
        rule.push_str(right);
        out.extend_from_slice(self.paint.dim(&rule).as_bytes());
        out.push(b'\n');
    }

    fn cells(&self, cells: &[Option<&str>], out: &mut Vec<u8>) {
        let bar = self.paint.dim(self.border.vertical());
        for (cell, column) in cells.iter().zip(&self.columns) {
            let align = if column.right { Align::Right } else { Align::Left };
            let text = cell.unwrap_or(cell::NULL);
            out.extend_from_slice(bar.as_bytes());
            match cell {
                Some(_) => self.cell(text, column.width, align, str::to_owned, out),
                None => self.cell(text, column.width, align, |text| self.paint.dim(text), out),
            }
        }
        out.extend_from_slice(bar.as_bytes());
        out.push(b'\n');
    }

    fn line(
        &self,
        texts: &[&str],
        out: &mut Vec<u8>,
        style: impl Fn(Paint, &str) -> String,
        align: Align,
    ) {
        let bar = self.paint.dim(self.border.vertical());
        for (text, column) in texts.iter().zip(&self.columns) {
            out.extend_from_slice(bar.as_bytes());
            self.cell(text, column.width, align, |text| style(self.paint, text), out);
        }
        out.extend_from_slice(bar.as_bytes());
        out.push(b'\n');
    }

    fn cell(
        &self,
        text: &str,
        width: usize,
        align: Align,
        style: impl Fn(&str) -> String,
        out: &mut Vec<u8>,
    ) {
        // On a terminal a line that is too wide breaks the picture; in a file nothing is lost.
        let text = match self.border {
            Border::Box => cell::cut(text, width),
            Border::Plain => Cow::Borrowed(text),
        };
        let space = width.saturating_sub(cell::width(&text));
        let before = match align {
            Align::Left => 0,
            Align::Centre => space / 2,
            Align::Right => space,
        };
        out.resize(out.len() + before + 1, b' ');
        out.extend_from_slice(style(&text).as_bytes());
        out.resize(out.len() + space - before + 1, b' ');
    }
}

#[derive(Clone, Copy)]
enum Align {
    Left,
    Centre,
    Right,
}

/// How wide a text is when its newlines break it.
pub(super) fn block_width(text: &str) -> usize {
    match text.contains('\n') {
        false => cell::width(text),
        true => text.split('\n').map(cell::width).max().unwrap_or(0),
    }
}
