//! The search for the highest rate that meets an objective.
//!
//! By bisection on a logarithmic scale: from the rate that it begins with it doubles until the objective is missed (or
//! halves until it is met), then tries the geometric mean of the highest rate that was met and the lowest that was not,
//! until they are within [`RESOLUTION`] of each other, or nothing can be tried between them: some workloads know only
//! some rates, as those that are made of whole rooms. A single run may be lucky or disturbed, so a rate is tried until
//! two runs of at most three agree. A void run, in which the generator was the bottleneck, bounds the search as a miss
//! does, but then the result is a bound of the generator and is reported as one.
//!
//! What is searched is a function from a rate to a [`Trial`]; nothing here runs a load or reads a clock.

use crate::json::Json;

/// How near the rates that bracket the result are to each other, as a factor.
pub const RESOLUTION: f64 = 1.05;
/// Runs of which two must agree.
pub const REPEATS: usize = 3;
/// The least rate that is tried, as a share of the one that the search begins with.
pub const LEAST_SHARE: f64 = 1.0 / 1024.0;
/// The greatest rate that is tried, in multiples of the one that the search begins with.
pub const GREATEST_SHARE: f64 = 1024.0 * 1024.0;

/// What a run at a rate came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The objective was met; what was measured, in words.
    Met(String),
    /// It was missed, or messages were lost.
    Missed(String),
    /// The run was void: why.
    Void(String),
}

/// A run of the search.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// At which rate, in a second.
    pub rate: f64,
    /// What it came to.
    pub trial: Trial,
}

/// What the search came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The highest rate that was met, and the lowest that the server missed.
    Sustained {
        /// Met.
        rate: f64,
        /// Missed.
        missed_at: f64,
    },
    /// The generator was the bottleneck before the server was: the server sustains at least the rate.
    GeneratorFirst {
        /// The highest rate that was met; none if already the least was void.
        rate: Option<f64>,
        /// The lowest rate whose runs were void.
        void_at: f64,
        /// Why they were.
        why: String,
    },
    /// Not even the least rate was met.
    NotSustainable {
        /// The least rate tried.
        least: f64,
        /// What was missed.
        why: String,
    },
    /// The greatest rate was met.
    Unbounded {
        /// That rate.
        rate: f64,
    },
}

/// A finished search.
#[derive(Clone, Debug)]
pub struct Search {
    /// What it came to.
    pub found: Found,
    /// Every run, in order.
    pub steps: Vec<Step>,
}

/// The kind of a trial, of which two must agree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Met,
    Missed,
    Void,
}

impl Trial {
    const fn outcome(&self) -> Outcome {
        match self {
            Self::Met(_) => Outcome::Met,
            Self::Missed(_) => Outcome::Missed,
            Self::Void(_) => Outcome::Void,
        }
    }

    /// What was measured, in words.
    pub fn words(&self) -> &str {
        match self {
            Self::Met(words) | Self::Missed(words) | Self::Void(words) => words,
        }
    }
}

/// Searches from the rate `begin`. `real` says at which rate a load runs that is asked for one, `probe` runs it there,
/// and `progress` is told of each run.
///
/// # Errors
/// An error of the first `probe`. Once a load has run, one that cannot run was asked too much: its rate is missed.
///
/// # Panics
/// If `begin` is not above 0.
pub fn search(
    begin: f64,
    real: impl Fn(f64) -> f64,
    mut probe: impl FnMut(f64) -> Result<Trial, String>,
    mut progress: impl FnMut(&Step),
) -> Result<Search, String> {
    assert!(begin > 0.0, "a search begins at a rate above 0");
    let mut steps = Vec::new();
    let mut settle = |rate: f64| -> Result<Trial, String> {
        let from = steps.len();
        loop {
            let trial = match probe(rate) {
                Err(reason) if !steps.is_empty() => Trial::Missed(format!("could not run: {reason}")),
                trial => trial?,
            };
            let step = Step { rate, trial };
            progress(&step);
            let outcome = step.trial.outcome();
            let agrees = steps[from..].iter().any(|before: &Step| before.trial.outcome() == outcome);
            steps.push(step.clone());
            if agrees {
                return Ok(step.trial);
            }
            // All differ: nothing was met twice, so it is not sustained.
            if steps.len() - from == REPEATS {
                return Ok(worst(&steps[from..]));
            }
        }
    };
    let found = bracket(begin, &real, &mut settle)?;
    Ok(Search { found, steps })
}

