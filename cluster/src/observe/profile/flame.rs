//! A profile as a flame graph: the width of each function is the time spent in it and its callees.
//! A plain SVG: the viewer shows names and shares when the pointer rests on a box.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::markup::escape;
use crate::observe::profile::merged::{Grouping, Profile};

const WIDTH: f64 = 1200.0;
const ROW: f64 = 16.0;
/// The space above and below the boxes.
const MARGIN: f64 = 24.0;
/// Narrower boxes are left out: they are invisible, and a large profile has very many.
const BOX_MIN: f64 = 0.3;
/// The approximate width of a letter.
const LETTER: f64 = 6.6;
/// The most rows drawn.
const DEPTH_MAX: usize = 256;

#[derive(Debug, Default)]
struct Node<'a> {
    samples: u64,
    children: BTreeMap<&'a str, Self>,
}

impl<'a> Node<'a> {
    fn add(&mut self, path: impl Iterator<Item = &'a str>, samples: u64) {
        self.samples += samples;
        let mut node = self;
        for name in path.take(DEPTH_MAX) {
            node = node.children.entry(name).or_default();
            node.samples += samples;
        }
    }

    fn depth(&self, unit: f64) -> usize {
        let visible = self.children.values().filter(|child| child.samples as f64 * unit >= BOX_MIN);
        1 + visible.map(|child| child.depth(unit)).max().unwrap_or(0)
    }
}

impl Profile {
    /// As a flame graph in SVG.
    pub fn to_flame_graph(&self, grouping: Grouping) -> String {
        graph(self, grouping)
    }
}

/// The SVG.
fn graph(profile: &Profile, grouping: Grouping) -> String {
    let mut root = Node::default();
    for (machine, stacks) in &profile.parts {
        let group = (grouping == Grouping::ByMachine).then_some(machine.as_str());
        for stack in &stacks.stacks {
            let frames = stacks.frames(stack).rev().map(|place| place.name.as_str());
            root.add(group.into_iter().chain(frames), stack.samples);
        }
    }
    let unit = WIDTH / root.samples.max(1) as f64;
    let height = root.depth(unit) as f64 * ROW + 2.0 * MARGIN;
    let mut svg = String::new();
    let mut drawing = Drawing { svg: &mut svg, unit, total: root.samples.max(1), height };
    drawing.head(&profile.summary());
    drawing.draw("all", &root, 0.0, 0);
    svg.push_str("</svg>\n");
    svg
}

struct Drawing<'a> {
    svg: &'a mut String,
    /// Width of a sample.
    unit: f64,
    total: u64,
    height: f64,
}

impl Drawing<'_> {
    fn head(&mut self, summary: &str) {
        let summary = escape(summary);
        let height = self.height;
        self.write(format_args!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" \
             viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"#fff\"/>\n<text x=\"4\" y=\"16\">{summary}</text>\n"
        ));
    }

    fn draw(&mut self, name: &str, node: &Node<'_>, x: f64, level: usize) {
        let width = node.samples as f64 * self.unit;
        if width < BOX_MIN {
            return;
        }
        let y = self.height - MARGIN - (level + 1) as f64 * ROW;
        let share = node.samples as f64 * 100.0 / self.total as f64;
        let letters = (width / LETTER) as usize;
        let short: String =
            if letters < 3 { String::new() } else { name.chars().take(letters).collect() };
        let (full, short) = (escape(name), escape(&short));
        let (samples, color, inner, text) =
            (node.samples, color(name), width.max(0.4) - 0.2, x + 2.0);
        let baseline = y + 12.0;
        self.write(format_args!(
            "<g><title>{full} ({samples} samples, {share:.2} %)</title><rect x=\"{x:.2}\" \
             y=\"{y:.0}\" width=\"{inner:.2}\" height=\"15\" fill=\"{color}\"/><text x=\"{text:.2}\" \
             y=\"{baseline:.0}\">{short}</text></g>\n"
        ));
        let mut left = x;
        for (name, child) in &node.children {
            self.draw(name, child, left, level + 1);
            left += child.samples as f64 * self.unit;
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.svg.write_fmt(text);
    }
}

/// A warm colour, the same for each name.
fn color(name: &str) -> String {
    let hash = name
        .bytes()
        .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    format!("hsl({},{}%,{}%)", 10 + hash % 45, 75 + (hash >> 8) % 20, 60 + (hash >> 16) % 12)
}

#[cfg(test)]
mod tests {
    use super::graph;
    use crate::observe::profile::merged::Grouping;
    use crate::observe::profile::merged::tests::profile;

    #[test]
    fn boxes_are_as_wide_as_their_share() {
        let svg = graph(&profile(), Grouping::Together);
        for (name, samples, share, width) in
            [("all", 4, 100, 1200), ("main", 4, 100, 1200), ("work&lt;T&gt;", 3, 75, 900)]
        {
            let title = format!("<title>{name} ({samples} samples, {share}.00 %)</title>");
            let (_, after) = svg.split_once(&title).expect(&title);
            assert!(after.starts_with(&format!(
                "<rect x=\"0.00\" y=\"{}\" width=\"{}.80\"",
                after.split('"').nth(3).expect("a place"),
                width - 1
            )));
        }
        assert!(svg.contains("without m2: it is &quot;gone&quot;"));
        let apart = graph(&profile(), Grouping::ByMachine);
        assert!(apart.contains("<title>m0 (3 samples") && apart.contains("<title>m1 (1 samples"));
        assert!(apart.contains("x=\"900.00\""), "the second stands beside the first");
    }
}
