//! Lines over two axes: percentile curves, rates and CPU over time.
//!
//! A line is told from another by its colour and by its dashes, and the legend shows both, so that nobody needs to see
//! colours.

use std::fmt::Write as _;

use super::scale::{Axis, Scale};
use super::svg::{Anchor, Svg, escape, short, through};

/// A picture of lines.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What is to the right.
    pub x: Axis,
    /// What is upward.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
    /// What the picture shows, in words, for those who cannot see it.
    pub summary: String,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Which colour, of [`COLORS`]; more begin again.
    pub color: usize,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Where it goes, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// Colours that there are; all can be told apart with each of the common colour blindnesses.
pub const COLORS: usize = 6;

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// In one piece.
    Solid,
    /// In long pieces.
    Dashed,
    /// In points.
    Dotted,
}

/// How large a picture is, in its own units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) class: &'static str,
}

/// For panels of more than some 500 pixels.
pub(super) const WIDE: Frame = Frame { width: 700.0, height: 320.0, class: "chart wide" };
/// For pictures over the whole of a wide page.
pub(super) const BROAD: Frame = Frame { width: 1390.0, height: 380.0, class: "chart broad" };
/// For phones. The page shows one of them.
pub(super) const NARROW: Frame = Frame { width: 370.0, height: 290.0, class: "chart narrow" };

const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 42.0;
/// About how wide a character is.
const CHARACTER: f64 = 6.4;

impl Frame {
    pub(super) fn plot_width(&self) -> f64 {
        self.width - LEFT - RIGHT
    }

    pub(super) fn plot_height(&self) -> f64 {
        self.height - TOP - BOTTOM
    }

    /// The place of shares of the axes: from the left, and from the bottom.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (LEFT + x * self.plot_width(), TOP + (1.0 - y) * self.plot_height())
    }

    /// Axes with their lines and words.
    pub(super) fn draw_axes(&self, svg: &mut Svg, x: &Axis, y: &Axis) {
        for tick in y.ticks((self.plot_height() / 44.0) as usize) {
            let place = y.scale.place(tick.at);
            svg.line("grid", self.at(0.0, place), self.at(1.0, place));
            let (left, middle) = self.at(0.0, place);
            svg.text("tick", (left - 7.0, middle + 4.0), Anchor::End, &tick.label);
        }
        let mut free_from = f64::NEG_INFINITY;
        for tick in x.ticks((self.plot_width() / 70.0) as usize) {
            let place = x.scale.place(tick.at);
            svg.line("grid", self.at(place, 0.0), self.at(place, 1.0));
            let (middle, bottom) = self.at(place, 0.0);
            let half = tick.label.chars().count() as f64 * CHARACTER / 2.0;
            let middle = middle.min(self.width - half - 1.0);
            if middle - half > free_from {
                svg.text("tick", (middle, bottom + 16.0), Anchor::Middle, &tick.label);
                free_from = middle + half + 4.0;
            }
        }
        svg.line("base", self.at(0.0, 0.0), self.at(1.0, 0.0));
        svg.text("axis", (2.0, 12.0), Anchor::Start, &y.label);
        svg.text("axis", (self.width - RIGHT, self.height - 6.0), Anchor::End, &x.label);
    }
}

impl Line {
    /// Its class in a picture.
    fn class(&self) -> String {
        format!("series c{} {}", self.color % COLORS, self.stroke.class())
    }
}

impl Stroke {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Dashed => "dashed",
            Self::Dotted => "dotted",
        }
    }
}

impl Chart {
    /// The picture for a page: a legend, then both sizes of it.
    pub(super) fn to_html(&self) -> String {
        format!(
            "{}{}{}<p class=\"readout\" aria-hidden=\"true\"></p>",
            self.legend(),
            self.draw(WIDE),
            self.draw(NARROW)
        )
    }

    /// The picture as a file of its own, with its legend and its style in it.
    pub fn to_svg_file(&self, title: &str) -> String {
        let lines = self.lines.iter().map(|line| (line.name.as_str(), line.class()));
        svg_file(title, &self.summary, lines, |svg, frame| self.draw_in(svg, frame))
    }

    fn draw(&self, frame: Frame) -> String {
        let mut svg = Svg::open(frame.width, frame.height, frame.class, &self.summary);
        svg.raw(&format!(
            "<desc>{}</desc><g class=\"plot\" data-box=\"{LEFT} {TOP} {} {}\" data-x=\"{}\" data-y=\"{}\">",
            escape(&self.summary),
            short(frame.plot_width()),
            short(frame.plot_height()),
            for_script(&self.x),
            for_script(&self.y),
        ));
        self.draw_in(&mut svg, frame);
        svg.raw("</g>");
        svg.close()
    }

    fn draw_in(&self, svg: &mut Svg, frame: Frame) {
        frame.draw_axes(svg, &self.x, &self.y);
        for line in &self.lines {
            let points = line.points.iter().map(|&(x, y)| frame.at(self.x.scale.place(x), self.y.scale.place(y)));
            svg.path(&line.class(), &through(points));
        }
    }

