//! Scripts that several workloads share: what happens at even intervals, and several scripts as one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::pubsub::{Action, Script, What};

/// Messages of several flows, each `rate` times a second, and each flow at its own part of the interval, which is given
/// with it from 0 to 1. So they are spread over time, and do not drift however long it goes on.
pub(super) fn beats(mut flows: Vec<(f64, usize)>, rate: f64, bytes: usize) -> Script {
    if flows.is_empty() {
        return Box::new(std::iter::empty());
    }
    flows.sort_by(|one, other| one.0.total_cmp(&other.0));
    Box::new((0u64..).map(move |nth| {
        let (round, place) = (nth / flows.len() as u64, (nth % flows.len() as u64) as usize);
        let (phase, flow) = flows[place];
        Action { at: Duration::from_secs_f64((round as f64 + phase) / rate), what: What::Publish { flow, bytes } }
    }))
}

/// Several sequences of actions as one, in the order of time.
pub(super) fn merge(mut scripts: Vec<Script>) -> Script {
    // The next action of each, and when the earliest of them is due.
    let mut next: Vec<Option<Action>> = scripts.iter_mut().map(Iterator::next).collect();
    let due = next.iter().enumerate().filter_map(|(script, action)| Some(Reverse((action.as_ref()?.at, script))));
    let mut due: BinaryHeap<Reverse<(Duration, usize)>> = due.collect();
    Box::new(std::iter::from_fn(move || {
        let Reverse((_, script)) = due.pop()?;
        let action = std::mem::replace(&mut next[script], scripts[script].next());
        if let Some(following) = &next[script] {
            due.push(Reverse((following.at, script)));
        }
        action
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(action: &Action) -> usize {
        let What::Publish { flow, .. } = action.what else { panic!("only publishes: {action:?}") };
        flow
    }

    #[test]
    fn each_flow_has_its_place_in_every_interval() {
        let script = beats(vec![(0.75, 1), (0.25, 2)], 10.0, 9);
        let found: Vec<_> = script.take(4).map(|action| (action.at.as_millis(), flow(&action))).collect();
        assert_eq!(found, [(25, 2), (75, 1), (125, 2), (175, 1)]);
        assert_eq!(beats(Vec::new(), 1.0, 9).next(), None);
    }

    #[test]
    fn intervals_do_not_drift_in_an_hour() {
        let hour = 3600 * 60;
        let at = |nth: u64| beats(vec![(0.5, 0)], 60.0, 9).nth(nth as usize).map(|action| action.at);
        let (one, other) = (at(hour).unwrap(), at(hour + 1).unwrap());
        assert!((other - one).as_nanos().abs_diff(16_666_667) <= 2, "{:?}", other - one);
    }

    #[test]
    fn scripts_become_one_in_the_order_of_time_and_end_with_the_last() {
        let finite = |flow: usize, count: usize, rate: f64| -> Script {
            Box::new(beats(vec![(0.0, flow)], rate, 9).take(count))
        };
        let script = merge(vec![finite(0, 2, 10.0), Box::new(std::iter::empty()), finite(1, 4, 25.0)]);
        let found: Vec<_> = script.map(|action| (action.at.as_millis(), flow(&action))).collect();
        assert_eq!(found, [(0, 0), (0, 1), (40, 1), (80, 1), (100, 0), (120, 1)]);
    }
}