/// Of trials that all differ: that it was missed, which is so if there are three kinds and three trials.
fn worst(steps: &[Step]) -> Trial {
    let missed = steps.iter().find(|step| step.trial.outcome() == Outcome::Missed);
    missed.or(steps.last()).map(|step| step.trial.clone()).expect("a rate was tried")
}

/// Finds a met rate and one above it that is not, then halves the factor between them.
fn bracket(
    begin: f64,
    real: &impl Fn(f64) -> f64,
    settle: &mut impl FnMut(f64) -> Result<Trial, String>,
) -> Result<Found, String> {
    let (mut met, mut bound) = (None, None);
    let mut rate = real(begin);
    loop {
        match settle(rate)? {
            Trial::Met(_) => met = Some(rate),
            other => bound = Some((rate, other)),
        }
        rate = match (met, &bound) {
            (Some(met), None) => match real(met * 2.0) {
                next if met * 2.0 > begin * GREATEST_SHARE || next <= met => return Ok(Found::Unbounded { rate: met }),
                next => next,
            },
            (None, Some((bound, trial))) => match real(bound / 2.0) {
                next if bound / 2.0 < begin * LEAST_SHARE || next >= *bound => return Ok(nothing_met(*bound, trial)),
                next => next,
            },
            (Some(met), Some((bound, trial))) => match real((met * bound).sqrt()) {
                next if bound / met > RESOLUTION && met < next && next < *bound => next,
                _ => return Ok(between(met, *bound, trial)),
            },
            (None, None) => unreachable!("a rate is met or bounds"),
        };
    }
}

fn nothing_met(least: f64, trial: &Trial) -> Found {
    let why = trial.words().to_owned();
    match trial.outcome() {
        Outcome::Void => Found::GeneratorFirst { rate: None, void_at: least, why },
        Outcome::Met | Outcome::Missed => Found::NotSustainable { least, why },
    }
}

fn between(met: f64, bound: f64, trial: &Trial) -> Found {
    match trial.outcome() {
        Outcome::Void => Found::GeneratorFirst { rate: Some(met), void_at: bound, why: trial.words().to_owned() },
        Outcome::Met | Outcome::Missed => Found::Sustained { rate: met, missed_at: bound },
    }
}

impl Found {
    /// The highest rate that was met.
    pub const fn rate(&self) -> Option<f64> {
        match self {
            Self::Sustained { rate, .. } | Self::Unbounded { rate } => Some(*rate),
            Self::GeneratorFirst { rate, .. } => *rate,
            Self::NotSustainable { .. } => None,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Sustained { .. } => "sustained",
            Self::GeneratorFirst { .. } => "generator first",
            Self::NotSustainable { .. } => "not sustainable",
            Self::Unbounded { .. } => "no bound found",
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Small rates lie less than 1 apart.
        let tell = |rate: &f64| if *rate < 1000.0 { format!("{rate:.2}") } else { format!("{rate:.0}") };
        match self {
            Self::Sustained { rate, missed_at } => {
                write!(f, "{} a second are sustained; {} are not", tell(rate), tell(missed_at))
            }
            Self::GeneratorFirst { rate: Some(rate), void_at, why } => write!(
                f,
                "VOID: at {} a second the generator was the bottleneck ({why}); the server sustains at least {} a second, \
                 and more cores for the generator may show more",
                tell(void_at),
                tell(rate)
            ),
            Self::GeneratorFirst { rate: None, void_at, why } => {
                write!(f, "VOID: already at {} a second the generator was the bottleneck ({why})", tell(void_at))
            }
            Self::NotSustainable { least, why } => {
                write!(f, "not sustainable: already {} a second miss it ({why})", tell(least))
            }
            Self::Unbounded { rate } => write!(f, "{} a second are sustained, and nothing above was tried", tell(rate)),
        }
    }
}

impl Step {
    /// In a line.
    pub fn to_text(&self) -> String {
        let word = match self.trial.outcome() {
            Outcome::Met => "met",
            Outcome::Missed => "missed",
            Outcome::Void => "VOID",
        };
        format!("{:>12.1} a second  {word:<6}  {}", self.rate, self.trial.words())
    }

