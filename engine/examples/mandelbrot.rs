//! Draws the Mandelbrot set, a tile at a time, on all cores or machines.
//!
//! It shows [`Session::map`]: a function that is called for each of many items, with results as
//! they finish. Each tile comes back as soon as it is drawn, in any order, and goes to its place.
//!
//! ```text
//! cargo run --release -p bigslice --example mandelbrot -- --workers 2 --width 72
//! ```

#![expect(clippy::print_stdout, reason = "a program that prints what it found")]

use bigslice::SessionArgs;
use clap::Parser;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

/// Letters from the lightest to the darkest.
const SHADES: &[u8] = b" .:-=+*#%@";

/// The width and height of a tile in letters.
const TILE: u64 = 16;

/// Draws the Mandelbrot set.
#[derive(Debug, Parser)]
struct Args {
    /// Letters in a line; there are half as many lines.
    #[arg(long, value_name = "N", default_value_t = 72)]
    width: u64,

    /// Steps before a point counts as one of the set.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    steps: u32,

    #[command(flatten)]
    session: SessionArgs,
}

/// A part of the picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Tile {
    left: u64,
    top: u64,
    /// Of the whole picture.
    width: u64,
    steps: u32,
}

/// The lines of a tile.
#[bigslice::map]
fn draw(tile: Tile) -> Vec<String> {
    let scale = 3.0 / tile.width as f64;
    let line = |y: u64| {
        (tile.left..(tile.left + TILE).min(tile.width)).map(move |x| {
            let point =
                (x as f64 * scale - 2.2, (y as f64 - tile.width as f64 / 4.0) * 2.0 * scale);
            let share = escape(point, tile.steps).min(tile.steps) as usize * (SHADES.len() - 1);
            char::from(SHADES[share.div_ceil(tile.steps.max(1) as usize)])
        })
    };
    (tile.top..(tile.top + TILE).min(tile.width / 2)).map(|y| line(y).collect()).collect()
}

/// After how many steps a point leaves for good.
fn escape((a, b): (f64, f64), steps: u32) -> u32 {
    let (mut x, mut y) = (0.0, 0.0);
    (0..steps)
        .find(|_| {
            (x, y) = (x * x - y * y + a, 2.0 * x * y + b);
            x * x + y * y > 4.0
        })
        .unwrap_or(steps)
}

#[bigslice::main]
async fn main() -> anyhow::Result<()> {
    let Args { width, steps, session } = Args::parse();
    let session = session.open().await?;

    let starts = |end: u64| (0..end).step_by(TILE as usize);
    let tiles: Vec<Tile> = starts(width / 2)
        .flat_map(|top| starts(width).map(move |left| Tile { left, top, width, steps }))
        .collect();

    let mut lines = vec![vec![b' '; width as usize]; width as usize / 2];
    let mut drawn = session.map(draw, tiles.clone());
    while let Some((n, part)) = drawn.next().await {
        let Tile { left, top, .. } = tiles[n];
        for (line, letters) in lines[top as usize..].iter_mut().zip(part?) {
            line[left as usize..][..letters.len()].copy_from_slice(letters.as_bytes());
        }
    }

    for line in lines {
        println!("{}", String::from_utf8(line)?.trim_end());
    }
    session.shutdown().await;
    Ok(())
}
