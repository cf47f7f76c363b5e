//! Everything random that the store makes: ids, secrets, tokens and nonces, each from the operating system's generator.
//! The only place here that draws.

use fanfare_core::secret::KeySecret;
use rand::RngExt as _;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;

/// Random bytes, fit for keys.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    generator().fill(&mut bytes);
    bytes
}

/// What an id takes beside the time.
pub(crate) fn id_bits() -> u128 {
    u128::from_be_bytes(bytes())
}

/// The secret of a new key.
pub(crate) fn key_secret() -> KeySecret {
    KeySecret::from_digits(std::array::from_fn(|_| generator().random_range(0..62)))
}

/// Fails only where the operating system has no randomness, and then nothing may go on.
const fn generator() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
