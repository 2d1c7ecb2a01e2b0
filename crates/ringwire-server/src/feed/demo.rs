//! The feed `demo`: a synthetic market that looks real and repeats exactly.
//!
//! [`DemoMarket`] is an endless iterator of events in the order of their time. A seed and a start time decide every
//! byte. Each instrument has a fair price (a random walk that shares its sector's shocks, whose volatility comes in
//! spells), a book quoted around that price, and market orders that excite further orders (as in a Hawkes process) and
//! eat the book level by level. Orders fill at the best price only, and each change of the best price or its size
//! is published as a quote before anything else happens there: so trades, quotes and book always agree.
//!
//! Prices and sizes are whole numbers of their last decimal; a price is a multiple of its tick. Floating point is
//! used for the randomness alone, and only operations that IEEE 754 defines to the last bit (`+ - * / sqrt`): the
//! library's `exp` or `ln` may differ between platforms and must never be used here. No clock, no input, no hasher.
//!
//! | topic | key | data |
//! |---|---|---|
//! | `trades.S` | none | `{"e":"trade","E":ms,"T":us,"s":S,"t":id,"p":price,"q":size,"m":buyer was resting}` |
//! | `quotes.S` | `S` | `{"e":"bookTicker","E":ms,"T":us,"s":S,"b":bid,"B":size,"a":ask,"A":size}` |
//! | `book.S` | `S` | `{"e":"depth","E":ms,"T":us,"s":S,"b":[[price,size]..],"a":[[price,size]..]}` |
//!
//! `E` and `T` are the same Unix time, in milliseconds and in microseconds. Each book message holds the best
//! [`DEPTH`] levels of both sides, so a subscriber may join at any message.

mod instrument;
mod random;
mod spec;

use std::collections::VecDeque;

use self::instrument::{Instrument, Tape};
use self::random::{Random, exp2};
use self::spec::{CRYPTO, EQUITY, SPECS};

/// Levels on each side of a book message.
pub const DEPTH: usize = 10;

/// One message of the demo market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoEvent {
    /// Microseconds since the feed's start; never decreases.
    pub at_us: u64,
    /// `trades.S`, `quotes.S` or `book.S`.
    pub topic: &'static str,
    /// What this message supersedes, for conflation: the symbol for quotes and books, nothing for trades.
    pub key: Option<&'static str>,
    /// One JSON object.
    pub data: Vec<u8>,
}

/// The market: an iterator that never ends.
#[derive(Debug)]
pub struct DemoMarket {
    start_ms: u64,
    random: Random,
    sectors: [Sector; 2],
    sectors_at_us: u64,
    instruments: Vec<Instrument>,
    ready: VecDeque<DemoEvent>,
}

impl DemoMarket {
    /// `start_ms` is the Unix time of the feed's start, in milliseconds; it is seen in `E` and `T` only.
    pub fn new(seed: u64, start_ms: u64) -> Self {
        let mut random = Random(seed);
        let instruments = SPECS.iter().map(|spec| Instrument::new(spec, &mut random)).collect();
        let sectors = [Sector::default(); 2];
        Self { start_ms, random, sectors, sectors_at_us: 0, instruments, ready: VecDeque::new() }
    }

    /// Every topic this feed publishes, instrument by instrument.
    pub fn topics() -> impl Iterator<Item = &'static str> {
        SPECS.iter().flat_map(|spec| [spec.trades, spec.quotes, spec.book])
    }

    /// Wakes the instrument that is due first.
    fn step(&mut self) {
        let due_us = |index: &usize| self.instruments[*index].due_us();
        let index = (0..self.instruments.len()).min_by_key(due_us).expect("a dozen");
        let at_us = due_us(&index);
        self.advance_sectors(at_us);
        let mut out = Tape { start_ms: self.start_ms, at_us, ready: &mut self.ready };
        self.instruments[index].wake(&self.sectors, &mut self.random, &mut out);
    }

    fn advance_sectors(&mut self, at_us: u64) {
        let seconds = (at_us - self.sectors_at_us) as f64 / 1e6;
        self.sectors_at_us = at_us;
        for sector in &mut self.sectors {
            sector.advance(seconds, &mut self.random);
        }
        let own = self.sectors.map(|sector| sector.own);
        self.sectors[CRYPTO].total = 0.9 * own[CRYPTO] + 0.4 * own[EQUITY];
        self.sectors[EQUITY].total = own[EQUITY];
    }
}

