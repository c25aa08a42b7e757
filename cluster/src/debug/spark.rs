//! A small chart of a series, as an SVG within a page.

use std::fmt::Write;

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 24.0;

/// The chart of `values`, with `top` at its upper edge.
pub(crate) fn line(values: &[f64], top: f64) -> String {
    let mut points = String::new();
    let step = WIDTH / (values.len().max(2) - 1) as f64;
    for (n, value) in values.iter().enumerate() {
        let share = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
        // Writing to a string does not fail.
        let _ =
            write!(points, "{:.1},{:.1} ", n as f64 * step, HEIGHT - 1.0 - share * (HEIGHT - 2.0));
    }
    format!(
        "<svg width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"><polyline \
         fill=\"none\" stroke=\"#27c\" points=\"{}\"/></svg>",
        points.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_curve_has_a_point_for_each_value() {
        let svg = line(&[0.0, 0.5, 2.0], 1.0);
        assert!(svg.contains("points=\"0.0,23.0 60.0,12.0 120.0,1.0\""), "{svg}");
        assert!(line(&[], 0.0).contains("points=\"\""));
    }
}
