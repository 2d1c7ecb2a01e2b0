//! The rules by which a result does not count, or is in doubt.
//!
//! A run is *void* if it says nothing about the server: the generator or the machine set the pace. What is in *doubt*
//! is a result, but one to be read with care. Both are words for the user.

use super::accounts::Accounts;
use super::cost::Cost;
use super::histogram::Histogram;

/// Share of a core from which a thread counts as busy all the time.
pub const SATURATED: f64 = 0.95;
/// Greatest share of the sends of an open loop that may leave late.
pub const LATE_SHARE_MAX: f64 = 0.01;
/// How late that is, in nanoseconds: 1 ms after it was due.
pub const LATE_NANOS: u64 = 1_000_000;
/// Greatest share of a core's time that a hypervisor may take.
pub const STEAL_SHARE_MAX: f64 = 0.05;
/// Greatest share of one core that other processes may take before they are said to disturb.
pub const OTHERS_SHARE_MAX: f64 = 0.10;
/// Greatest share of the time in which a thread of the generator may wait while others have its core.
pub const WAITED_SHARE_MAX: f64 = 0.05;

/// What decides when a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// The answer to one before it: the server sets the pace, or else the generator.
    Closed,
    /// The clock.
    Open,
    /// Nothing is sent to be timed.
    Silent,
}

/// Why a run is void, in words; empty if it is not. `lateness` is how long after it was due each message was handed to
/// the kernel.
pub fn voids(cost: &Cost, lateness: &Histogram, kind: Loop) -> Vec<String> {
    let mut voids = Vec::new();
    if kind == Loop::Closed && generator_was_bottleneck(cost) {
        let own = percent(cost.share(cost.own_busiest));
        let server = match cost.server {
            Some(server) => format!("the server's busiest only {}", percent(cost.share(server.busiest))),
            None => "how busy the server was is not known (--server-pid)".to_owned(),
        };
        voids.push(format!(
            "the generator was the bottleneck: a thread of it was busy {own} of the time, {server}; give it more cores \
             (--threads or --core)"
        ));
    }
    let late = lateness.share_above(LATE_NANOS);
    if kind == Loop::Open && late > LATE_SHARE_MAX {
        voids.push(format!(
            "the generator was late: {} of the messages left more than 1 ms after they were due (worst {:.1} ms); lower \
             the rate or give it more cores (--threads or --core)",
            percent(late),
            lateness.max() as f64 / 1e6
        ));
    }
    let steal = cost.steal_share();
    if steal > STEAL_SHARE_MAX {
        voids.push(format!(
            "the machine was not all there: its hypervisor took {} of a core's time (steal); measure when it is quiet",
            percent(steal)
        ));
    }
    voids
}

/// What makes a result doubtful, in words.
pub fn doubts(cost: &Cost, accounts: &Accounts) -> Vec<String> {
    let mut doubts = Vec::new();
    if !accounts.are_clean() {
        doubts.push("not every message arrived once, unchanged and in order".to_owned());
    }
    doubts.extend(disturbances(cost));
    doubts
}

/// What others did to a run, in words.
pub fn disturbances(cost: &Cost) -> Vec<String> {
    let mut disturbances = Vec::new();
    if cost.was_kept_waiting() {
        disturbances.push(format!(
            "a thread of the generator waited {} of the time while other programs, or the server, had its core: what \
             came then was seen late; give it a core of its own (--core)",
            percent(cost.share(cost.own_waited))
        ));
    }
    if cost.was_disturbed() {
        disturbances.push(format!("other processes took {} of a core meanwhile", percent(cost.share(cost.others_cpu))));
    }
    disturbances
}

/// Whether the generator set the pace: a thread of it was busy throughout and the server was not, or nothing is known
/// of the server.
pub fn generator_was_bottleneck(cost: &Cost) -> bool {
    cost.share(cost.own_busiest) >= SATURATED && !server_was_saturated(cost)
}

