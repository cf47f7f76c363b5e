//! Postgres: everything of Fanfare that touches SQL, and nothing that touches HTTP.
//!
//! Start with [`Store`]: it migrates, connects and opens scopes. What can be asked depends on who asks:
//!
//! ```text
//! Store ── member(actor) ── tenant(id) ── app(id)     role fanfare_app, rows of one tenant or one user
//!       ├─ auth()                                     role fanfare_auth, no tables, functions only
//!       ├─ backend(tenant, app, key)                  role fanfare_app, what a key may change of its own app
//!       └─ feed()                                     role fanfare_feed, reads snapshots of apps, hands in figures
//! ```
//!
//! A scope is a proof: a [`TenantStore`] exists only for a member, an [`AppStore`] only for an app of that tenant, and
//! whatever is not theirs is [`StoreError::NotFound`]. Row-level security holds the same line again underneath, should
//! a statement forget its `WHERE`: `scope.rs` says how, `migrations/` has the policies, `tests/it/rls.rs` the proof.
//!
//! Every change is one transaction that ends with one row of the audit log; there is no other way to commit one. What
//! people edit has a version, and a change names the version it was made from. Secrets rest as hashes, or sealed under
//! the [`MasterKey`] where they are needed again.
//!
//! There is a file for each table, its SQL written out. This crate never decides whether a role suffices (control
//! does, from [`TenantStore::role`]), never hashes a password, never speaks HTTP, and never lets an error of Postgres
//! out untranslated: `error.rs` is the one place where constraints get a meaning.

mod acls;
mod apps;
mod audit;
mod auth;
mod chance;
mod channel_settings;
mod decisions;
mod error;
mod feed;
mod idempotency;
mod issuers;
mod keys;
mod limit_use;
mod limits;
mod migrate;
mod page;
mod platform_secrets;
mod reseal;
mod revocations;
mod roles;
mod scope;
mod seal;
mod sessions;
mod statistics;
mod store;
mod tenants;
mod token;
mod users;
mod welcome;

pub use acls::{AclRecord, AclRevision, RuleDraft};
pub use apps::{APPS_MAX, AppChange, AppRecord};
pub use audit::AuditRecord;
pub use auth::{Account, Auth, NewAccount, Origin};
pub use channel_settings::SettingsRecord;
pub use decisions::{DecisionRecord, KeptDecision, LastDay, LeftOut};
pub use error::{Conflict, StoreError};
pub use feed::{Change, Changes, Feed};
pub use idempotency::{ANSWER_BYTES_MAX, Begun, Idempotency, Keep, Reservation, StoredAnswer};
pub use issuers::{FetchRecord, FetchedKey, ISSUERS_MAX, IssuerChange, IssuerRecord, NewIssuer};
pub use keys::{KEYS_MAX, KeyOwner, KeyRecord, NewKey, SigningKey};
pub use limit_use::{UseRecord, Used};
pub use limits::LimitsRecord;
pub use page::{PAGE_MAX, Page, PageRequest};
pub use revocations::BackendStore;
pub use scope::{Actor, AppStore, MemberStore, TenantStore};
pub use seal::{MasterKey, Owner, SealError};
pub use sessions::{OpenedSession, SessionRecord, SessionTerms};
pub use statistics::{Figure, Figures, FiguresQuery, KeptSpan, Span, UsageRecord};
pub use store::{Store, StoreOptions};
pub use tenants::{MembershipRecord, TenantRecord};
pub use token::Token;
pub use users::{Credentials, UserRecord};
pub use welcome::Welcome;
