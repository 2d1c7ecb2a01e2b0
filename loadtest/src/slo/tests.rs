//! What objectives mean, and what is said of faulty ones.

use super::*;

use proptest::prelude::*;

/// 1 to 1000 us, 1 to 1000 ms, and spreads of 10 ns.
fn histograms() -> [Histogram; 3] {
    let of = |values: &mut dyn Iterator<Item = u64>| {
        let mut histogram = Histogram::default();
        values.for_each(|value| histogram.record(value));
        histogram
    };
    [of(&mut (1..=1000).map(|us| us * 1000)), of(&mut (1..=1000).map(|ms| ms * 1_000_000)), of(&mut (0..5).map(|_| 10))]
}

fn is_met(text: &str) -> bool {
    let [book, trade, spread] = histograms();
    let measured = Measured {
        series: vec![("book", &book), ("trade", &trade)],
        spread: Some(&spread),
        loss_share: 0.001,
        rate: 5000.0,
    };
    let slo = Slo::parse(text).unwrap();
    slo.check(&["book", "trade"], true).unwrap();
    slo.judge(&measured).is_met
}

#[test]
fn each_figure_is_compared_with_its_bound() {
    for (met, missed) in [
        ("p50<502us", "p50<500us"),
        ("p99.9<1ms", "p99.9>1ms"),
        ("max<=1000us", "max<1ms"),
        ("mean > 500us", "mean < 500_000 ns"),
        ("book.p50<1ms", "trade.p50<1ms"),
        ("trade.max>=1s", "trade.max>1s"),
        ("spread.p99<=10ns", "spread.p99<10ns"),
        ("loss<=0.1%", "loss<0.1%"),
        ("rate>=5_000/s", "rate>5000/s"),
    ] {
        assert!(is_met(met), "{met}");
        assert!(!is_met(missed), "{missed}");
    }
}

#[test]
fn what_was_not_measured_meets_no_objective() {
    for text in ["p50<1s", "p50>=0s", "book.max<1s", "spread.mean<1s"] {
        let verdict = Slo::parse(text).unwrap().judge(&Measured::default());
        assert_eq!((verdict.is_met, verdict.measured.as_str()), (false, "nothing"), "{text}");
        let empty = Histogram::default();
        let measured = Measured { series: vec![("book", &empty)], spread: Some(&empty), ..Measured::default() };
        assert!(!Slo::parse(text).unwrap().judge(&measured).is_met, "{text}");
    }
}

#[test]
fn a_series_or_spread_that_is_not_there_is_named_beforehand() {
    let check = |text: &str, series: &[&str]| Slo::parse(text).unwrap().check(series, false);
    let fault = check("order.p99<1ms", &["book", "trade"]).unwrap_err();
    assert!(fault.contains("no series `order`") && fault.contains("book, trade"), "{fault}");
    assert!(check("spread.p99<1ms", &["book"]).unwrap_err().contains("no spread"));
    assert!(check("p99<1ms", &[]).unwrap_err().contains("no latency"));
    assert_eq!(check("loss<1%", &[]), Ok(()));
    assert_eq!(check("p99<1ms", &["book"]), Ok(()));
}

#[test]
fn a_verdict_says_objective_and_measurement() {
    let [book, ..] = histograms();
    let measured = Measured { series: vec![("book", &book)], loss_share: 0.000_001, ..Measured::default() };
    let says = |text: &str| Slo::parse(text).unwrap().judge(&measured).to_string();
    assert_eq!(says(" p50<2ms "), "met: p50<2ms (measured: 500 us)");
    assert_eq!(says("loss<=0%"), "MISSED: loss<=0% (measured: 1.0e-4 %)");
    let json = Slo::parse("p50<2ms").unwrap().judge(&measured).to_json().to_string();
    assert!(json.contains("\"is_met\": true") && json.contains("\"measured\": \"500 us\""), "{json}");
}