    fn legend(&self) -> String {
        legend(self.lines.iter().map(|line| (line.name.as_str(), line.class())))
    }
}

/// A picture as a file of its own: a title, a legend and what `draw` draws.
pub(super) fn svg_file<'a>(
    title: &str,
    summary: &str,
    lines: impl Iterator<Item = (&'a str, String)>,
    draw: impl FnOnce(&mut Svg, Frame),
) -> String {
    const HEAD: f64 = 52.0;
    let frame = Frame { class: "chart alone", ..WIDE };
    let mut svg = Svg::open(frame.width, frame.height + HEAD, "file", &format!("{title}. {summary}"));
    svg.raw(&format!("<style>{}</style>", super::CHART_STYLE));
    svg.rect("paper", (0.0, 0.0), (frame.width, frame.height + HEAD));
    svg.text("title", (2.0, 15.0), Anchor::Start, title);
    let mut left = 3.0;
    for (name, class) in lines {
        svg.line(&class, (left, 32.0), (left + 26.0, 32.0));
        svg.text("tick", (left + 34.0, 36.0), Anchor::Start, name);
        left += 34.0 + name.chars().count() as f64 * CHARACTER + 20.0;
    }
    svg.raw(&format!("<g transform=\"translate(0 {HEAD})\">"));
    draw(&mut svg, frame);
    svg.raw("</g>");
    svg.close()
}

/// Names with a piece of their lines.
pub(super) fn legend<'a>(lines: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut html = "<ul class=\"legend\">".to_owned();
    for (name, class) in lines {
        let _ = write!(
            html,
            "<li><svg class=\"key\" viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"{class}\" \
             d=\"M1 4L25 4\"/></svg>{}</li>",
            escape(name)
        );
    }
    html + "</ul>"
}

/// An axis for the script that shows the values beneath the pointer.
fn for_script(axis: &Axis) -> String {
    let (kind, from, to) = match axis.scale {
        Scale::Linear { from, to } => ("linear", from, to),
        Scale::Log { from, to } => ("log", from, to),
        Scale::Nines { nines } => ("nines", 0.0, nines),
    };
    format!("{kind} {from} {to} {:?}", axis.unit)
}

#[cfg(test)]
mod tests {
    use super::super::scale::Unit;
    use super::*;

    fn chart() -> Chart {
        let line = |name: &str, color, stroke| Line {
            name: name.to_owned(),
            color,
            stroke,
            points: vec![(0.0, 1e3), (50.0, 1e4), (99.9, 1e6)],
        };
        Chart {
            x: Axis { label: "percentile".into(), scale: Scale::Nines { nines: 3.0 }, unit: Unit::Percent },
            y: Axis { label: "latency".into(), scale: Scale::Log { from: 1e3, to: 1e6 }, unit: Unit::Nanoseconds },
            lines: vec![line("corrected", 0, Stroke::Solid), line("uncorrected", 1, Stroke::Dashed)],
            summary: "two <lines>".to_owned(),
        }
    }

    #[test]
    fn a_line_goes_from_corner_to_corner_of_its_axes() {
        let html = chart().to_html();
        let bottom = TOP + WIDE.plot_height();
        assert!(html.contains(&format!("d=\"M{LEFT} {}L", short(bottom))), "{html}");
        assert!(html.contains(&format!("L{} {TOP}\"", short(WIDE.width - RIGHT))), "{html}");
    }

    #[test]
    fn lines_differ_in_more_than_colour_and_the_picture_says_itself_in_words() {
        let html = chart().to_html();
        assert!(html.contains("series c0 solid") && html.contains("series c1 dashed"));
        assert_eq!(html.matches("aria-label=\"two &lt;lines&gt;\"").count(), 2, "both sizes");
        assert!(html.contains("uncorrected</li>"));
    }

    #[test]
    fn words_beside_an_axis_do_not_lie_over_each_other() {
        let axis = Axis { label: String::new(), scale: Scale::Nines { nines: 6.0 }, unit: Unit::Percent };
        let mut svg = Svg::open(1.0, 1.0, "", "");
        NARROW.draw_axes(&mut svg, &axis, &chart().y);
        let svg = svg.close();
        let mut last_end = 0.0;
        let words: Vec<&str> = svg.split("<text class=\"tick\"").filter(|text| text.contains("\"middle\"")).collect();
        assert!(words.len() >= 3, "{svg}");
        for text in words {
            let x: f64 = text.split('"').nth(1).unwrap().parse().unwrap();
            let half = text.split(['>', '<']).nth(1).unwrap().chars().count() as f64 * CHARACTER / 2.0;
            assert!(x - half >= last_end, "{svg}");
            last_end = x + half;
        }
    }

    #[test]
    fn a_file_of_its_own_has_its_style_and_its_legend() {
        let svg = chart().to_svg_file("A <title>");
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>"));
        assert!(svg.contains("<style>") && svg.contains("A &lt;title&gt;") && svg.contains(">uncorrected</text>"));
    }
}
