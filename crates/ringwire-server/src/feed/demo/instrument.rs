//! One instrument of the demo market: its fair price, its book, its orders, its messages.
//!
//! An instrument is woken when it is due, moves its fair price by the time that has passed, and acts. Whatever touches
//! the best level is followed by `publish_quote` before the next trade or book: that is what keeps them consistent.

use std::collections::VecDeque;
use std::fmt::Write;

use super::random::{Random, exp2, whole};
use super::spec::Spec;
use super::{DEPTH, DemoEvent, Sector};

/// Levels kept on each side: more than [`DEPTH`], so that a sweep uncovers levels which were there before.
const LEVELS: usize = 24;

/// One instrument. Prices are in ticks, sizes in units of the last decimal.
#[derive(Debug)]
pub(super) struct Instrument {
    spec: &'static Spec,
    act_at_us: u64,
    book_at_us: u64,
    acted_at_us: u64,
    /// The fair price; quotes surround it.
    fair: f64,
    sector_seen: f64,
    /// Excitation by recent orders: raises the pace, the volatility and the spread; halves every 1.2 s.
    heat: f64,
    /// The direction of recent orders, -1 to 1: who buys goes on buying.
    flow: f64,
    /// Best first.
    bids: Vec<Level>,
    asks: Vec<Level>,
    quoted: Option<[Level; 2]>,
    trade_id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    price: i64,
    size: i64,
}

impl Instrument {
    pub(super) fn new(spec: &'static Spec, random: &mut Random) -> Self {
        let first_us = random.below(20_000);
        let mut new = Self {
            spec,
            act_at_us: first_us + 1,
            book_at_us: first_us,
            acted_at_us: 0,
            fair: spec.open as f64,
            sector_seen: 0.0,
            heat: 0.0,
            flow: 0.0,
            bids: Vec::with_capacity(LEVELS + 1),
            asks: Vec::with_capacity(LEVELS + 1),
            quoted: None,
            trade_id: 1_000_000 + random.below(9_000_000),
        };
        new.requote(random);
        new
    }

    /// When this instrument wants to be woken.
    pub(super) fn due_us(&self) -> u64 {
        self.act_at_us.min(self.book_at_us)
    }

    /// Publishes the book if that is due, else acts.
    pub(super) fn wake(&mut self, sectors: &[Sector; 2], random: &mut Random, out: &mut Tape<'_>) {
        if self.book_at_us <= out.at_us {
            self.book_at_us = out.at_us + 120_000 + random.below(80_000);
            self.publish_quote(out);
            self.publish_book(out);
        } else {
            self.act(sectors, random, out);
        }
    }

    /// One act: the fair price moves, then a market order comes in or the quotes follow the price.
    fn act(&mut self, sectors: &[Sector; 2], random: &mut Random, out: &mut Tape<'_>) {
        let seconds = (out.at_us - self.acted_at_us) as f64 / 1e6;
        self.acted_at_us = out.at_us;
        self.heat *= exp2(-seconds / 1.2);
        self.move_fair(seconds, &sectors[self.spec.sector], random);
        if random.unit() < (0.12 + 0.08 * self.heat).min(0.4) {
            self.market_order(random, out);
        } else {
            self.resize(random);
            if random.unit() < 0.7 {
                self.requote(random);
            }
            self.publish_quote(out);
        }
        // Log-normal waits with mean 1 (0.5 = 1.2² ln 2 / 2): many short ones, some long ones.
        let wait = exp2(1.2 * random.normal() - 0.5) / (self.spec.pace * (1.0 + self.heat));
        self.act_at_us = out.at_us + 1 + whole(wait * 1e6).unsigned_abs();
    }

    fn move_fair(&mut self, seconds: f64, sector: &Sector, random: &mut Random) {
        let open = self.spec.open as f64;
        let shared = sector.total - self.sector_seen;
        self.sector_seen = sector.total;
        let own = seconds.sqrt() * exp2(sector.mood) * (1.0 + 0.4 * self.heat) * random.normal();
        self.fair += self.spec.volatility * open * (0.75 * shared + 0.6 * own);
        // A pull to the opening price, weak over minutes, keeps a feed that runs for weeks near where it began.
        self.fair -= (self.fair - open) * (seconds / 10_000.0).min(1.0);
        self.fair = self.fair.clamp(open * 0.5, open * 2.0);
    }

    /// Fills an order, on three levels at most, with a trade at the best price and the quote it leaves, each.
    fn market_order(&mut self, random: &mut Random, out: &mut Tape<'_>) {
        let buys = random.unit() < 0.5 + 0.35 * self.flow;
        let direction = if buys { 1.0 } else { -1.0 };
        self.flow = 0.85 * self.flow + 0.15 * direction;
        // On average 1 / pace: one order then excites about half an order, and bursts end.
        self.heat = (self.heat + 0.65 * exp2(1.5 * random.normal()) / self.spec.pace).min(4.0);
        let impact = (0.08 * self.spec.volatility * self.fair).min(0.35);
        let mut left = self.spec.size(0.22 * exp2(1.4 * random.normal()), random.unit() < 0.6);
        let mut levels_left = 3;
        while left > 0 && levels_left > 0 {
            let levels = if buys { &mut self.asks } else { &mut self.bids };
            let best = &mut levels[0];
            let size = left.min(best.size);
            let price = best.price;
            best.size -= size;
            left -= size;
            if best.size == 0 {
                levels.remove(0);
                levels_left -= 1;
                self.fair += direction * impact;
                self.fill(random);
            }
            self.trade_id += 1;
            self.publish_trade(price, size, !buys, out);
            self.publish_quote(out);
        }
    }

