//! A timeline as JSON: compact, and without what is empty.

use super::Timeline;
use crate::json::Json;
use crate::measure::sampler::CpuSample;
use crate::measure::{BUCKETS, bucket_bounds};

impl Timeline {
    /// The timeline, for a report. Counts of a series stand in rows, one per slice, from the least bucket in use to the
    /// greatest; `bounds_us` are those buckets' bounds, one more than there are buckets.
    pub fn to_json(&self) -> Json {
        let series = (0..self.names.len()).map(|series| (self.names[series].to_owned(), self.series_json(series)));
        Json::object([
            ("slice_seconds", self.width().as_secs_f64().into()),
            ("messages", self.messages.clone().into()),
            ("bytes", self.bytes.clone().into()),
            ("latency", Json::Object(series.collect())),
            ("cpu", self.samples.iter().map(CpuSample::to_json).collect::<Vec<_>>().into()),
        ])
    }

    fn series_json(&self, series: usize) -> Json {
        let rows = || (0..self.slices()).map(|slice| self.latencies(slice, series));
        let is_used = |bucket: &usize| rows().any(|row| row[*bucket] > 0);
        let Some(first) = (0..BUCKETS).find(is_used) else { return Json::Null };
        let last = (first..BUCKETS).rfind(is_used).unwrap_or(first);
        // The last bucket has no end: it is drawn as wide as the one before it.
        let end = if last == BUCKETS - 1 { bucket_bounds(last).0 / 8 * 9 } else { bucket_bounds(last).1 };
        let micros = |nanos: u64| Json::Number(nanos as f64 / 1e3);
        let bounds = (first..=last).map(|bucket| bucket_bounds(bucket).0).chain([end]).map(micros);
        let counts = rows().map(|row| Json::from(row[first..=last].to_vec()));
        let max = (0..self.slices()).map(|slice| micros(self.max(slice, series)));
        Json::object([
            ("bounds_us", Json::List(bounds.collect())),
            ("counts", Json::List(counts.collect())),
            ("max_us", Json::List(max.collect())),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, record, timeline};

    #[test]
    fn json_has_a_row_for_each_slice_and_a_column_for_each_bucket_between_the_extremes() {
        let mut timeline = timeline(0.2);
        record(&mut timeline, 0, at(0.0), 128);
        record(&mut timeline, 0, at(0.15), 160);
        record(&mut timeline, 0, at(0.15), 161);
        let json = timeline.to_json().to_string();
        for part in
            ["[[1, 0, 0], [0, 0, 2]]", "[0.128, 0.144, 0.16, 0.176]", "\"max_us\": [0.128, 0.161]", "\"b\": null"]
        {
            assert!(json.contains(part), "{part} in {json}");
        }
    }
}