#[test]
fn faults_say_what_is_wrong() {
    for (text, words) in [
        ("", "a comparison is missing"),
        ("p99", "a comparison is missing"),
        ("p99=2ms", "only <, <=, > and >="),
        ("p99==2ms", "only <, <=, > and >="),
        ("p99<<2ms", "only <, <=, > and >="),
        ("<2ms", "what is compared?"),
        ("p99<2", "the unit is missing: a time needs ns, us, ms or s"),
        ("p99<2%", "the unit `%` does not fit: a time"),
        ("p99<2minutes", "the unit `minutes` does not fit"),
        ("loss<2ms", "a loss needs %"),
        ("loss<0", "the unit is missing: a loss needs %"),
        ("rate>5", "a rate needs /s"),
        ("p99<ms", "not a number"),
        ("p99<-2ms", "not a number of 0 or more"),
        ("p99<1.2.3ms", "`1.2.3` is not a number"),
        ("p101<2ms", "p0 to p100"),
        ("p9x<2ms", "p0 to p100"),
        ("p99.9.9<2ms", "p0 to p100"),
        ("median<2ms", "`median` is no figure"),
        ("book.median<2ms", "`median` is no figure"),
        (".p99<2ms", "no figure"),
        ("book.loss<2%", "leave out `book.`"),
        ("spread<2ms", "`spread` is no figure"),
    ] {
        let fault = Slo::parse(text).unwrap_err();
        assert!(fault.contains(words), "{text}: {fault}");
        assert!(fault.starts_with(&format!("the objective `{text}`: ")), "{fault}");
    }
}

/// A figure that is compared, the unit of its bound, and how much that is of what it is kept in.
fn compared() -> impl Strategy<Value = (String, &'static str, f64)> {
    let point = prop_oneof![
        (0_u32..=1_000_000).prop_map(|percent| format!("p{}", f64::from(percent) / 1e4)),
        Just("max".to_owned()),
        Just("mean".to_owned()),
    ];
    let of = prop_oneof![Just(String::new()), Just("spread.".to_owned()), "[a-z][a-z-]{0,8}\\."];
    let time = prop_oneof![Just(("ns", 1.0)), Just(("us", 1e3)), Just(("ms", 1e6)), Just(("s", 1e9))];
    let latency = (of, point, time).prop_map(|(of, point, (unit, scale))| (of + &point, unit, scale));
    prop_oneof![4 => latency, 1 => Just(("loss".to_owned(), "%", 0.01)), 1 => Just(("rate".to_owned(), "/s", 1.0))]
}

proptest! {
    #[test]
    fn whatever_the_grammar_allows_is_read_as_it_is_meant(
        (left, unit, scale) in compared(),
        sign in prop_oneof![Just("<"), Just("<="), Just(">"), Just(">=")],
        number in 0_u32..1_000_000_000,
        blank in "[ ]{0,2}",
    ) {
        let number = f64::from(number) / 1e3;
        let slo = Slo::parse(&format!("{blank}{left}{blank}{sign}{blank}{number}{blank}{unit}")).unwrap();
        prop_assert_eq!(slo.bound, number * scale);
        let holds = [number - 1.0, number, number + 1.0].map(|value| slo.comparison.holds(value, number));
        let want = match sign {
            "<" => [true, false, false],
            "<=" => [true, true, false],
            ">" => [false, false, true],
            _ => [false, true, true],
        };
        prop_assert_eq!(holds, want);
        prop_assert_eq!(Slo::parse(&slo.to_string()), Ok(slo));
    }

    #[test]
    fn no_text_breaks_the_reader(text in "[ -~µ]{0,20}|(book|p|p99|max|spread)?[.<>=]{0,3}[0-9_.]{0,4}(ns|µs|%|/s)?") {
        if let Err(fault) = Slo::parse(&text) {
            prop_assert!(fault.contains(&text), "{}", fault);
        }
    }
}