    /// Some resting size comes or goes on one level, more often near the top.
    fn resize(&mut self, random: &mut Random) {
        let depth = usize::try_from(random.below(6).min(random.below(12))).expect("below 6");
        let size = self.spec.size(resting(depth) * exp2(0.9 * random.normal()), true);
        let side = if random.unit() < 0.5 { &mut self.bids } else { &mut self.asks };
        side[depth].size = size;
    }

    /// Brings the best prices to where the fair price wants them. Orders beyond them are withdrawn first, so the
    /// sides cannot cross.
    fn requote(&mut self, random: &mut Random) {
        let half = self.spec.half_spread * (0.8 + 0.25 * self.heat + 0.3 * random.unit());
        let bid = whole((self.fair - half).floor());
        let ask = whole((self.fair + half).ceil()).max(bid + 1);
        self.bids.retain(|level| level.price <= bid);
        self.asks.retain(|level| level.price >= ask);
        for (side, price) in [(&mut self.bids, bid), (&mut self.asks, ask)] {
            if side.first().is_none_or(|best| best.price != price) {
                let size = self.spec.size(resting(0) * exp2(0.9 * random.normal()), true);
                side.insert(0, Level { price, size });
            }
        }
        self.fill(random);
    }

    /// Adds levels where the price has left a hole, and at the far ends, until both sides have [`LEVELS`].
    fn fill(&mut self, random: &mut Random) {
        let hole = 2 + whole(3.0 * self.spec.gap);
        for (side, away) in [(&mut self.bids, -1), (&mut self.asks, 1)] {
            let mut index = 1;
            while index < LEVELS {
                let nearer = side[index - 1].price;
                if side.get(index).is_none_or(|level| (level.price - nearer).abs() > hole) {
                    let gap = 1 + whole(random.unit() * random.unit() * 2.0 * self.spec.gap);
                    let size = self.spec.size(resting(index) * exp2(0.9 * random.normal()), true);
                    side.insert(index, Level { price: nearer + away * gap, size });
                }
                index += 1;
            }
            side.truncate(LEVELS);
        }
    }

    fn publish_trade(&self, price: i64, size: i64, buyer_rested: bool, out: &mut Tape<'_>) {
        let Spec { trades, .. } = *self.spec;
        let mut json = out.open("trade", self.spec.symbol);
        let _ = write!(json, r#","t":{},"p":""#, self.trade_id);
        self.spec.write_price(&mut json, price);
        json.push_str(r#"","q":""#);
        self.spec.write_size(&mut json, size);
        let _ = write!(json, r#"","m":{buyer_rested}}}"#);
        out.publish(trades, None, json);
    }

    /// Publishes the best prices and sizes, if they are not those published last.
    fn publish_quote(&mut self, out: &mut Tape<'_>) {
        let best = [self.bids[0], self.asks[0]];
        if self.quoted == Some(best) {
            return;
        }
        self.quoted = Some(best);
        let mut json = out.open("bookTicker", self.spec.symbol);
        for (level, [price, size]) in best.into_iter().zip([["b", "B"], ["a", "A"]]) {
            let _ = write!(json, r#","{price}":""#);
            self.spec.write_price(&mut json, level.price);
            let _ = write!(json, r#"","{size}":""#);
            self.spec.write_size(&mut json, level.size);
            json.push('"');
        }
        json.push('}');
        out.publish(self.spec.quotes, Some(self.spec.symbol), json);
    }

    fn publish_book(&self, out: &mut Tape<'_>) {
        let mut json = out.open("depth", self.spec.symbol);
        for (name, side) in [("b", &self.bids), ("a", &self.asks)] {
            let _ = write!(json, r#","{name}":["#);
            for (index, level) in side.iter().take(DEPTH).enumerate() {
                json.push_str(if index == 0 { r#"[""# } else { r#",[""# });
                self.spec.write_price(&mut json, level.price);
                json.push_str(r#"",""#);
                self.spec.write_size(&mut json, level.size);
                json.push_str(r#""]"#);
            }
            json.push(']');
        }
        json.push('}');
        out.publish(self.spec.book, Some(self.spec.symbol), json);
    }
}

/// Where an instrument's messages of one moment go.
pub(super) struct Tape<'a> {
    pub(super) start_ms: u64,
    pub(super) at_us: u64,
    pub(super) ready: &'a mut VecDeque<DemoEvent>,
}

impl Tape<'_> {
    fn open(&self, event: &str, symbol: &str) -> String {
        let now_us = self.start_ms * 1000 + self.at_us;
        let mut json = String::with_capacity(160);
        let _ = write!(json, r#"{{"e":"{event}","E":{},"T":{now_us},"s":"{symbol}""#, now_us / 1000);
        json
    }

    fn publish(&mut self, topic: &'static str, key: Option<&'static str>, json: String) {
        self.ready.push_back(DemoEvent { at_us: self.at_us, topic, key, data: json.into_bytes() });
    }
}

/// How many common sizes rest at a level, by its depth.
fn resting(depth: usize) -> f64 {
    0.7 + 0.18 * depth as f64
}
