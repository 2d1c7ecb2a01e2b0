//! The live line: how a run is going while it goes, on standard error.
//!
//! On a terminal it is one line that is written over each second; elsewhere a plain line every five seconds, so that
//! a log stays readable. Its figures are those of the last moment and coarse; the report has the exact ones.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use ringwire_ring::Instant;

use crate::measure::Beat;
use crate::report::html::units::{nanoseconds, short_number};

/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// How often a line on a terminal is written over.
const REWRITE_EVERY: Duration = Duration::from_secs(1);

/// Whether there is to be a live line: `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Yes.
    On,
    /// No.
    Off,
    /// If standard error is a terminal.
    #[default]
    Auto,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It opens connections.
    Connecting {
        /// Those that are open.
        open: usize,
        /// Of how many.
        of: usize,
    },
    /// It runs, but nothing counts yet.
    WarmUp,
    /// What happens counts.
    Measuring,
    /// It waits for what is on its way.
    Settling,
}

/// How a run is going.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where it is.
    pub stage: Stage,
    /// How far it is in its stage.
    pub elapsed: Duration,
    /// How long the stage is.
    pub total: Duration,
    /// What happened since the last snapshot.
    pub beat: Beat,
    /// How long that is.
    pub interval: Duration,
    /// The server's CPU use in shares of one core, if its process is known.
    pub server: Option<f64>,
}

/// Writes the live line.
#[derive(Debug)]
pub struct Live<W> {
    out: W,
    form: Option<Form>,
    due: Instant,
    is_written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Rewritten,
    Plain,
}

impl Progress {
    /// Reads `on`, `off` or `auto`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Progress::On),
            "off" => Ok(Progress::Off),
            "auto" => Ok(Progress::Auto),
            other => Err(format!("--progress {other}: `on`, `off` or `auto` is needed")),
        }
    }

    fn form(self, is_terminal: bool) -> Option<Form> {
        match (self, is_terminal) {
            (Progress::Off, _) | (Progress::Auto, false) => None,
            (Progress::On, false) => Some(Form::Plain),
            (Progress::On | Progress::Auto, true) => Some(Form::Rewritten),
        }
    }
}

impl Live<io::Stderr> {
    /// A live line on standard error.
    pub fn on_stderr(progress: Progress) -> Self {
        let out = io::stderr();
        let form = progress.form(out.is_terminal());
        Self::new(out, form)
    }
}

impl<W: Write> Live<W> {
    const fn new(out: W, form: Option<Form>) -> Self {
        Self { out, form, due: Instant::from_nanos(0), is_written: false }
    }

    /// Whether a line is due: the snapshot need not be taken before. Never if there is to be none.
    pub fn is_due(&self, now: Instant) -> bool {
        self.form.is_some() && now >= self.due
    }

    /// Writes the line, if it is due. A standard error that takes nothing is no error.
    pub fn show(&mut self, now: Instant, snapshot: &Snapshot) {
        let Some(form) = self.form.filter(|_| now >= self.due) else { return };
        let line = line(snapshot);
        let (every, text) = match form {
            // Back to the line's beginning, and nothing left of it.
            Form::Rewritten => (REWRITE_EVERY, format!("\r\x1b[2K{line}")),
            Form::Plain => (PLAIN_EVERY, format!("{line}\n")),
        };
        self.due = now + every;
        self.is_written = form == Form::Rewritten;
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    /// Takes the line off the terminal, before something else is written there.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_written) {
            let _ = self.out.write_all(b"\r\x1b[2K").and_then(|()| self.out.flush());
        }
    }
}

impl<W> Drop for Live<W> {
    fn drop(&mut self) {
        // Whatever ends a run, what is written next begins on a line of its own.
        if self.is_written {
            eprintln!();
        }
    }
}

/// The line: at most 79 characters with figures of common size, so that it fits on a terminal.
pub fn line(snapshot: &Snapshot) -> String {
    let stage = match snapshot.stage {
        Stage::Connecting { open, of } => return format!("connecting: {open} of {of} are open"),
        Stage::WarmUp => "warm-up ",
        Stage::Measuring => "",
        Stage::Settling => "settling ",
    };
    let (elapsed, total) = (snapshot.elapsed.as_secs(), snapshot.total.as_secs_f64().ceil());
    let beat = &snapshot.beat;
    let seconds = snapshot.interval.as_secs_f64();
    let rate = if seconds > 0.0 { beat.messages as f64 / seconds } else { 0.0 };
    let mut text = format!("{stage}{elapsed}/{total} s  {}/s", short_number(in_three_digits(rate)));
    if beat.count() > 0 {
        let latencies = [("p50", beat.percentile(50.0)), ("p99", beat.percentile(99.0)), ("max", beat.max)];
        for (name, nanos) in latencies {
            let _ = write!(text, "  {name} {}", nanoseconds(nanos as f64));
        }
    }
    if let Some(server) = snapshot.server {
        let _ = write!(text, "  server {:.0} %", server * 100.0);
    }
    let _ = write!(text, "  lost {}", beat.lost);
    text
}

