//! Whether a record shows what its row must show.
//!
//! A goal is met if the whole interval of its ratio keeps the bound, not met if the whole interval breaks it, and else the
//! rounds do not show which: within noise. A rate that the generator limited can show that a goal is met, and never that
//! it is not.

use super::figures::{Metric, Spread, three_digits};
use super::record::{Measured, Record, Role};
use super::rows::{Against, Goal, Growth, Row};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    NotMet,
    Noise,
    /// The generator set the pace, so that what the server can do is not known.
    AtLeast,
    /// There is nothing to compare with.
    Unknown,
}

impl Verdict {
    /// In the order in which they are counted.
    pub(crate) const ALL: [Self; 5] = [Self::Met, Self::Noise, Self::NotMet, Self::AtLeast, Self::Unknown];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "**not met**",
            Self::Noise => "within noise",
            Self::AtLeast => "not shown: the generator set the pace",
            Self::Unknown => "nothing to compare with",
        }
    }
}

/// A goal held against a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    /// What was to hold: `CPU ≤ 0.90 of the best epoll peer`.
    pub(crate) goal: String,
    /// What was measured, and against whom.
    pub(crate) measured: Option<(Spread, Option<String>)>,
    pub(crate) verdict: Verdict,
}

impl Judged {
    /// In a cell of a table: `CPU ≤ 0.90 of the best epoll peer: met, 0.86 (0.84 to 0.88) of bun`.
    pub(crate) fn tell(&self) -> String {
        let measured = self.measured.as_ref().map_or(String::new(), |(spread, of)| {
            let of = of.as_ref().map_or(String::new(), |of| format!(" of {of}"));
            format!(", {}{of}", ratio(spread))
        });
        format!("{}: {}{measured}", self.goal, self.verdict.word())
    }
}

/// `0.86 (0.84 to 0.88)`.
pub(crate) fn ratio(spread: &Spread) -> String {
    let [median, low, high] = [spread.median, spread.low, spread.high].map(three_digits);
    if low == high { median } else { format!("{median} ({low} to {high})") }
}

/// The server that a metric of the record is compared with.
pub(crate) fn opponent(record: &Record, metric: Metric, against: Against) -> Option<&Measured> {
    match against {
        Against::Best => record.best(metric, Role::is_peer),
        Against::BestEpoll => record.best(metric, |role| role == Role::Peer),
        Against::Floor => record.best(metric, |role| role == Role::Floor),
        Against::Nothing | Against::OwnMost => None,
    }
}

/// What a row must show, in words.
pub(crate) fn goals(row: &Row) -> Vec<String> {
    row.goals.iter().map(words).collect()
}

/// Holds a row's goals against its record.
pub(crate) fn judge(row: &Row, record: &Record) -> Vec<Judged> {
    row.goals.iter().map(|goal| judge_one(goal, record, row.judged())).collect()
}

fn judge_one(goal: &Goal, record: &Record, judged: &str) -> Judged {
    let words = words(goal);
    let unknown = || Judged { goal: words.clone(), measured: None, verdict: Verdict::Unknown };
    let Some(mine) = record.server(judged) else { return unknown() };
    let rounds = mine.rounds(goal.metric);
    let measured = match goal.against {
        Against::Nothing => Spread::of(rounds).map(|spread| (spread, None)),
        Against::OwnMost => Spread::of(rounds).map(|Spread { low, high, .. }| {
            let share = low / high;
            (Spread { median: share, low: share, high: share }, None)
        }),
        _ => opponent(record, goal.metric, goal.against)
            .and_then(|other| Some((Spread::of_ratio(rounds, other.rounds(goal.metric))?, Some(other.name.clone())))),
    };
    let Some((spread, of)) = measured else { return unknown() };
    let verdict = match verdict(&spread, goal.bound, goal.metric.more_is_better()) {
        Verdict::NotMet | Verdict::Noise if goal.metric == Metric::Rate && mine.generator_bound > 0 => Verdict::AtLeast,
        verdict => verdict,
    };
    Judged { goal: words, measured: Some((spread, of)), verdict }
}

fn verdict(measured: &Spread, bound: f64, more_is_better: bool) -> Verdict {
    let (kept, broken) = if more_is_better {
        (measured.low >= bound, measured.high < bound)
    } else {
        (measured.high <= bound, measured.low > bound)
    };
    match (kept, broken) {
        (true, _) => Verdict::Met,
        (false, true) => Verdict::NotMet,
        (false, false) => Verdict::Noise,
    }
}

fn words(goal: &Goal) -> String {
    let sign = if goal.metric.more_is_better() { '≥' } else { '≤' };
    let name = goal.metric.name();
    let bound = || three_digits(goal.bound);
    match goal.against {
        Against::Best => format!("{name} {sign} {} of the best peer", bound()),
        Against::BestEpoll => format!("{name} {sign} {} of the best epoll peer", bound()),
        Against::Floor => format!("{name} {sign} {} of the floor", bound()),
        Against::Nothing => format!("{name} {sign} {}", goal.metric.write(goal.bound)),
        Against::OwnMost => format!("least {name} ≥ {} of the most", bound()),
    }
}