    fn to_json(&self) -> Json {
        let outcome = match self.trial.outcome() {
            Outcome::Met => "met",
            Outcome::Missed => "missed",
            Outcome::Void => "void",
        };
        Json::object([("rate", self.rate.into()), ("outcome", outcome.into()), ("words", self.trial.words().into())])
    }
}

impl Search {
    /// As JSON.
    pub fn to_json(&self, objective: &str) -> Json {
        Json::object([
            ("objective", objective.into()),
            ("outcome", self.found.name().into()),
            ("rate", self.found.rate().into()),
            ("words", self.found.to_string().as_str().into()),
            ("resolution", RESOLUTION.into()),
            ("steps", self.steps.iter().map(Step::to_json).collect::<Vec<_>>().into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met() -> Trial {
        Trial::Met("p99 1 ms".to_owned())
    }

    fn missed() -> Trial {
        Trial::Missed("p99 9 ms".to_owned())
    }

    fn run(begin: f64, probe: impl FnMut(f64) -> Trial) -> Search {
        let mut probe = probe;
        search(begin, |rate| rate, |rate| Ok(probe(rate)), |_| ()).unwrap()
    }

    #[test]
    fn a_load_of_whole_rooms_is_tried_at_rates_that_it_has_and_none_twice() {
        let rooms = |rate: f64| (rate / 140.0).round().max(1.0) * 140.0;
        let tried = |limit: f64| {
            let probe = |rate: f64| Ok(if rate <= limit { met() } else { missed() });
            let search = search(100.0, rooms, probe, |_| ()).unwrap();
            (search.found, search.steps.iter().map(|step| step.rate / 140.0).collect::<Vec<_>>())
        };
        let (found, rates) = tried(420.0);
        assert_eq!(found, Found::Sustained { rate: 420.0, missed_at: 560.0 });
        assert_eq!(rates, [1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 3.0, 3.0]);
        let (found, rates) = tried(1.0);
        assert_eq!(found, Found::NotSustainable { least: 140.0, why: "p99 9 ms".to_owned() });
        assert_eq!(rates, [1.0, 1.0]);
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for limit in [130.0, 4321.0, 987_654.0] {
            for begin in [100.0, 10_000.0] {
                let search = run(begin, |rate| if rate <= limit { met() } else { missed() });
                let Found::Sustained { rate, missed_at } = search.found else { panic!("{:?}", search.found) };
                assert!(rate <= limit && limit < missed_at && missed_at / rate <= RESOLUTION, "{rate} to {missed_at}");
            }
        }
    }

    #[test]
    fn a_run_that_was_disturbed_does_not_move_the_result() {
        // One of seven runs fails for no reason of the server's, and one of seven beyond the limit is lucky.
        let mut count = 0;
        let search = run(1000.0, |rate| {
            count += 1;
            if (rate <= 50_000.0) == (count % 7 != 0) { met() } else { missed() }
        });
        let Found::Sustained { rate, missed_at } = search.found else { panic!("{:?}", search.found) };
        assert!(rate <= 50_000.0 && 50_000.0 < missed_at, "{rate} to {missed_at}");
    }

    #[test]
    fn two_of_at_most_three_runs_decide_a_rate() {
        let mut trials = [missed(), met(), met(), missed(), missed(), met(), met()].into_iter();
        let mut rates = Vec::new();
        let search = search(
            10.0,
            |rate| rate,
            |rate| {
                rates.push(rate);
                Ok(trials.next().unwrap_or_else(missed))
            },
            |_| (),
        );
        let middle = (10.0f64 * 20.0).sqrt();
        assert_eq!(rates[..8], [10.0, 10.0, 10.0, 20.0, 20.0, middle, middle, (middle * 20.0).sqrt()]);
        assert!(matches!(search.unwrap().found, Found::Sustained { rate, .. } if rate == middle));
    }

    #[test]
    fn a_run_that_cannot_run_misses_its_rate_but_the_first_is_an_error() {
        let probe = |rate: f64| if rate <= 50.0 { Ok(met()) } else { Err("refused".to_owned()) };
        let found = search(10.0, |rate| rate, probe, |_| ()).unwrap();
        assert!(matches!(found.found, Found::Sustained { rate, .. } if rate <= 50.0), "{:?}", found.found);
        assert!(found.steps.iter().any(|step| step.trial == Trial::Missed("could not run: refused".to_owned())));
        assert_eq!(search(100.0, |rate| rate, probe, |_| ()).unwrap_err(), "refused");
    }

    #[test]
    fn three_runs_that_all_differ_are_a_miss() {
        let mut trials = [met(), Trial::Void("busy".into()), missed()].into_iter().chain(std::iter::repeat_with(met));
        let search = run(10.0, |_| trials.next().unwrap());
        let Found::Sustained { missed_at, .. } = search.found else { panic!("{:?}", search.found) };
        assert_eq!(missed_at, 10.0);
    }

    #[test]
    fn a_generator_that_is_the_bottleneck_first_bounds_the_result_and_says_so() {
        let search = run(1000.0, |rate| if rate < 30_000.0 { met() } else { Trial::Void("99 % busy".into()) });
        let Found::GeneratorFirst { rate: Some(rate), void_at, .. } = search.found else {
            panic!("{:?}", search.found)
        };
        assert!(rate < 30_000.0 && 30_000.0 <= void_at && void_at / rate <= RESOLUTION);
        let words = search.found.to_string();
        assert!(words.contains("VOID") && words.contains("at least") && words.contains("99 % busy"), "{words}");
        let always = run(1000.0, |_| Trial::Void("busy".into()));
        assert!(matches!(always.found, Found::GeneratorFirst { rate: None, .. }));
    }

    #[test]
    fn a_server_that_never_meets_it_or_always_does_ends_the_search() {
        let never = run(1024.0, |_| missed());
        assert_eq!(never.found, Found::NotSustainable { least: 1.0, why: "p99 9 ms".to_owned() });
        assert_eq!(never.steps.len(), 2 * 11);
        assert!(never.found.to_string().contains("not sustainable"));
        let always = run(1.0, |_| met());
        assert_eq!(always.found, Found::Unbounded { rate: GREATEST_SHARE });
    }

    #[test]
    fn every_run_is_told_and_written() {
        let mut told = Vec::new();
        let search = search(
            10.0,
            |rate| rate,
            |rate| Ok(if rate < 15.0 { met() } else { missed() }),
            |step| told.push(step.clone()),
        );
        let search = search.unwrap();
        assert_eq!(told, search.steps);
        let json = search.to_json("p99<5ms").to_string();
        assert_eq!(
            json.matches("\"outcome\": \"missed\"").count(),
            told.iter().filter(|step| step.rate >= 15.0).count()
        );
        assert!(told[0].to_text().contains("10.0 a second  met     p99 1 ms"), "{}", told[0].to_text());
    }
}
