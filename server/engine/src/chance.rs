//! Randomness, handed in: the system's in production, seeded in tests, so that a schedule replays exactly.

use std::sync::{Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};

/// A shared source of random numbers.
#[derive(Debug)]
pub struct Chance(Mutex<StdRng>);

impl Chance {
    /// Seeded with the number, or by the system where there is none.
    ///
    /// # Panics
    /// When the system gives no randomness: nothing safe can be done without.
    #[must_use]
    pub fn new(seed: Option<u64>) -> Self {
        let rng = match seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::try_from_rng(&mut SysRng).expect("the system gives randomness"),
        };
        Self(Mutex::new(rng))
    }

    /// Lends the source, for what needs several numbers.
    pub(crate) fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next number.
    pub fn next<T>(&self) -> T
    where
        rand::distr::StandardUniform: rand::distr::Distribution<T>,
    {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}