/// Whether the server could do no more: one of its threads was busy throughout, or all cores that it may run on were
/// busy with it. False if nothing is known of it.
pub fn server_was_saturated(cost: &Cost) -> bool {
    cost.server.is_some_and(|server| {
        let cores = server.cores_allowed.unwrap_or(usize::MAX) as f64;
        cost.share(server.busiest) >= SATURATED || cost.share(server.cpu) >= SATURATED * cores
    })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{CoreShare, ServerCost};
    use std::time::Duration;

    /// Of a second: the server's and the generator's busiest thread.
    fn cost(server_ms: Option<u64>, own_ms: u64) -> Cost {
        let busy = Duration::from_millis;
        let server = |ms| ServerCost { cpu: busy(ms), busiest: busy(ms), cores_allowed: Some(2), ..Default::default() };
        Cost {
            elapsed: Duration::from_secs(1),
            server: server_ms.map(server),
            own_cpu: busy(own_ms),
            own_busiest: busy(own_ms),
            ..Cost::default()
        }
    }

    fn words(cost: &Cost, late_us: &[u64], kind: Loop) -> String {
        let mut lateness = Histogram::default();
        late_us.iter().for_each(|us| lateness.record(us * 1000));
        voids(cost, &lateness, kind).join("; ")
    }

    #[test]
    fn a_closed_loop_is_void_if_the_generator_was_busy_and_the_server_was_not() {
        for (server, own, void) in
            [(Some(500), 950, true), (None, 950, true), (Some(950), 990, false), (Some(500), 940, false)]
        {
            assert_eq!(words(&cost(server, own), &[], Loop::Closed).contains("bottleneck"), void, "{server:?} {own}");
        }
        assert_eq!(words(&cost(Some(500), 990), &[], Loop::Open), "");
    }

    #[test]
    fn a_generator_of_several_threads_is_busy_if_one_of_them_is() {
        let mut shared = cost(Some(500), 600);
        shared.own_cpu = Duration::from_millis(1200);
        assert!(!generator_was_bottleneck(&shared));
        shared.own_busiest = Duration::from_millis(990);
        assert!(generator_was_bottleneck(&shared));
    }

    #[test]
    fn a_server_is_saturated_by_one_busy_thread_or_by_all_its_cores() {
        let with = |cpu, busiest, cores_allowed| {
            let (cpu, busiest) = (Duration::from_millis(cpu), Duration::from_millis(busiest));
            let server = ServerCost { cpu, busiest, cores_allowed, ..ServerCost::default() };
            server_was_saturated(&Cost { server: Some(server), ..cost(None, 0) })
        };
        assert!(with(960, 960, Some(4)), "one thread");
        assert!(with(960, 480, Some(1)), "two threads on one core");
        assert!(!with(1600, 100, Some(16)), "many idle threads");
        assert!(!with(1600, 800, None));
    }

    #[test]
    fn an_open_loop_is_void_if_more_than_one_in_a_hundred_left_more_than_a_millisecond_late() {
        let late = |count| -> Vec<u64> { (0..1000).map(|index| if index < count { 1_100 } else { 900 }).collect() };
        assert_eq!(words(&cost(None, 0), &late(10), Loop::Open), "");
        let void = words(&cost(None, 0), &late(11), Loop::Open);
        assert!(void.contains("1.1 % of the messages") && void.contains("worst 1.1 ms"), "{void}");
        assert_eq!(words(&cost(None, 0), &late(11), Loop::Closed), "");
    }

    #[test]
    fn every_run_is_void_if_a_hypervisor_took_more_than_a_twentieth_of_a_core() {
        let stolen = |stolen| Cost {
            cores: vec![CoreShare::default(), CoreShare { core: 1, busy: 0.5, stolen }],
            ..cost(None, 0)
        };
        for kind in [Loop::Closed, Loop::Open, Loop::Silent] {
            assert_eq!(words(&stolen(0.05), &[], kind), "");
            assert!(words(&stolen(0.06), &[], kind).contains("6.0 % of a core's time"), "{kind:?}");
        }
    }

    #[test]
    fn faults_in_the_accounts_and_the_work_of_others_are_doubts() {
        let clean = Accounts { expected: 1, arrived: 1, ..Accounts::default() };
        let quiet = cost(Some(500), 500);
        assert!(doubts(&quiet, &clean).is_empty());
        let disturbed = Cost { others_cpu: Duration::from_millis(250), ..quiet.clone() };
        assert_eq!(doubts(&disturbed, &clean), ["other processes took 25.0 % of a core meanwhile"]);
        let waited = |ms| Cost { own_waited: Duration::from_millis(ms), ..cost(None, 500) };
        assert!(doubts(&waited(50), &clean).is_empty());
        let [doubt] = &doubts(&waited(60), &clean)[..] else { panic!("one doubt") };
        assert!(doubt.contains("waited 6.0 % of the time"), "{doubt}");
        assert_eq!(doubts(&quiet, &Accounts { lost: 1, ..clean }).len(), 1);
    }
}