/// Holds two rows against each other. They ran one after the other, so the interval is as wide as their ranges allow.
pub(crate) fn judge_growth(growth: &Growth, of: Option<Spread>, over: Option<Spread>) -> Judged {
    let goal = format!("{} ≤ {}", growth.about, three_digits(growth.bound));
    let measured = of.zip(over).filter(|(_, over)| over.low > 0.0).map(|(of, over)| Spread {
        median: of.median / over.median,
        low: of.low / over.high,
        high: of.high / over.low,
    });
    let verdict = measured.map_or(Verdict::Unknown, |spread| verdict(&spread, growth.bound, false));
    Judged { goal, measured: measured.map(|spread| (spread, None)), verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::record_of;
    use crate::bench::rows::{GROWTHS, RINGWIRE};

    fn told(metric: Metric, against: Against, bound: f64, ours: &[f64]) -> Judged {
        let others = [1.0; 5];
        let servers = [
            (RINGWIRE, Role::Ringwire, ours),
            ("slow", Role::Peer, &[2.0; 5]),
            ("quick", Role::Peer, &others),
            ("quicker", Role::RingPeer, &[0.5; 5]),
            ("ring-floor", Role::Floor, &[0.8; 5]),
        ];
        judge_one(&Goal { metric, against, bound }, &record_of("storm", &servers), RINGWIRE)
    }

    #[test]
    fn a_goal_is_met_or_not_only_if_the_whole_interval_says_so() {
        let verdict = |ours: &[f64]| told(Metric::Cpu, Against::BestEpoll, 0.9, ours).verdict;
        assert_eq!(verdict(&[0.7, 0.8, 0.9, 0.8, 0.75]), Verdict::Met);
        assert_eq!(verdict(&[0.91, 1.0, 1.1, 1.0, 1.2]), Verdict::NotMet);
        assert_eq!(verdict(&[0.7, 0.8, 0.91, 0.8, 0.75]), Verdict::Noise);
    }

    #[test]
    fn a_goal_is_held_against_whom_it_names() {
        let of = |against| told(Metric::Cpu, against, 1.0, &[0.4; 5]).tell();
        assert_eq!(of(Against::Best), "CPU ≤ 1.00 of the best peer: met, 0.80 of quicker");
        assert_eq!(of(Against::BestEpoll), "CPU ≤ 1.00 of the best epoll peer: met, 0.40 of quick");
        assert_eq!(of(Against::Floor), "CPU ≤ 1.00 of the floor: met, 0.50 of ring-floor");
        assert_eq!(told(Metric::Cpu, Against::Nothing, 0.3, &[0.4; 5]).tell(), "CPU ≤ 300 ns: **not met**, 0.40");
        let steady = told(Metric::Rate, Against::OwnMost, 0.8, &[1.0, 1.0, 2.0]);
        assert_eq!(steady.tell(), "least rate ≥ 0.80 of the most: **not met**, 0.50");
    }

    #[test]
    fn of_a_rate_more_is_better() {
        // Twice the CPU per message is half the rate here.
        assert_eq!(told(Metric::Rate, Against::BestEpoll, 1.3, &[0.5; 5]).verdict, Verdict::Met);
        assert_eq!(told(Metric::Rate, Against::BestEpoll, 1.3, &[0.9; 5]).verdict, Verdict::NotMet);
        assert_eq!(told(Metric::Rate, Against::BestEpoll, 1.3, &[0.7, 0.7, 0.8, 0.8, 0.8]).verdict, Verdict::Noise);
    }

    #[test]
    fn a_rate_that_the_generator_limited_shows_no_failure() {
        let goal = Goal { metric: Metric::Rate, against: Against::Best, bound: 1.3 };
        let mut record = record_of("storm", &[(RINGWIRE, Role::Ringwire, &[1.0; 5]), ("p", Role::Peer, &[1.0; 5])]);
        assert_eq!(judge_one(&goal, &record, RINGWIRE).verdict, Verdict::NotMet);
        record.servers[0].generator_bound = 1;
        assert_eq!(judge_one(&goal, &record, RINGWIRE).verdict, Verdict::AtLeast);
        record.servers[1] = record_of("storm", &[("p", Role::Peer, &[2.0; 5])]).servers.remove(0);
        assert_eq!(judge_one(&goal, &record, RINGWIRE).verdict, Verdict::Met);
    }

    #[test]
    fn without_an_opponent_there_is_no_verdict() {
        let goal = Goal { metric: Metric::Cpu, against: Against::Floor, bound: 1.0 };
        let record = record_of("storm", &[(RINGWIRE, Role::Ringwire, &[1.0]), ("p", Role::Peer, &[1.0])]);
        assert_eq!(judge_one(&goal, &record, RINGWIRE).verdict, Verdict::Unknown);
        assert_eq!(judge_one(&goal, &record, "nobody").verdict, Verdict::Unknown);
    }

    #[test]
    fn a_growth_is_as_uncertain_as_both_rows() {
        let spread = |median, low, high| Some(Spread { median, low, high });
        let verdict = |of, over| judge_growth(&GROWTHS[0], of, over).verdict;
        assert_eq!(verdict(spread(6.0, 5.0, 6.5), spread(6.0, 5.5, 6.5)), Verdict::Met);
        assert_eq!(verdict(spread(6.0, 5.0, 9.0), spread(6.0, 5.5, 6.5)), Verdict::Noise);
        assert_eq!(verdict(spread(6.0, 5.0, 6.5), None), Verdict::Unknown);
        let judged = judge_growth(&GROWTHS[0], spread(6.0, 5.0, 8.0), spread(4.0, 2.0, 5.0));
        assert_eq!(judged.measured, Some((Spread { median: 1.5, low: 1.0, high: 4.0 }, None)));
    }
}
