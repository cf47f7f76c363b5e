//! The resources, one file each.

pub(crate) mod acl;
pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod inspector;
pub(crate) mod issuers;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod live;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod sign_up;
pub(crate) mod statistics;
