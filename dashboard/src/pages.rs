//! The pages, a file each; a page with parts of its own has a folder beside it.

pub(crate) mod access;
pub(crate) mod apps;
pub(crate) mod channel;
pub(crate) mod channels;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod console;
pub(crate) mod error_code;
pub(crate) mod error_codes;
pub(crate) mod first_message;
pub(crate) mod issuers;
pub(crate) mod keys;
pub(crate) mod latency;
pub(crate) mod limits;
pub(crate) mod not_found;
pub(crate) mod overview;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod sign_up;
pub(crate) mod start;
pub(crate) mod tokens;
pub(crate) mod welcome;
