//! Latencies as histograms that merge exactly, across nodes and across time.
//!
//! The buckets are fixed, so that merging is adding: a microsecond each below 16, from there sixteen to each power of
//! two. No bucket is wider than a sixteenth of its lower bound. Percentiles are computed from counts and never stored:
//! an average of percentiles is the percentile of nothing.
//!
//! ```text
//!   0 1 2 … 15 │ 16 17 … 31 │ 32 34 … 62 │ 64 68 … 124 │ … │ 33.6 s … 67.1 s and above
//!   one each     16 of 1 µs   16 of 2 µs   16 of 4 µs         16 of 2.1 s
//! ```

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many buckets there are.
pub const BUCKETS: usize = 368;
/// Each power of two has two to the power of this many buckets.
const FINE: u32 = 4;
const PER_POWER: u64 = 1 << FINE;
/// Longer spans count as this one, in microseconds: a little more than a minute.
pub const MICROS_MAX: u64 = (1 << 26) - 1;

/// The bucket that a span belongs to.
#[must_use]
pub const fn bucket_of(micros: u64) -> usize {
    let micros = if micros > MICROS_MAX { MICROS_MAX } else { micros };
    if micros < PER_POWER {
        return micros as usize;
    }
    let power = micros.ilog2();
    let place = (micros >> (power - FINE)) & (PER_POWER - 1);
    ((power - FINE + 1) as u64 * PER_POWER + place) as usize
}

/// The shortest span of a bucket, in microseconds.
#[must_use]
pub const fn lower_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PER_POWER {
        return bucket;
    }
    (PER_POWER + bucket % PER_POWER) << (bucket / PER_POWER - 1)
}

/// The longest span of a bucket, in microseconds.
#[must_use]
pub const fn upper_bound(bucket: usize) -> u64 {
    lower_bound(bucket + 1) - 1
}

/// How many spans fell into each bucket; buckets without any take no room.
///
/// As JSON it is the list of its buckets, `[[lower bound in µs, count], …]`; [`Histogram::to_bytes`] is the compact form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket, ascending; no count is zero.
    counts: Vec<(u16, u64)>,
}

/// Bytes that are no histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no histogram")]
pub struct NoHistogram;

impl Histogram {
    /// Counts `count` spans of so many microseconds.
    pub fn record(&mut self, micros: u64, count: u64) {
        self.add_bucket(bucket_of(micros), count);
    }

