//! What a backend does to connections: disconnect them, refuse their tokens, subscribe them, look at them.

mod disconnect;
mod looking;
mod revocation;
mod telling;
