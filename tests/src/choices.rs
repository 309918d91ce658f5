//! Choices that can be made again: a generator that a seed determines.

/// What a test leaves to chance. The same seed gives the same choices; what other clients do meanwhile is not
/// repeated.
pub struct Choices(u64);

impl Choices {
    /// Choices of a seed.
    pub fn new(seed: u64) -> Choices {
        // Neighbouring seeds must not begin alike, and zero would stay zero.
        Choices(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Choices of `TESTBED_SEED`, or of `default`; says which, so that a failure can be repeated.
    pub fn of_environment(default: u64) -> Choices {
        let seed = match std::env::var("TESTBED_SEED") {
            Ok(text) => text.parse().expect("TESTBED_SEED is a number"),
            Err(_) => default,
        };
        println!("TESTBED_SEED={seed}");
        Choices::new(seed)
    }

    /// A number from 0 up to, not including, `n`.
    pub fn below(&mut self, n: i64) -> i64 {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as i64
    }

    /// The elements in an order of chance.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as i64 + 1) as usize);
        }
    }
}
