//! What a run counted, and how it is told.

use super::histogram::Histogram;

/// Answers counted by kind, in keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Keys that were there.
    pub(crate) hits: u64,
    /// Keys that were not.
    pub(crate) misses: u64,
    /// Keys stored.
    pub(crate) sets: u64,
    /// Requests answered by an error line.
    pub(crate) errors: u64,
    /// Connections that broke, and ends of runs at which answers were still missing.
    pub(crate) failures: u64,
    /// Hits whose value was not the key's.
    pub(crate) wrong: u64,
    /// Bytes received.
    pub(crate) received_bytes: u64,
    /// The first error, as the server put it.
    pub(crate) first_error: Option<String>,
    /// The first failure.
    pub(crate) first_failure: Option<String>,
    /// The first wrong value.
    pub(crate) first_wrong: Option<String>,
}

impl Tally {
    /// Counts an error line.
    pub(super) fn error(&mut self, line: &[u8]) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| line[..line.len().min(200)].escape_ascii().to_string());
    }

    /// Counts a connection that broke, or answers that never came.
    pub(super) fn failure(&mut self, what: &str) {
        self.failures += 1;
        self.first_failure.get_or_insert_with(|| what.to_owned());
    }

    /// Counts a wrong value.
    pub(super) fn wrong(&mut self, describe: impl FnOnce() -> String) {
        self.wrong += 1;
        self.first_wrong.get_or_insert_with(describe);
    }

    /// Keys answered for.
    pub(crate) fn keys(&self) -> u64 {
        self.hits + self.misses + self.sets
    }

    /// Keys answered for, and requests answered by an error: what the server has had work with.
    pub(crate) fn answered(&self) -> u64 {
        self.keys() + self.errors
    }

    /// What was bad beside error lines, in one line; none if nothing was.
    pub(crate) fn fault(&self) -> Option<String> {
        match (&self.first_wrong, &self.first_failure) {
            (Some(first), _) => Some(format!("{} wrong values, the first: {first}", self.wrong)),
            (None, Some(first)) => Some(format!("{} failures, the first: {first}", self.failures)),
            (None, None) => None,
        }
    }
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// What was counted.
    pub(crate) tally: Tally,
    /// Latencies of batches.
    pub(crate) latency: Histogram,
}

const NANOSECONDS_PER_US: f64 = 1_000.0;

impl Report {
    /// Keys per second.
    pub(crate) fn keys_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.tally.keys() as f64 / self.seconds } else { 0.0 }
    }

    fn percentiles_us(&self) -> [f64; 4] {
        let latency = &self.latency;
        let figures = [0.5, 0.99, 0.999].map(|share| latency.percentile_ns(share));
        [figures[0], figures[1], figures[2], latency.longest_ns()].map(|ns| ns as f64 / NANOSECONDS_PER_US)
    }

    /// A few lines for people.
    pub(crate) fn to_text(&self) -> String {
        let tally = &self.tally;
        let [median, p99, p999, longest] = self.percentiles_us();
        format!(
            "{:.0} keys/s for {:.2} s: {} requests, {} keys, {:.1} MB/s received\n\
             {} hits, {} misses, {} stored, {} errors, {} wrong values\n\
             latency p50 {median:.1} us, p99 {p99:.1} us, p99.9 {p999:.1} us, max {longest:.1} us",
            self.keys_per_s(),
            self.seconds,
            tally.requests,
            tally.keys(),
            tally.received_bytes as f64 / self.seconds.max(1e-9) / 1e6,
            tally.hits,
            tally.misses,
            tally.sets,
            tally.errors + tally.failures,
            tally.wrong,
        )
    }

    /// One line of JSON for programs.
    pub(crate) fn to_json(&self) -> String {
        let tally = &self.tally;
        let [median, p99, p999, longest] = self.percentiles_us();
        format!(
            "{{\"seconds\":{:.3},\"requests\":{},\"keys\":{},\"keys_per_s\":{:.0},\"hits\":{},\"misses\":{},\
             \"sets\":{},\"errors\":{},\"wrong\":{},\"received_bytes\":{},\"p50_us\":{median:.1},\
             \"p99_us\":{p99:.1},\"p999_us\":{p999:.1},\"max_us\":{longest:.1}}}",
            self.seconds,
            tally.requests,
            tally.keys(),
            self.keys_per_s(),
            tally.hits,
            tally.misses,
            tally.sets,
            tally.errors + tally.failures,
            tally.wrong,
            tally.received_bytes,
        )
    }

    /// What was bad, in one line; none if all was well.
    pub(crate) fn complaint(&self) -> Option<String> {
        let first = self.tally.first_error.as_ref();
        let error = || first.map(|first| format!("{} errors, the first: {first}", self.tally.errors));
        self.tally.fault().or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_line_is_an_answer_and_a_broken_connection_is_none() {
        let mut tally = Tally { sets: 3, ..Tally::default() };
        tally.error(b"SERVER_ERROR out of memory");
        assert_eq!((tally.keys(), tally.answered(), tally.fault()), (3, 4, None));
        let report = |tally: &Tally| Report { seconds: 1.0, tally: tally.clone(), latency: Histogram::new() };
        let complaint = report(&tally).complaint();
        assert_eq!(complaint.as_deref(), Some("1 errors, the first: SERVER_ERROR out of memory"));
        tally.failure("the server closed");
        assert_eq!(tally.answered(), 4);
        assert_eq!(tally.fault().as_deref(), Some("1 failures, the first: the server closed"));
        assert_eq!(report(&tally).complaint(), tally.fault());
    }
}
