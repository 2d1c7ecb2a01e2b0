//! What became of every message of a run.

use super::track::Tally;
use crate::json::Json;

/// What became of every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Messages that were to arrive: echoes of what was sent, or deliveries to each subscriber.
    pub expected: u64,
    /// Those that arrived unchanged, each counted once, those out of order too.
    pub arrived: u64,
    /// Those that never came.
    pub lost: u64,
    /// Those that came again.
    pub repeated: u64,
    /// Those that came behind a later one.
    pub out_of_order: u64,
    /// Those that came with other bytes. They are not among those that arrived.
    pub corrupted: u64,
    /// Those that came to who does not hear their flow. They are not among those that arrived.
    pub misrouted: u64,
    /// Messages that hold no payload of this run: another client's, or what a server says of itself. No fault.
    pub unknown: u64,
    /// Connections that ended before the run did.
    pub ended: u64,
    /// Why the first of them ended.
    pub ended_reason: Option<String>,
}

impl Accounts {
    /// Counts a connection's end.
    pub fn count_end(&mut self, reason: &str) {
        self.ended += 1;
        self.ended_reason.get_or_insert_with(|| reason.to_owned());
    }

    /// Adds what became of numbered messages.
    pub fn add(&mut self, tally: &Tally) {
        self.arrived += tally.arrived;
        self.lost += tally.lost;
        self.repeated += tally.repeated;
        self.out_of_order += tally.out_of_order;
    }

    /// Adds those of another thread. The reason is that of whoever has one first.
    pub fn merge(&mut self, other: &Accounts) {
        self.expected += other.expected;
        self.arrived += other.arrived;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.corrupted += other.corrupted;
        self.misrouted += other.misrouted;
        self.unknown += other.unknown;
        self.ended += other.ended;
        if self.ended_reason.is_none() {
            self.ended_reason.clone_from(&other.ended_reason);
        }
    }

    /// Whether every message arrived once, unchanged, in order and where it was to, and no connection ended.
    pub fn are_clean(&self) -> bool {
        self.lost + self.repeated + self.out_of_order + self.corrupted + self.misrouted + self.ended == 0
            && self.arrived == self.expected
    }

    /// What is not as it should be, in words; empty if they are clean.
    pub fn faults(&self) -> String {
        let missing = self.expected.saturating_sub(self.arrived);
        let counts = [
            (missing, format!("of {} did not arrive", self.expected)),
            (self.lost, "lost".to_owned()),
            (self.repeated, "repeated".to_owned()),
            (self.out_of_order, "out of order".to_owned()),
            (self.corrupted, "corrupted".to_owned()),
            (self.misrouted, "came to who does not hear them".to_owned()),
            (self.ended, "connections ended".to_owned()),
        ];
        let faults = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let reason = self.ended_reason.as_ref().map_or(String::new(), |reason| format!(" (first: {reason})"));
        faults.collect::<Vec<_>>().join(", ") + &reason
    }

    /// The share of the expected messages that did not arrive as they were sent, from 0 to 1; 0 if none was expected.
    pub fn loss_share(&self) -> f64 {
        if self.expected == 0 {
            return 0.0;
        }
        self.expected.saturating_sub(self.arrived) as f64 / self.expected as f64
    }

    /// The accounts, for a report.
    pub fn to_json(&self) -> Json {
        Json::object([
            ("expected", self.expected.into()),
            ("arrived", self.arrived.into()),
            ("lost", self.lost.into()),
            ("repeated", self.repeated.into()),
            ("out_of_order", self.out_of_order.into()),
            ("corrupted", self.corrupted.into()),
            ("misrouted", self.misrouted.into()),
            ("unknown", self.unknown.into()),
            ("connections_ended", self.ended.into()),
            ("first_end", self.ended_reason.as_deref().into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> Accounts {
        Accounts { expected: 10, arrived: 10, unknown: 3, ..Accounts::default() }
    }

    #[test]
    fn faults_are_told_with_their_counts_and_only_they() {
        let mut accounts = Accounts { arrived: 8, lost: 2, repeated: 1, ..clean() };
        accounts.count_end("reset");
        assert_eq!(accounts.faults(), "2 of 10 did not arrive, 2 lost, 1 repeated, 1 connections ended (first: reset)");
        assert_eq!(clean().faults(), "");
    }

    #[test]
    fn accounts_are_clean_without_any_fault_only() {
        assert!(clean().are_clean());
        type Break = fn(&mut Accounts);
        let breaks: [Break; 7] = [
            |a| a.lost = 1,
            |a| a.repeated = 1,
            |a| a.out_of_order = 1,
            |a| a.corrupted = 1,
            |a| a.misrouted = 1,
            |a| a.arrived = 9,
            |a| a.count_end("reset"),
        ];
        for break_it in breaks {
            let mut accounts = clean();
            break_it(&mut accounts);
            assert!(!accounts.are_clean(), "{accounts:?}");
        }
    }

    #[test]
    fn merging_adds_every_count_and_keeps_the_first_reason() {
        let one = Accounts {
            expected: 1,
            arrived: 2,
            lost: 3,
            repeated: 4,
            out_of_order: 5,
            corrupted: 6,
            unknown: 7,
            misrouted: 9,
            ended: 8,
            ended_reason: Some("first".to_owned()),
        };
        let mut sum = Accounts::default();
        sum.merge(&one);
        assert_eq!(sum, one);
        sum.merge(&Accounts { ended_reason: Some("second".to_owned()), ..one.clone() });
        let counts = [sum.expected, sum.arrived, sum.lost, sum.repeated, sum.out_of_order, sum.corrupted, sum.unknown];
        assert_eq!((counts, sum.ended, sum.misrouted), ([2, 4, 6, 8, 10, 12, 14], 16, 18));
        assert_eq!(sum.ended_reason.as_deref(), Some("first"));
    }

    #[test]
    fn the_loss_is_what_did_not_arrive_of_what_was_expected() {
        assert_eq!(Accounts { expected: 200, arrived: 199, ..Accounts::default() }.loss_share(), 0.005);
        assert_eq!(Accounts::default().loss_share(), 0.0);
    }
}