impl Iterator for DemoMarket {
    type Item = DemoEvent;

    fn next(&mut self) -> Option<DemoEvent> {
        while self.ready.is_empty() {
            self.step();
        }
        self.ready.pop_front()
    }
}

/// What the instruments of a sector share: a path of shocks, and how agitated it is (a power of two).
#[derive(Clone, Copy, Debug, Default)]
struct Sector {
    /// The sum of the sector's own shocks, in standard deviations of a second.
    own: f64,
    /// `own` with what the other sector adds.
    total: f64,
    mood: f64,
}

impl Sector {
    /// The mood reverts to calm within half a minute or so: volatility clusters.
    fn advance(&mut self, seconds: f64, random: &mut Random) {
        let share = (seconds / 30.0).min(1.0);
        self.mood += 0.7 * (2.0 * share).sqrt() * random.normal() - self.mood * share;
        self.own += seconds.sqrt() * exp2(self.mood) * random.normal();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use simd_json::OwnedValue;
    use simd_json::prelude::*;

    use super::*;

    const START_MS: u64 = 1_700_000_000_123;

    fn events(seed: u64, seconds: u64) -> impl Iterator<Item = DemoEvent> {
        DemoMarket::new(seed, START_MS).take_while(move |event| event.at_us < seconds * 1_000_000)
    }

    fn parse(event: &DemoEvent) -> OwnedValue {
        simd_json::to_owned_value(&mut event.data.clone()).expect("valid JSON")
    }

    fn text<'a>(json: &'a OwnedValue, field: &str) -> &'a str {
        json.get_str(field).unwrap_or_else(|| panic!("no text {field} in {json:?}"))
    }

    /// Price and size of the best level of a book's side.
    fn top(json: &OwnedValue, side: &str) -> (String, String) {
        let best = json.get_array(side).expect("a side")[0].as_array().expect("a level");
        (best[0].as_str().unwrap().to_owned(), best[1].as_str().unwrap().to_owned())
    }

    fn number(text: &str) -> f64 {
        text.parse().expect("a number")
    }

    #[test]
    fn same_seed_gives_the_same_bytes() {
        assert!(events(7, 20).eq(events(7, 20)));
        assert!(events(7, 1).ne(events(8, 1)));
    }

    /// Pins the stream across versions and platforms: who changes the market on purpose changes this number.
    #[test]
    fn seed_one_is_the_recorded_stream() {
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let bytes: Vec<u8> = events(1, 10).flat_map(|event| event.data).collect();
        assert_eq!(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv), 7632513672121604842);
    }

    #[test]
    fn time_never_goes_back_and_is_the_time_in_the_data() {
        let mut last_us = 0;
        for event in events(3, 30) {
            assert!(event.at_us >= last_us);
            last_us = event.at_us;
            let json = parse(&event);
            assert_eq!(json.get_u64("T"), Some(START_MS * 1000 + event.at_us));
            assert_eq!(json.get_u64("E"), Some(START_MS + event.at_us / 1000));
        }
    }

    #[test]
    fn all_topics_appear_and_only_they() {
        let mut seen: BTreeMap<&str, u32> = DemoMarket::topics().map(|topic| (topic, 0)).collect();
        assert_eq!(seen.len(), 36);
        for event in events(4, 30) {
            *seen.get_mut(event.topic).expect("a topic of the feed") += 1;
            let json = parse(&event);
            let (kind, symbol) = event.topic.split_once('.').unwrap();
            assert_eq!(text(&json, "s"), symbol);
            let (name, key) = match kind {
                "trades" => ("trade", None),
                "quotes" => ("bookTicker", Some(symbol)),
                _ => ("depth", Some(symbol)),
            };
            assert_eq!((text(&json, "e"), event.key), (name, key));
        }
        assert!(seen.values().all(|&count| count >= 30), "{seen:?}");
    }

    /// What a subscriber of all three topics sees of one symbol.
    #[test]
    fn trades_and_books_agree_with_the_quote_before_them() {
        let mut quotes = BTreeMap::new();
        for event in events(5, 120) {
            let json = parse(&event);
            let symbol = event.topic.split_once('.').unwrap().1;
            match text(&json, "e") {
                "bookTicker" => {
                    quotes.insert(symbol, json);
                }
                "trade" => {
                    let side = if json.get_bool("m").unwrap() { "b" } else { "a" };
                    let quote = &quotes[symbol];
                    assert_eq!(text(&json, "p"), text(quote, side));
                    let resting = text(quote, &side.to_uppercase());
                    assert!(number(text(&json, "q")) <= number(resting));
                }
                _ => {
                    let quote = &quotes[symbol];
                    let level = |price, size| (text(quote, price).to_owned(), text(quote, size).to_owned());
                    assert_eq!(top(&json, "b"), level("b", "B"));
                    assert_eq!(top(&json, "a"), level("a", "A"));
                }
            }
        }
    }

    #[test]
    fn bid_is_below_ask_and_levels_are_in_order() {
        for event in events(6, 60) {
            let json = parse(&event);
            match text(&json, "e") {
                "bookTicker" => assert!(number(text(&json, "b")) < number(text(&json, "a")), "{json:?}"),
                "depth" => {
                    let prices = |side| {
                        let levels = json.get_array(side).unwrap().iter().map(|level| level.as_array().unwrap());
                        levels.map(|level| number(level[0].as_str().unwrap())).collect::<Vec<_>>()
                    };
                    let (bids, asks) = (prices("b"), prices("a"));
                    assert_eq!((bids.len(), asks.len()), (DEPTH, DEPTH));
                    assert!(bids[0] < asks[0] && bids.is_sorted_by(|a, b| a > b) && asks.is_sorted_by(|a, b| a < b));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn prices_keep_their_decimals_and_tick_and_sizes_are_positive() {
        for event in events(9, 30).filter(|event| event.topic.starts_with("trades.")) {
            let json = parse(&event);
            let spec = SPECS.iter().find(|spec| spec.trades == event.topic).unwrap();
            let (price, size) = (text(&json, "p"), text(&json, "q"));
            let units: i64 = price.replace('.', "").parse().unwrap();
            assert_eq!(price.split_once('.').unwrap().1.len(), spec.price_decimals);
            assert_eq!(units % spec.tick, 0, "{price}");
            assert_eq!(size.split_once('.').map_or(0, |(_, decimals)| decimals.len()), spec.size_decimals);
            assert!(number(size) > 0.0);
        }
    }

    #[test]
    fn rate_is_that_of_a_lively_market() {
        let mut per_second = vec![0_u32; 300];
        for event in events(10, 300) {
            per_second[usize::try_from(event.at_us / 1_000_000).unwrap()] += 1;
        }
        let mean = per_second.iter().sum::<u32>() / 300;
        assert!((400..800).contains(&mean), "{mean} a second");
        assert!(per_second.iter().all(|rate| (200..1600).contains(rate)), "{per_second:?}");
    }

    #[test]
    fn prices_move_but_stay_near_where_they_began() {
        let mut furthest: BTreeMap<&str, f64> = BTreeMap::new();
        for event in events(11, 1200).filter(|event| event.topic.starts_with("quotes.")) {
            let spec = SPECS.iter().find(|spec| spec.quotes == event.topic).unwrap();
            let units: f64 = number(&text(&parse(&event), "b").replace('.', ""));
            let moved = units / (spec.open * spec.tick) as f64 - 1.0;
            let far = furthest.entry(spec.symbol).or_default();
            *far = far.max(moved.abs());
        }
        assert!(furthest.values().all(|far| (0.000_5..0.1).contains(far)), "{furthest:?}");
    }
}
