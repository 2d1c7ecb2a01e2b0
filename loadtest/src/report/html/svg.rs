//! Words and shapes as SVG: a writer that escapes, rounds and closes what it opens.
//!
//! Colours are never written here: a shape has a class, and the style sheet gives it one colour for light and one for
//! dark.

use std::fmt::Write as _;

/// A picture that is being drawn.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

/// Where a text begins, relative to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// At the point.
    Start,
    /// Half of it lies before.
    Middle,
    /// It ends at the point.
    End,
}

impl Svg {
    /// Begins a picture. `label` is what a screen reader says for it; `class` is its own class.
    pub(super) fn open(width: f64, height: f64, class: &str, label: &str) -> Self {
        let mut text = String::new();
        let _ = write!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" viewBox=\"0 0 {} {}\" role=\"img\" \
             aria-label=\"{}\">",
            short(width),
            short(height),
            escape(label),
        );
        Self { text }
    }

    /// What is written as it is: markup.
    pub(super) fn raw(&mut self, markup: &str) {
        self.text.push_str(markup);
    }

    /// A straight line.
    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (short(from.0), short(from.1), short(to.0), short(to.1));
        let _ = write!(self.text, "<path class=\"{class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>");
    }

    /// A rectangle.
    pub(super) fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64)) {
        let (x, y, width, height) = (short(at.0), short(at.1), short(size.0.max(0.0)), short(size.1.max(0.0)));
        let _ =
            write!(self.text, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>");
    }

    /// A shape by its path data.
    pub(super) fn path(&mut self, class: &str, data: &str) {
        let _ = write!(self.text, "<path class=\"{class}\" d=\"{data}\"/>");
    }

    /// A text of one line.
    pub(super) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = (short(at.0), short(at.1));
        let words = escape(words);
        let _ =
            write!(self.text, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>");
    }

    /// The finished picture.
    pub(super) fn close(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }
}

/// Path data of a line through points.
pub(super) fn through(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut data = String::new();
    for (index, (x, y)) in points.into_iter().enumerate() {
        let _ = write!(data, "{}{} {}", if index == 0 { 'M' } else { 'L' }, short(x), short(y));
    }
    data
}

/// A coordinate with one digit behind the point, which is finer than a pixel shows.
pub(super) fn short(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    // -0 is 0.
    format!("{}", rounded + 0.0)
}

/// Text as it may stand between tags and in a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in XML, and of no meaning in a report.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_cannot_become_markup() {
        assert_eq!(escape("<script>\"a\" & 'b'\0"), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}");
        let mut svg = Svg::open(10.0, 10.0, "c", "\"><script>");
        svg.text("t", (1.0, 2.0), Anchor::End, "</text><script>");
        assert!(!svg.close().contains("<script>"));
    }

    #[test]
    fn coordinates_are_short_and_never_minus_zero() {
        assert_eq!((short(1.0 / 3.0), short(-0.01), short(12.0)), ("0.3".into(), "0".into(), "12".into()));
        assert_eq!(through([(0.0, 1.0), (2.0, 3.25)]), "M0 1L2 3.3");
    }
}
