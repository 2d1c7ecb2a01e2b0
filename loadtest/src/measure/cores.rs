//! How busy each core was, and what a hypervisor took of it, from `/proc/stat` (proc(5)).

use std::fs;
use std::io;
use std::time::Duration;

use super::usage::TICK;

/// Ticks of each core since the machine started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores {
    /// By the core's number, in order.
    cores: Vec<(usize, Ticks)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    stolen: u64,
    all: u64,
}

/// What became of a core's time, in shares of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CoreShare {
    /// The core's number.
    pub core: usize,
    /// It ran something.
    pub busy: f64,
    /// It had something to run, but the hypervisor ran something else.
    pub stolen: f64,
}

impl Cores {
    /// Reads them.
    ///
    /// # Errors
    /// If there is no such file, or it has another form.
    pub fn read() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?).ok_or_else(|| io::Error::other("/proc/stat has another form"))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().take_while(|line| line.starts_with("cpu")).skip(1);
        let cores = lines.map(core).collect::<Option<Vec<_>>>()?;
        (!cores.is_empty()).then_some(Self { cores })
    }

    /// CPU time that all cores together were busy. To 10 ms.
    pub fn busy(&self) -> Duration {
        TICK * u32::try_from(self.cores.iter().map(|(_, ticks)| ticks.busy).sum::<u64>()).unwrap_or(u32::MAX)
    }

    /// What became of each core's time since an earlier reading. A core that has come or gone meanwhile is left out,
    /// and all are within the first tick.
    pub fn since(&self, earlier: &Cores) -> Vec<CoreShare> {
        let share = |&(core, now): &(usize, Ticks)| {
            let (_, then) = earlier.cores.iter().find(|then| then.0 == core)?;
            let all = now.all.checked_sub(then.all).filter(|&all| all > 0)? as f64;
            let of = |now: u64, then: u64| now.saturating_sub(then) as f64 / all;
            Some(CoreShare { core, busy: of(now.busy, then.busy), stolen: of(now.stolen, then.stolen) })
        };
        self.cores.iter().filter_map(share).collect()
    }
}

/// A line as `cpu0 USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL GUEST GUEST_NICE`; a guest's time is in the user's.
fn core(line: &str) -> Option<(usize, Ticks)> {
    let mut fields = line.strip_prefix("cpu")?.split_whitespace();
    let core = fields.next()?.parse().ok()?;
    let fields: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let sum = |places: &[usize]| places.iter().filter_map(|&place| fields.get(place)).sum::<u64>();
    Some((core, Ticks { busy: sum(&[0, 1, 2, 5, 6]), stolen: sum(&[7]), all: sum(&[0, 1, 2, 3, 4, 5, 6, 7]) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(lines: &str) -> Cores {
        Cores::parse(&format!("cpu  9 9 9 9\n{lines}intr 1 2 3\n")).unwrap()
    }

    #[test]
    fn shares_are_those_of_the_time_between_two_readings() {
        let earlier = cores("cpu0 100 10 50 1000 7 2 3 4 60 0\ncpu2 0 0 0 0\n");
        let later = cores("cpu0 130 10 60 1050 7 2 3 14 90 0\ncpu2 0 0 0 100\n");
        let shares = later.since(&earlier);
        assert_eq!(shares[0], CoreShare { core: 0, busy: 0.4, stolen: 0.1 });
        assert_eq!(shares[1], CoreShare { core: 2, busy: 0.0, stolen: 0.0 });
        assert_eq!(later.busy() - earlier.busy(), TICK * 40);
    }

    #[test]
    fn a_core_that_has_come_meanwhile_and_no_time_at_all_are_left_out() {
        let earlier = cores("cpu0 1 1 1 1\n");
        assert_eq!(cores("cpu0 1 1 1 1\ncpu1 5 5 5 5\n").since(&earlier), []);
    }

    #[test]
    fn another_form_is_not_read() {
        assert_eq!(Cores::parse("cpu  1 2 3\n"), None);
        assert_eq!(Cores::parse("cpu  1 2 3\ncpu0 1 x 3\n"), None);
    }

    #[test]
    fn this_machine_has_cores() {
        let cores = Cores::read().unwrap();
        assert!(!cores.cores.is_empty() && cores.busy() > Duration::ZERO);
    }
}
