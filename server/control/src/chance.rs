//! Everything random that the control plane makes: ids of requests, salts. The only place here that draws.

use rand::TryRng as _;
use rand::rngs::SysRng;

/// Random bytes, fit for keys.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).expect("the system's generator works once the system runs");
    bytes
}

/// What an id takes beside the time.
pub(crate) fn id_bits() -> u128 {
    u128::from_be_bytes(bytes())
}