/// A rate over a second has no more of them.
fn in_three_digits(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powi(2 - value.log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Pulse, Recorder, Series};
    use std::sync::Arc;

    fn at(seconds: f64) -> Instant {
        Instant::default() + Duration::from_secs_f64(seconds)
    }

    /// A second with so many latencies of 100 us, and one of 20 ms.
    fn snapshot(messages: u64) -> Snapshot {
        let pulse = Arc::new(Pulse::default());
        let mut recorder = Recorder::new(&["only"], Arc::clone(&pulse));
        for _ in 0..messages {
            recorder.count(1, 10, at(1.0));
            recorder.record(Series(0), at(1.0001), at(1.0), at(1.0));
        }
        recorder.record(Series(0), at(1.02), at(1.0), at(1.0));
        recorder.lost_so_far(3);
        recorder.turn(at(1.0));
        Snapshot {
            stage: Stage::Measuring,
            elapsed: Duration::from_millis(12_900),
            total: Duration::from_secs(60),
            beat: pulse.take(),
            interval: Duration::from_millis(500),
            server: Some(0.874),
        }
    }

    #[test]
    fn the_line_says_time_rate_latencies_server_and_loss() {
        let text = line(&snapshot(1234));
        assert_eq!(text, "12/60 s  2.47k/s  p50 102 us  p99 102 us  max 20.0 ms  server 87 %  lost 3");
        assert!(text.len() < 80);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let nothing = Snapshot { beat: Beat::default(), server: None, interval: Duration::ZERO, ..snapshot(1) };
        assert_eq!(line(&nothing), "12/60 s  0/s  lost 0");
        assert_eq!(line(&Snapshot { stage: Stage::WarmUp, ..nothing.clone() }), "warm-up 12/60 s  0/s  lost 0");
        let connecting = Stage::Connecting { open: 5, of: 18_000 };
        assert_eq!(line(&Snapshot { stage: connecting, ..nothing }), "connecting: 5 of 18000 are open");
    }

    #[test]
    fn a_terminal_s_line_is_written_over_each_second_and_taken_off_at_the_end() {
        let mut written = Vec::new();
        let mut live = Live::new(&mut written, Some(Form::Rewritten));
        for now in [0.0, 0.9, 1.0] {
            live.show(at(now), &snapshot(1));
        }
        live.clear();
        live.clear();
        drop(live);
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.matches("\r\x1b[2K").count(), 3, "{text:?}");
        assert_eq!((text.matches("lost").count(), text.contains('\n')), (2, false), "{text:?}");
    }

    #[test]
    fn elsewhere_a_plain_line_comes_every_five_seconds() {
        let mut written = Vec::new();
        let mut live = Live::new(&mut written, Some(Form::Plain));
        for now in 0..=9 {
            assert_eq!(live.is_due(at(f64::from(now))), now % 5 == 0, "{now}");
            live.show(at(f64::from(now)), &snapshot(1));
        }
        live.clear();
        drop(live);
        let text = String::from_utf8(written).unwrap();
        assert_eq!(
            (text.lines().count(), text.contains('\r'), text.ends_with("lost 3\n")),
            (2, false, true),
            "{text:?}"
        );
    }

    #[test]
    fn there_is_no_line_if_none_is_wanted() {
        let mut written = Vec::new();
        let mut live = Live::new(&mut written, None);
        assert!(!live.is_due(at(9.0)));
        live.show(at(9.0), &snapshot(1));
        drop(live);
        assert!(written.is_empty());
    }

    #[test]
    fn progress_is_on_off_or_as_the_terminal_has_it() {
        let form = |text: &str, is_terminal| Progress::parse(text).unwrap().form(is_terminal);
        assert_eq!((form("auto", true), form("auto", false)), (Some(Form::Rewritten), None));
        assert_eq!((form("on", true), form("on", false)), (Some(Form::Rewritten), Some(Form::Plain)));
        assert_eq!((form("off", true), form("off", false)), (None, None));
        assert!(Progress::parse("yes").unwrap_err().contains("--progress yes"));
    }
}
