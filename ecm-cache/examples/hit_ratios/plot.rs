//! The courses as SVG: a panel for each trace, hit ratio by capacity.

use crate::{CAPACITIES, Course, replay::STRATEGIES};
use std::fmt::Write;

const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 50.0;
const GAP: f64 = 50.0;
const TOP: f64 = 120.0;
const COLOURS: [&str; 4] = ["#4a7ab5", "#b5541c", "#8a3b8f", "#444"];

pub(crate) fn draw(courses: &[Course]) -> String {
    let width = LEFT + courses.len() as f64 * (WIDTH + GAP);
    let height = TOP + HEIGHT + 50.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<style>.small{{font-size:10px;fill:#555}}</style>
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="{LEFT}" y="24" font-size="16">Hit ratio by capacity and strategy</text>
<text x="{LEFT}" y="44" class="small">400,000 requests each. Optimum: what is kept is asked for again soonest (Belady). cargo run --release -p ecm-cache --example hit_ratios.</text>
"##
    );
    let names = STRATEGIES.iter().copied().chain(["optimum"]);
    for (number, (name, colour)) in names.zip(COLOURS).enumerate() {
        let x = LEFT + 110.0 * number as f64;
        let _ = writeln!(svg, r#"<text x="{x}" y="68" fill="{colour}">— {name}</text>"#);
    }
    for (number, course) in courses.iter().enumerate() {
        panel(&mut svg, LEFT + number as f64 * (WIDTH + GAP), course);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, x: f64, Course { trace, ratios }: &Course) {
    let bottom = TOP + HEIGHT;
    let across = |place: usize| x + WIDTH * place as f64 / (CAPACITIES.len() - 1) as f64;
    let _ = writeln!(svg, r#"<text x="{x}" y="{}" font-weight="bold">{}</text>"#, TOP - 26.0, trace.name);
    let _ = writeln!(svg, r#"<text x="{x}" y="{}" class="small">{}</text>"#, TOP - 12.0, trace.about);
    let _ = writeln!(svg, r##"<path d="M{x} {TOP}V{bottom}h{WIDTH}" fill="none" stroke="#666"/>"##);
    for percent in [0.0, 50.0, 100.0] {
        let y = bottom - HEIGHT * percent / 100.0;
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{}" text-anchor="end" class="small">{percent} %</text>"#,
            x - 4.0,
            y + 4.0
        );
    }
    for (place, capacity) in CAPACITIES.iter().enumerate() {
        let (at, y) = (across(place), bottom + 15.0);
        let _ = writeln!(svg, r#"<text x="{at:.1}" y="{y}" text-anchor="middle" class="small">{capacity}</text>"#);
    }
    let _ = writeln!(
        svg,
        r#"<text x="{}" y="{}" text-anchor="middle" class="small">entries</text>"#,
        x + WIDTH / 2.0,
        bottom + 30.0
    );
    for (line, colour) in COLOURS.iter().enumerate() {
        let path = ratios.iter().enumerate().fold(String::new(), |mut path, (place, ratios)| {
            let (x, y) = (across(place), bottom - HEIGHT * ratios[line]);
            let _ = write!(path, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
            path
        });
        let dashes = if line == 3 { r#" stroke-dasharray="4 3""# } else { "" };
        let _ = writeln!(svg, r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes}/>"#);
    }
}
