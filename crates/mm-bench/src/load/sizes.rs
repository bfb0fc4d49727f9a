//! How long the value of a key is.

use std::str::FromStr;

use super::random::{mix, scale};
use crate::limits::VALUE_BYTES;

/// Value lengths, as `100`, `8-1000`, or weighted: `8-100:70,1000:25,65536:5`. A key's length never changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sizes {
    /// Ranges, each with the sum of the weights up to and with it.
    ranges: Vec<Range>,
    weight: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Range {
    least: usize,
    most: usize,
    weight_through: u64,
}

impl Sizes {
    /// All values of one length.
    pub(crate) fn fixed(bytes: usize) -> Self {
        Self { ranges: vec![Range { least: bytes, most: bytes, weight_through: 1 }], weight: 1 }
    }

    /// The length of the value of key `id`.
    pub(super) fn length(&self, id: u64) -> usize {
        if let [Range { least, most, .. }] = self.ranges.as_slice()
            && least == most
        {
            return *least;
        }
        let bits = mix(id);
        let pick = scale(bits, self.weight);
        let found = self.ranges.iter().find(|range| pick < range.weight_through);
        let Some(range) = found.or_else(|| self.ranges.last()) else { return 0 };
        let span = (range.most - range.least + 1) as u64;
        range.least + usize::try_from(scale(mix(bits), span)).unwrap_or(0)
    }

    /// The longest length there is.
    pub(super) fn most(&self) -> usize {
        self.ranges.iter().map(|range| range.most).max().unwrap_or(0)
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sizes = Self { ranges: Vec::new(), weight: 0 };
        for part in text.split(',') {
            let (range, weight) = part.split_once(':').unwrap_or((part, "1"));
            let (least, most) = range.split_once('-').unwrap_or((range, range));
            let bytes = |word: &str| match word.parse() {
                Ok(bytes) if bytes <= VALUE_BYTES => Ok(bytes),
                Ok(_) => Err(format!("'{word}' is above the largest value, {VALUE_BYTES} bytes")),
                Err(_) => {
                    Err(format!("'{word}' is not a number of bytes; write 100, 8-1000 or 8-100:70,1000:30"))
                }
            };
            let (least, most) = (bytes(least)?, bytes(most)?);
            if least > most {
                return Err(format!("'{range}' ends before it begins"));
            }
            let weight: u32 =
                weight.parse().map_err(|_not_a_number| format!("'{weight}' is not a weight"))?;
            sizes.weight += u64::from(weight);
            sizes.ranges.push(Range { least, most, weight_through: sizes.weight });
        }
        if sizes.weight == 0 { Err("all weights are zero".to_owned()) } else { Ok(sizes) }
    }
}

#[cfg(test)]
mod tests {
    use super::Sizes;

    #[test]
    fn lengths_follow_their_weights_and_stay_in_range() {
        let sizes: Sizes = "8-10:70,1000:30".parse().unwrap();
        let lengths: Vec<usize> = (0..10_000).map(|id| sizes.length(id)).collect();
        assert!(lengths.iter().all(|length| (8..=10).contains(length) || *length == 1_000));
        let long = lengths.iter().filter(|length| **length == 1_000).count();
        assert!((2_800..3_200).contains(&long), "{long} of 10,000 were long");
        assert_eq!(sizes.most(), 1_000);
    }

    #[test]
    fn nonsense_is_refused_with_the_word_at_fault() {
        for (text, word) in [("x", "'x'"), ("10-5", "'10-5'"), ("10:y", "'y'"), ("", "''"), ("10:0", "zero")]
        {
            let error = text.parse::<Sizes>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
