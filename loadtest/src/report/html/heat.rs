//! Latency over time as a heat map: time to the right, latency upward, the more messages the stronger the colour.
//!
//! A mean over time hides that a few messages wait long, and a maximum hides how many. Here a stall is a streak, a second
//! mode a second band. The median, p99 and the slowest message lie over it as lines.

use super::chart::{BROAD, Frame, NARROW, Stroke, WIDE, legend, svg_file};
use super::scale::{Axis, Scale, Unit};
use super::svg::{Svg, escape, short, through};
use super::units;

/// The picture's data.
#[derive(Clone, Debug)]
pub struct HeatMap {
    /// Slices of time, in order.
    pub slices: Vec<Slice>,
}

/// What was measured in a slice of time.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Its beginning, in seconds since the measurement's.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// How many messages had which latency.
    pub cells: Vec<Cell>,
    /// Its median, p99 and greatest latency in nanoseconds. Without messages there is none.
    pub lines_ns: Option<[f64; 3]>,
}

/// Messages of about the same latency.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The least latency counted here, in nanoseconds.
    pub low_ns: f64,
    /// The bound above it.
    pub high_ns: f64,
    /// Messages.
    pub count: u64,
}

/// Strengths of the colour.
const LEVELS: usize = 9;
const LINES: [(&str, Stroke); 3] = [("p50", Stroke::Solid), ("p99", Stroke::Dashed), ("max", Stroke::Dotted)];

impl HeatMap {
    /// The picture for a page, with its legend.
    pub(super) fn to_html(&self) -> String {
        let sizes = [BROAD, WIDE, NARROW].map(|frame| self.draw(frame)).concat();
        format!("{}{}{sizes}", legend(lines()), self.colors())
    }

    /// The picture as a file of its own, with its legend and its style in it.
    pub fn to_svg_file(&self, title: &str) -> String {
        svg_file(title, &self.summary(), lines(), |svg, frame| self.draw_in(svg, frame))
    }

    /// What it shows, in words.
    pub(super) fn summary(&self) -> String {
        let lines: Vec<[f64; 3]> = self.slices.iter().filter_map(|slice| slice.lines_ns).collect();
        let bounds = |line: usize| {
            let values = lines.iter().map(|at| at[line]);
            let (least, greatest) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
            format!("{} to {}", units::nanoseconds(least), units::nanoseconds(greatest))
        };
        let slowest = self.slices.iter().filter_map(|slice| Some((slice.from_s, slice.lines_ns?[2])));
        let Some((at, slowest)) = slowest.max_by(|one, other| one.1.total_cmp(&other.1)) else {
            return "Latency over time: no message was measured.".to_owned();
        };
        format!(
            "Latency over time in {} slices: p50 from {}, p99 from {}; the slowest message took {}, {} s after the \
             measurement began.",
            self.slices.len(),
            bounds(0),
            bounds(1),
            units::nanoseconds(slowest),
            units::three_digits(at),
        )
    }

    fn greatest_count(&self) -> u64 {
        self.slices.iter().flat_map(|slice| &slice.cells).map(|cell| cell.count).max().unwrap_or(0)
    }

    /// Which strength so many messages have: logarithmic, so that one message among millions is seen.
    fn level(count: u64, greatest: u64) -> usize {
        let share = (count as f64).ln_1p() / (greatest as f64).ln_1p();
        ((share * LEVELS as f64).ceil() as usize).clamp(1, LEVELS)
    }

    /// The key of the colours.
    fn colors(&self) -> String {
        let greatest = self.greatest_count();
        let swatches: String = (1..=LEVELS).map(|level| format!("<i class=\"h{level}\"></i>")).collect();
        format!(
            "<p class=\"colors\"><span>1 message</span><span class=\"swatches\" aria-hidden=\"true\">{swatches}</span>\
             <span>{} in one cell</span></p>",
            units::grouped(greatest)
        )
    }

    fn axes(&self) -> (Axis, Axis) {
        let end = self.slices.last().map_or(1.0, |slice| slice.to_s);
        let cells = self.slices.iter().flat_map(|slice| &slice.cells).filter(|cell| cell.count > 0);
        let edges = cells.flat_map(|cell| [cell.low_ns.max(1.0), cell.high_ns]);
        let x = Axis {
            label: "since the measurement began".to_owned(),
            scale: Scale::Linear { from: 0.0, to: end },
            unit: Unit::Seconds,
        };
        let y = Axis { label: "latency".to_owned(), scale: Scale::around(edges), unit: Unit::Nanoseconds };
        (x, y)
    }

