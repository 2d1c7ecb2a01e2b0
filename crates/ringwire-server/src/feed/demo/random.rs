//! Random numbers that are the same on every platform and in every version.

/// SplitMix64 (Steele, Lea, Flood 2014): written out here so that no library's version changes the market.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 up to, not including, `end`, which is small: the bias of `%` does not show.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Nearly normal, mean 0, variance 1, within ±3.5: the sum of four uniform numbers.
    pub(super) fn normal(&mut self) -> f64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|lane| (bits >> (lane * 16)) & 0xffff).sum();
        (sum as f64 / 65536.0 - 2.0) * 1.732_050_8
    }
}

#[expect(clippy::cast_possible_truncation, reason = "prices, sizes and waits are far below 2^63, and `as` saturates")]
pub(super) fn whole(x: f64) -> i64 {
    x as i64
}

/// 2^x for -40..40 to six digits, from operations that are exact everywhere.
pub(super) fn exp2(x: f64) -> f64 {
    let x = x.clamp(-40.0, 40.0);
    let power = x.floor();
    let y = (x - power) * std::f64::consts::LN_2;
    let series = 1.0 + y * (1.0 + y / 2.0 * (1.0 + y / 3.0 * (1.0 + y / 4.0 * (1.0 + y / 5.0 * (1.0 + y / 6.0)))));
    series * f64::from_bits((1023 + whole(power)).unsigned_abs() << 52)
}
