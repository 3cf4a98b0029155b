//! The courses as SVG: a row for each strategy, connections on the left, waiting times on the right.

use crate::{
    load,
    simulation::{Course, HELD, OPENING},
};
use std::fmt::Write;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 90.0;
const LEFT: f64 = 50.0;
const GAP: f64 = 60.0;
const TOP: f64 = 130.0;
const ROW: f64 = 150.0;
const MOST_CONNECTIONS: f64 = 50.0;
/// Above it a bar is cut off.
const LONGEST_WAIT: f64 = 20.0;

struct Panel {
    x: f64,
    y: f64,
    most: f64,
}

impl Panel {
    fn point(&self, second: usize, value: f64) -> (f64, f64) {
        let x = self.x + WIDTH * second as f64 / load::SECONDS as f64;
        (x, self.y + HEIGHT * (1.0 - (value / self.most).min(1.0)))
    }

    fn frame(&self, svg: &mut String, unit: &str) {
        let (x, y, bottom) = (self.x, self.y, self.y + HEIGHT);
        let _ = writeln!(svg, r##"<path d="M{x} {y}V{bottom}h{WIDTH}" fill="none" stroke="#666"/>"##);
        for (value, y) in [(self.most, y + 4.0), (0.0, bottom + 4.0)] {
            let _ = writeln!(svg, r#"<text x="{}" y="{y}" text-anchor="end">{value}</text>"#, x - 4.0);
        }
        let _ = writeln!(svg, r#"<text x="{}" y="{}" class="small">{unit}</text>"#, x + 4.0, y + 4.0);
        for second in (0..=load::SECONDS).step_by(60) {
            let (at, _) = self.point(second, 0.0);
            let _ = writeln!(
                svg,
                r#"<text x="{at}" y="{}" text-anchor="middle" class="small">{second} s</text>"#,
                bottom + 15.0
            );
        }
    }

    fn path(&self, values: impl Iterator<Item = f64>) -> String {
        values.enumerate().fold(String::new(), |mut path, (second, value)| {
            let (x, y) = self.point(second, value);
            let _ = write!(path, "{}{x:.1} {y:.1}", if second == 0 { 'M' } else { 'L' });
            path
        })
    }
}

pub(crate) fn draw(courses: &[Course]) -> String {
    let (width, height) = (LEFT + 2.0 * WIDTH + GAP + 30.0, TOP + ROW * courses.len() as f64);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<style>.small{{font-size:10px;fill:#555}}</style>
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="{LEFT}" y="24" font-size="16">Connections and waiting time by strategy</text>
<text x="{LEFT}" y="44" class="small">A load that rises from 20 to 400 calls a second, bursts to 2,000 for five seconds, and falls; each call holds a connection for {HELD} ms, opening one takes {OPENING} ms.</text>
<text x="{LEFT}" y="58" class="small">At most 50 connections, idle for at most 20 s. Simulated: cargo run --release -p ecm-pool --example strategies.</text>
<text x="{LEFT}" y="84" fill="#4a7ab5">■ connections open</text>
<text x="{}" y="84" fill="#b5541c">— of these lent, on average</text>
<text x="{}" y="84" fill="#8a3b8f">■ mean wait for a connection, each second</text>
"##,
        LEFT + 130.0,
        LEFT + WIDTH + GAP,
    );
    for (row, course) in courses.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let _ = writeln!(
            svg,
            r#"<text x="{LEFT}" y="{}"><tspan font-weight="bold">{:?}</tspan>: {:.1} connections on average, {} opened; mean wait {:.2} ms, longest {} ms</text>"#,
            y - 10.0,
            course.strategy,
            course.mean_connections(),
            course.opened,
            course.mean_wait(),
            course.longest_wait,
        );
        let connections = Panel { x: LEFT, y, most: MOST_CONNECTIONS };
        let open = connections.path(course.seconds.iter().map(|second| f64::from(second.connections)));
        let (end, bottom) = connections.point(course.seconds.len() - 1, 0.0);
        let _ =
            writeln!(svg, r##"<path d="{open}L{end:.1} {bottom}L{LEFT} {bottom}Z" fill="#4a7ab5" opacity="0.5"/>"##);
        let lent = connections.path(course.seconds.iter().map(|second| second.lent));
        let _ = writeln!(svg, r##"<path d="{lent}" fill="none" stroke="#b5541c" stroke-width="1.5"/>"##);
        connections.frame(&mut svg, "connections");
        let waits = Panel { x: LEFT + WIDTH + GAP, y, most: LONGEST_WAIT };
        let bars = course.seconds.iter().enumerate().fold(String::new(), |mut bars, (second, seen)| {
            let (x, top) = waits.point(second, seen.mean_wait());
            let _ = write!(bars, "M{x:.1} {bottom}V{top:.1}");
            bars
        });
        let _ = writeln!(svg, r##"<path d="{bars}" fill="none" stroke="#8a3b8f" stroke-width="1.6"/>"##);
        waits.frame(&mut svg, "ms");
    }
    svg.push_str("</svg>\n");
    svg
}
