//! What a backend does to connections: disconnect them, refuse their tokens, subscribe them, look at them.

mod channel_tokens;
mod disconnect;
mod looking;
mod revocation;
mod telling;
