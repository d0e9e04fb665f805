//! Numbers that look random and are the same at every run (SplitMix64).

/// A sequence that depends on its seed only.
pub(super) struct Random(u64);

impl Random {
    /// The sequence of this name.
    pub(super) fn named(name: &str) -> Self {
        // FNV-1a: any function of the name will do, as long as it never changes.
        Self(
            name.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 for the limit 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    /// One of several; the earlier ones far more often, as in life.
    pub(super) fn skewed<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let limit = choices.len() as u64;
        let index = self.below(limit).min(self.below(limit));
        usize::try_from(index).ok().and_then(|index| choices.get(index)).copied().unwrap_or("")
    }

    /// One of several, all alike.
    pub(super) fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = self.below(choices.len() as u64);
        usize::try_from(index).ok().and_then(|index| choices.get(index)).copied().unwrap_or("")
    }

    /// A duration-like number: mostly small, sometimes long.
    pub(super) fn long_tailed(&mut self, typical: u64) -> u64 {
        let base = 1 + self.below(typical);
        match self.below(100) {
            0 => base * 60,
            1..=7 => base * 8,
            _ => base,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_never_changes() {
        let mut random = Random::named("logs-app");
        let first: Vec<u64> = (0..3).map(|_| random.below(1_000_000)).collect();
        let mut again = Random::named("logs-app");
        assert_eq!(first, (0..3).map(|_| again.below(1_000_000)).collect::<Vec<_>>());
        assert_ne!(Random::named("logs-web").next(), Random::named("logs-app").next());
        assert_eq!(random.below(0), 0);
    }
}
