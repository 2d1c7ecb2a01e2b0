//! The instruments of the demo market. The names are real, the prices are not.

use std::fmt::Write;

use super::random::whole;

/// What is fixed about an instrument.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) symbol: &'static str,
    pub(super) trades: &'static str,
    pub(super) quotes: &'static str,
    pub(super) book: &'static str,
    pub(super) sector: usize,
    /// The price at the feed's start, in ticks.
    pub(super) open: i64,
    /// A tick in units of the last price decimal.
    pub(super) tick: i64,
    pub(super) price_decimals: usize,
    /// A common resting size, in units of the last size decimal.
    pub(super) common_size: f64,
    pub(super) size_decimals: usize,
    /// Sizes are multiples of this, as a rule.
    pub(super) lot: i64,
    /// Relative move of the price in one second, one standard deviation.
    pub(super) volatility: f64,
    /// Acts a second when calm.
    pub(super) pace: f64,
    /// Half the spread when calm, in ticks.
    pub(super) half_spread: f64,
    /// How far apart levels lie, in ticks.
    pub(super) gap: f64,
}

impl Spec {
    /// A size from multiples of the common one, at least one unit.
    pub(super) fn size(&self, times: f64, in_lots: bool) -> i64 {
        let lot = if in_lots { self.lot } else { 1 };
        (whole(self.common_size * times) / lot).max(1) * lot
    }

    pub(super) fn write_price(&self, out: &mut String, ticks: i64) {
        write_decimal(out, ticks * self.tick, self.price_decimals);
    }

    pub(super) fn write_size(&self, out: &mut String, units: i64) {
        write_decimal(out, units, self.size_decimals);
    }
}

pub(super) const CRYPTO: usize = 0;
pub(super) const EQUITY: usize = 1;

/// One row: symbol, sector; price as `open ticks * tick / 10^decimals`; size as `common / 10^decimals` in lots;
/// volatility in millionths; pace; half spread and gap in ticks.
macro_rules! spec {
    ($symbol:literal $sector:ident, $open:literal * $tick:literal e $pd:literal, $size:literal e $sd:literal / $lot:literal,
     $vol:literal, $pace:literal, $half:literal, $gap:literal) => {
        Spec {
            symbol: $symbol,
            trades: concat!("trades.", $symbol),
            quotes: concat!("quotes.", $symbol),
            book: concat!("book.", $symbol),
            sector: $sector,
            open: $open,
            tick: $tick,
            price_decimals: $pd,
            common_size: $size,
            size_decimals: $sd,
            lot: $lot,
            volatility: $vol / 1e6,
            pace: $pace,
            half_spread: $half,
            gap: $gap,
        }
    };
}

#[rustfmt::skip]
pub(super) static SPECS: [Spec; 12] = [
    spec!("BTCUSD"  CRYPTO, 134_421 * 5 e 1, 6_000.0 e 4 / 1,    90.0, 52.0, 0.9, 2.5),
    spec!("ETHUSD"  CRYPTO,  69_643 * 5 e 2, 9_000.0 e 3 / 1,   110.0, 44.0, 0.9, 2.0),
    spec!("SOLUSD"  CRYPTO,  17_136 * 1 e 2, 8_500.0 e 2 / 1,   140.0, 32.0, 0.7, 1.2),
    spec!("XRPUSD"  CRYPTO,   5_872 * 1 e 4, 41_000.0 e 1 / 1,  130.0, 22.0, 0.4, 0.6),
    spec!("LTCUSD"  CRYPTO,   8_417 * 1 e 2, 26_000.0 e 3 / 1,  120.0, 12.0, 0.6, 1.0),
    spec!("DOGEUSD" CRYPTO,  12_854 * 1 e 5, 64_000.0 e 0 / 1,  160.0, 18.0, 0.8, 1.4),
    spec!("AAPL"    EQUITY,  22_648 * 1 e 2, 600.0 e 0 / 100,    50.0, 26.0, 0.4, 0.6),
    spec!("MSFT"    EQUITY,  42_806 * 1 e 2, 300.0 e 0 / 100,    45.0, 20.0, 0.9, 1.2),
    spec!("NVDA"    EQUITY,  13_429 * 1 e 2, 1_400.0 e 0 / 100,  90.0, 38.0, 0.4, 0.5),
    spec!("AMZN"    EQUITY,  18_642 * 1 e 2, 400.0 e 0 / 100,    60.0, 20.0, 0.5, 0.7),
    spec!("TSLA"    EQUITY,  24_893 * 1 e 2, 700.0 e 0 / 100,   100.0, 34.0, 0.8, 1.0),
    spec!("SPY"     EQUITY,  57_134 * 1 e 2, 1_900.0 e 0 / 100,  28.0, 30.0, 0.4, 0.5),
];

/// `units / 10^decimals`, with exactly that many decimals.
fn write_decimal(out: &mut String, units: i64, decimals: usize) {
    let scale = 10_i64.pow(u32::try_from(decimals).expect("few"));
    let _ = write!(out, "{}", units / scale);
    if decimals > 0 {
        let _ = write!(out, ".{:0decimals$}", units % scale);
    }
}
