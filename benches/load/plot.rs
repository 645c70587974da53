//! Pictures of what was measured, as SVG: text, lines and rectangles, readable on light and dark pages.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

const STYLE: &str = "text { font: 13px system-ui, sans-serif; fill: #444; } .title { font-weight: 600; }
 .ours { fill: #1f7a63; stroke: #1f7a63; } .theirs { fill: #8a939b; stroke: #8a939b; } .grid { stroke: #8a939b; stroke-opacity: .35; }
 .second { fill: #c2722d; stroke: #c2722d; } .line { fill: none; stroke-width: 2; } .dot { fill: #fff; stroke-width: 1.5; }
 @media (prefers-color-scheme: dark) { text { fill: #ccc; } .dot { fill: #222; } }";

/// One row of a bar chart: the middle value is the bar, every value is a dot.
pub struct Bar {
    pub what: String,
    pub values: Vec<f64>,
    pub ours: bool,
}

/// One line: values at equal steps from 0 to 100 % of what was measured.
pub struct Curve {
    pub what: String,
    pub values: Vec<f64>,
}

pub fn bars(path: &Path, title: &str, bars: &[Bar]) -> Result<()> {
    const LEFT: f64 = 250.0;
    const WIDTH: f64 = 420.0;
    let most = bars
        .iter()
        .flat_map(|bar| &bar.values)
        .fold(1.0, |a: f64, b| a.max(*b));
    let x = |value: f64| LEFT + value / most * WIDTH;
    let height = 40 + 34 * bars.len();
    let mut svg = begin(760, height, title)?;
    for (nth, bar) in bars.iter().enumerate() {
        let y = 40.0 + 34.0 * nth as f64;
        let middle = {
            let mut sorted = bar.values.clone();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        let class = if bar.ours { "ours" } else { "theirs" };
        writeln!(
            svg,
            "<text x='{}' y='{}' text-anchor='end'>{}</text><rect class='{class}' x='{LEFT}' y='{y}' width='{:.1}' height='22'/>",
            LEFT - 8.0,
            y + 16.0,
            escaped(&bar.what),
            x(middle) - LEFT
        )?;
        for value in &bar.values {
            writeln!(
                svg,
                "<circle class='{class} dot' cx='{:.1}' cy='{}' r='4'/>",
                x(*value),
                y + 11.0
            )?;
        }
        let end = bar.values.iter().fold(0.0, |a: f64, b| a.max(*b));
        writeln!(
            svg,
            "<text x='{:.1}' y='{}'>{middle:.0}</text>",
            x(end) + 10.0,
            y + 16.0
        )?;
    }
    finish(path, svg)
}

pub fn curves(path: &Path, title: &str, curves: &[Curve]) -> Result<()> {
    const LEFT: f64 = 60.0;
    const TOP: f64 = 40.0;
    const WIDTH: f64 = 620.0;
    const HEIGHT: f64 = 200.0;
    let most = curves
        .iter()
        .flat_map(|curve| &curve.values)
        .fold(0.1, |a: f64, b| a.max(*b));
    let most = (most * 10.0).ceil() / 10.0;
    let y = |value: f64| TOP + HEIGHT - value / most * HEIGHT;
    let mut svg = begin(760, 290, title)?;
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        writeln!(
            svg,
            "<line class='grid' x1='{LEFT}' x2='{}' y1='{y:.1}' y2='{y:.1}'/><text x='{}' y='{:.1}' text-anchor='end'>{value:.2}</text>",
            LEFT + WIDTH,
            LEFT - 8.0,
            y(value) + 4.0,
            y = y(value)
        )?;
    }
    for percent in [0, 50, 90, 100] {
        let at = LEFT + WIDTH * f64::from(percent) / 100.0;
        writeln!(
            svg,
            "<text x='{at:.1}' y='{}' text-anchor='middle'>{percent} %</text>",
            TOP + HEIGHT + 20.0
        )?;
    }
    for (nth, curve) in curves.iter().enumerate() {
        let class = ["ours", "second"][nth % 2];
        let steps = (curve.values.len().max(2) - 1) as f64;
        let points: Vec<String> = curve
            .values
            .iter()
            .enumerate()
            .map(|(at, value)| format!("{:.1},{:.1}", LEFT + WIDTH * at as f64 / steps, y(*value)))
            .collect();
        writeln!(
            svg,
            "<polyline class='{class} line' points='{}'/>",
            points.join(" ")
        )?;
        let (at, line) = (LEFT + 240.0 * nth as f64, TOP + HEIGHT + 42.0);
        writeln!(
            svg,
            "<rect class='{class}' x='{at}' y='{}' width='14' height='3'/><text x='{}' y='{line}'>{}</text>",
            line - 5.0,
            at + 22.0,
            escaped(&curve.what)
        )?;
    }
    finish(path, svg)
}

fn begin(width: usize, height: usize, title: &str) -> Result<String> {
    let mut svg = String::new();
    writeln!(
        svg,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' aria-label='{title}'>\n<style>{STYLE}</style>\n\
         <text class='title' x='8' y='20'>{title}</text>",
        title = escaped(title)
    )?;
    Ok(svg)
}

fn finish(path: &Path, mut svg: String) -> Result<()> {
    svg.push_str("</svg>\n");
    std::fs::write(path, svg)?;
    println!("written: {}", path.display());
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&#39;")
}