    /// Adds to one bucket; one beyond the last counts as the last.
    pub fn add_bucket(&mut self, bucket: usize, count: u64) {
        if count == 0 {
            return;
        }
        let bucket = u16::try_from(bucket.min(BUCKETS - 1)).expect("there are fewer buckets than that");
        match self.counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(count),
            Err(at) => self.counts.insert(at, (bucket, count)),
        }
    }

    /// Adds another one. In whatever order and groups histograms are merged, the result is the same.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        other.counts.iter().for_each(|(bucket, count)| self.add_bucket((*bucket).into(), *count));
    }

    /// What came since an earlier reading of the same counts.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut before = before.counts.iter().peekable();
        let counts = self.counts.iter().filter_map(|(bucket, count)| {
            while before.next_if(|(earlier, _)| earlier < bucket).is_some() {}
            let was = before.next_if(|(earlier, _)| earlier == bucket).map_or(0, |(_, count)| *count);
            // Counts that begin anew have no difference.
            Some((*bucket, count.saturating_sub(was))).filter(|(_, more)| *more > 0)
        });
        Self { counts: counts.collect() }
    }

    /// How many spans there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The span that this share of all did not exceed, in microseconds: the upper bound of its bucket, so that it never
    /// tells less than what happened. `None` without any span.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let count = self.count();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank between one and the count; counts are far below 2^52"
        )]
        let rank = ((share * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let reaches = |(_, count): &&(u16, u64)| {
            seen += count;
            seen >= rank
        };
        self.counts.iter().find(reaches).map(|(bucket, _)| upper_bound((*bucket).into()))
    }

    /// The sum of all spans as well as the buckets can tell it, in microseconds: each counts as its bucket's middle.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let middle = |bucket: usize| u64::midpoint(lower_bound(bucket), upper_bound(bucket));
        let spans = self.counts.iter().map(|(bucket, count)| middle((*bucket).into()).saturating_mul(*count));
        spans.fold(0, u64::saturating_add)
    }

    /// The buckets that have a count, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        self.counts.iter().map(|(bucket, count)| ((*bucket).into(), *count))
    }

    /// The compact form: for each bucket with a count, how far it is from the one before and its count, as numbers of
    /// seven bits a byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.counts.len() * 3);
        let mut before = 0;
        for (bucket, count) in &self.counts {
            write_number(&mut bytes, u64::from(bucket - before));
            write_number(&mut bytes, *count);
            before = *bucket;
        }
        bytes
    }

    /// Reads the compact form.
    ///
    /// # Errors
    /// When it is none: cut short, out of order, beyond the last bucket, or with a count of zero.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, NoHistogram> {
        let mut counts: Vec<(u16, u64)> = Vec::new();
        while !bytes.is_empty() {
            let (step, count) = (read_number(&mut bytes)?, read_number(&mut bytes)?);
            let before = counts.last().map(|(bucket, _)| u64::from(*bucket));
            let bucket = before.unwrap_or_default().checked_add(step).filter(|bucket| *bucket < BUCKETS as u64);
            let bucket = bucket.and_then(|bucket| u16::try_from(bucket).ok()).ok_or(NoHistogram)?;
            if count == 0 || (before.is_some() && step == 0) {
                return Err(NoHistogram);
            }
            counts.push((bucket, count));
        }
        Ok(Self { counts })
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.buckets().map(|(bucket, count)| (lower_bound(bucket), count))).finish()
    }
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Result<u64, NoHistogram> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(NoHistogram)?;
        *bytes = rest;
        let part = u64::from(first & 0x7f);
        // The tenth byte has room for one bit.
        if part.leading_zeros() < shift {
            return Err(NoHistogram);
        }
        number |= part << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(NoHistogram)
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.counts.len()))?;
        for (bucket, count) in self.buckets() {
            list.serialize_element(&(lower_bound(bucket), count))?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Histogram;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of pairs: a bucket's lower bound in microseconds, and its count")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Histogram, A::Error> {
                let mut histogram = Histogram::default();
                while let Some((lower, count)) = list.next_element::<(u64, u64)>()? {
                    if lower > MICROS_MAX {
                        return Err(A::Error::custom("a bucket beyond the last"));
                    }
                    histogram.record(lower, count);
                }
                Ok(histogram)
            }
        }

        deserializer.deserialize_seq(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans() -> impl Strategy<Value = Histogram> {
        let span = (0_u64..200_000_000, 1_u64..1_000_000);
        proptest::collection::vec(span, 0..40).prop_map(|spans| {
            let mut histogram = Histogram::default();
            spans.iter().for_each(|(micros, count)| histogram.record(*micros, *count));
            histogram
        })
    }

    fn merged(left: &Histogram, right: &Histogram) -> Histogram {
        let mut both = left.clone();
        both.merge(right);
        both
    }

    #[test]
    fn buckets_lie_side_by_side_and_none_is_wider_than_a_sixteenth() {
        assert_eq!((lower_bound(0), upper_bound(BUCKETS - 1)), (0, MICROS_MAX));
        for bucket in 0..BUCKETS {
            let (low, high) = (lower_bound(bucket), upper_bound(bucket));
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            assert!((high - low) * 16 <= low, "{low} to {high}");
            assert!(bucket + 1 == BUCKETS || bucket_of(high + 1) == bucket + 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_never_better_than_what_happened() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.record(5_000, 99);
        histogram.record(500_000, 1);
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| histogram.quantile(share)),
            [5_119, 5_119, 5_119, 507_903].map(Some)
        );
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let wrong: [&[u8]; 6] = [
            &[5],
            &[5, 0],
            &[5, 1, 0, 1],
            &[0xff, 0x7f, 1],
            &[5, 0x80],
            &[5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ];
        for bytes in wrong {
            assert_eq!(Histogram::from_bytes(bytes), Err(NoHistogram), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn merging_is_exact_and_the_order_does_not_matter(a in spans(), b in spans(), c in spans()) {
            let left = merged(&merged(&a, &b), &c);
            prop_assert_eq!(&left, &merged(&a, &merged(&b, &c)));
            prop_assert_eq!(&left, &merged(&c, &merged(&b, &a)));
            prop_assert_eq!(left.count(), a.count() + b.count() + c.count());
            prop_assert_eq!(merged(&a, &b).since(&a), b);
        }

        #[test]
        fn both_forms_give_back_what_was_written(a in spans()) {
            prop_assert_eq!(Histogram::from_bytes(&a.to_bytes()), Ok(a.clone()));
            let json = serde_json::to_string(&a).expect("writes");
            prop_assert_eq!(serde_json::from_str::<Histogram>(&json).expect("reads"), a);
        }

        #[test]
        fn a_span_is_told_within_a_sixteenth(micros in 0..MICROS_MAX) {
            let mut one = Histogram::default();
            one.record(micros, 1);
            let told = one.quantile(0.5).expect("there is one");
            prop_assert!(told >= micros && (told - micros) * 16 <= micros);
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(read) = Histogram::from_bytes(&bytes) {
                prop_assert!(read.buckets().all(|(bucket, count)| bucket < BUCKETS && count > 0));
            }
        }
    }
}
