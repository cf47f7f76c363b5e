//! An app as the data plane sees it: one immutable snapshot with a version.

use serde::{Deserialize, Serialize};

use crate::acl::Rule;
use crate::capability::{Capabilities, Operation};
use crate::channel::ChannelName;
use crate::id::{AppId, IssuerId, KeyId, TenantId};
use crate::issuer::Issuer;
use crate::limits::Limits;
use crate::pattern::NoClaims;
use crate::permission::Signer;
use crate::revocation::Revocations;
use crate::secret::SecretBytes;
use crate::settings::ChannelSettings;

/// What a suspended tenant may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Publishing.
    Publish,
    /// Connecting, and everything a connection does.
    Connect,
    /// Anything.
    All,
}

/// Whether an app works, as its tenant's state says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppStatus {
    /// As usual.
    Active,
    /// Held back by the operator.
    Suspended(Block),
    /// The app or its tenant was deleted.
    Deleted,
}

impl AppStatus {
    /// Whether this state forbids it.
    #[must_use]
    pub fn blocks(self, what: Block) -> bool {
        match self {
            Self::Active => false,
            Self::Suspended(block) => block == Block::All || block == what,
            Self::Deleted => true,
        }
    }
}

/// Whether a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// As usual.
    Active,
    /// Rolled: works until this moment, Unix milliseconds.
    Overlap {
        /// Unix milliseconds.
        until_ms: u64,
    },
    /// Never again.
    Revoked,
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// The tenant's: it calls REST and signs tokens for clients.
    #[default]
    Tenant,
    /// The platform's own, one in each app: nobody holds it, and it signs only the dashboard's tokens. No other key can
    /// make an [`crate::Inspector`].
    Platform,
}

/// A key as the data plane sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its id, the `kid` of tokens it signs.
    pub id: KeyId,
    /// Whose it is.
    pub kind: KeyKind,
    /// Its name, for messages to people.
    pub name: Box<str>,
    /// What it may do and hand on.
    pub capabilities: Capabilities,
    /// Unix milliseconds after which it does not work.
    pub expires_ms: Option<u64>,
    /// Whether it works.
    pub state: KeyState,
    /// SHA-256 of the printed secret.
    pub secret_hash: [u8; 32],
    /// The printed secret's bytes, where the key may sign tokens.
    pub signing_secret: Option<SecretBytes>,
}

impl Key {
    /// Whether it works at this moment.
    #[must_use]
    pub fn is_valid_at(&self, unix_ms: u64) -> bool {
        let state = match self.state {
            KeyState::Active => true,
            KeyState::Overlap { until_ms } => unix_ms < until_ms,
            KeyState::Revoked => false,
        };
        state && self.expires_ms.is_none_or(|expires| unix_ms < expires)
    }

    /// When it stops to work by itself, Unix milliseconds.
    #[must_use]
    pub fn ends_ms(&self) -> Option<u64> {
        let overlap = match self.state {
            KeyState::Overlap { until_ms } => Some(until_ms),
            KeyState::Active | KeyState::Revoked => None,
        };
        self.expires_ms.into_iter().chain(overlap).min()
    }
}

/// An app at one version.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Who owns it.
    pub tenant: TenantId,
    /// Grows with every change of anything in here. A node never goes back to a smaller one.
    pub version: u64,
    /// Whether it works.
    pub status: AppStatus,
    /// Its keys, revoked ones included for as long as their tokens could live.
    pub keys: Vec<Key>,
    /// Who else signs tokens for it.
    pub issuers: Vec<Issuer>,
    /// Its ACL.
    pub rules: Vec<Rule>,
    /// Its channel settings, most specific pattern first.
    pub settings: Vec<ChannelSettings>,
    /// Its limits: plan, overrides and the tenant's own lowering already combined.
    pub limits: Limits,
    /// Origins that browsers may connect from; empty admits any.
    pub origins: Vec<Box<str>>,
    /// How long a link may be silent before it is probed, in milliseconds.
    pub heartbeat_ms: u32,
    /// How long the probe may stay unanswered, in milliseconds.
    pub heartbeat_timeout_ms: u32,
    /// Tokens that are refused before their time.
    pub revocations: Revocations,
}

impl App {
    /// The key with this id.
    #[must_use]
    pub fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The issuer with this id.
    #[must_use]
    pub fn issuer(&self, id: IssuerId) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.id == id)
    }

    /// What a signer's tokens may do at most; `None` when it may not sign at this moment.
    #[must_use]
    pub fn ceiling_of(&self, signer: Signer, unix_ms: u64) -> Option<&Capabilities> {
        match signer {
            Signer::Key(id) => {
                let key = self.key(id).filter(|key| key.is_valid_at(unix_ms));
                key.map(|key| &key.capabilities).filter(|capabilities| capabilities.anywhere(Operation::Sign))
            }
            Signer::Issuer(id) => self.issuer(id).filter(|issuer| issuer.enabled).map(|issuer| &issuer.ceiling),
        }
    }

    /// Whether it differs from another snapshot in nothing but its version and its revocations.
    #[must_use]
    pub fn differs_in_revocations_alone(&self, other: &Self) -> bool {
        // Taken apart whole, so that what is added later is compared too.
        let Self {
            id,
            tenant,
            version: _,
            status,
            keys,
            issuers,
            rules,
            settings,
            limits,
            origins,
            heartbeat_ms,
            heartbeat_timeout_ms,
            revocations: _,
        } = self;
        (id, tenant, status, keys, issuers) == (&other.id, &other.tenant, &other.status, &other.keys, &other.issuers)
            && (rules, settings, limits) == (&other.rules, &other.settings, &other.limits)
            && origins == &other.origins
            && (heartbeat_ms, heartbeat_timeout_ms) == (&other.heartbeat_ms, &other.heartbeat_timeout_ms)
    }

    /// The settings of a channel: those of the most specific pattern, else the defaults.
    #[must_use]
    pub fn settings_of(&self, channel: &ChannelName) -> &ChannelSettings {
        self.settings
            .iter()
            .find(|settings| settings.pattern.matches(channel, &NoClaims))
            .unwrap_or_else(|| ChannelSettings::defaults())
    }

    /// Whether clients without a token may connect: only if some rule gives them something.
    #[must_use]
    pub fn admits_anonymous(&self) -> bool {
        crate::acl::admits_anonymous(&self.rules)
    }

    /// The keys that may sign tokens.
    pub fn signing_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| key.capabilities.anywhere(Operation::Sign))
    }

    /// An active app without keys and rules, on the safety limits.
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            id: AppId::new(1, 1),
            tenant: TenantId::new(1, 1),
            version: 1,
            status: AppStatus::Active,
            keys: Vec::new(),
            issuers: Vec::new(),
            rules: Vec::new(),
            settings: Vec::new(),
            limits: Limits::default(),
            origins: Vec::new(),
            heartbeat_ms: 25_000,
            heartbeat_timeout_ms: 25_000,
            revocations: Revocations::default(),
        }
    }
}