    fn draw(&self, frame: Frame) -> String {
        let summary = self.summary();
        let mut svg = Svg::open(frame.width, frame.height, frame.class, &summary);
        svg.raw(&format!("<desc>{}</desc>", escape(&summary)));
        self.draw_in(&mut svg, frame);
        svg.close()
    }

    fn draw_in(&self, svg: &mut Svg, frame: Frame) {
        let (x, y) = self.axes();
        frame.draw_axes(svg, &x, &y);
        for (index, data) in self.cells_by_level(frame, &x.scale, &y.scale).iter().enumerate() {
            if !data.is_empty() {
                svg.path(&format!("h{}", index + 1), data);
            }
        }
        for (line, (_, stroke)) in LINES.iter().enumerate() {
            let points = self.slices.iter().filter_map(|slice| {
                let middle = f64::midpoint(slice.from_s, slice.to_s);
                Some(frame.at(x.scale.place(middle), y.scale.place(slice.lines_ns?[line])))
            });
            let data = through(points);
            svg.path("under", &data);
            svg.path(&format!("over {}", stroke.class()), &data);
        }
    }

    /// All cells of one strength are one shape: a file of a hundred slices stays small.
    fn cells_by_level(&self, frame: Frame, x: &Scale, y: &Scale) -> Vec<String> {
        use std::fmt::Write as _;
        let greatest = self.greatest_count();
        let mut shapes = vec![String::new(); LEVELS];
        for slice in &self.slices {
            for cell in slice.cells.iter().filter(|cell| cell.count > 0) {
                let (left, top) = frame.at(x.place(slice.from_s), y.place(cell.high_ns));
                let (right, bottom) = frame.at(x.place(slice.to_s), y.place(cell.low_ns));
                let shape = &mut shapes[Self::level(cell.count, greatest) - 1];
                // A little larger than it is, so that no seam shows between neighbours.
                let (width, height) = (short(right - left + 0.3), short(bottom - top + 0.3));
                let _ = write!(shape, "M{} {}h{width}v{height}h-{width}z", short(left), short(top));
            }
        }
        shapes
    }
}

/// Names and classes of the lines.
fn lines() -> impl Iterator<Item = (&'static str, String)> {
    LINES.iter().map(|(name, stroke)| (*name, format!("over {}", stroke.class())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> HeatMap {
        let cell = |low_ns: f64, count| Cell { low_ns, high_ns: low_ns * 1.1, count };
        HeatMap {
            slices: vec![
                Slice {
                    from_s: 0.0,
                    to_s: 1.0,
                    cells: vec![cell(1e4, 900), cell(2e4, 1)],
                    lines_ns: Some([1e4, 2e4, 2e4]),
                },
                Slice { from_s: 1.0, to_s: 2.0, cells: vec![], lines_ns: None },
                Slice {
                    from_s: 2.0,
                    to_s: 3.0,
                    cells: vec![cell(1e4, 90), cell(2e8, 3)],
                    lines_ns: Some([1e4, 2e8, 2.1e8]),
                },
            ],
        }
    }

    #[test]
    fn one_message_among_many_is_seen_and_the_most_have_the_strongest_colour() {
        assert_eq!((HeatMap::level(1, 1_000_000), HeatMap::level(1_000_000, 1_000_000)), (1, LEVELS));
        assert_eq!((HeatMap::level(1, 1), HeatMap::level(1000, 1_000_000)), (LEVELS, LEVELS / 2 + 1));
        let html = map().to_html();
        assert!(html.contains("<path class=\"h9\"") && html.contains("<path class=\"h1\""), "{html}");
    }

    #[test]
    fn a_cell_lies_at_its_time_and_its_latency() {
        let map = map();
        let (x, y) = map.axes();
        assert_eq!(y.scale, Scale::Log { from: 1e4, to: 5e8 });
        let shapes = map.cells_by_level(WIDE, &x.scale, &y.scale);
        // The 900 are at the very left, and their lower edge is the axis.
        let (left, bottom) = WIDE.at(0.0, 0.0);
        let data = &shapes[LEVELS - 1];
        let numbers: Vec<f64> = data.split(['M', ' ', 'h', 'v', 'z']).filter_map(|text| text.parse().ok()).collect();
        assert!((numbers[0] - left).abs() < 0.11 && (numbers[1] + numbers[3] - bottom).abs() < 0.5, "{data}");
    }

    #[test]
    fn its_words_say_the_slowest_message_and_when() {
        let words = map().summary();
        assert!(words.contains("took 210 ms, 2.00 s after") && words.contains("p99 from 20.0 us to 200 ms"), "{words}");
        assert!(HeatMap { slices: vec![] }.summary().contains("no message"));
        let empty = HeatMap { slices: vec![] }.to_html();
        assert!(!empty.contains("NaN"), "{empty}");
    }
}
