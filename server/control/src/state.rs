//! What every handler can reach.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use fanfare_core::Clock;
use fanfare_core::id::AppId;
use fanfare_core::secret::SecretBytes;
use fanfare_store::{SessionTerms, Store};
use http::Uri;
use tokio_util::task::TaskTracker;

use crate::csrf::Origins;
use crate::hasher::Hasher;
use crate::options::Options;

/// What the binary hands in.
#[derive(Clone)]
pub struct Setup {
    /// What the operator set.
    pub options: Options,
    /// Postgres.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// 32 secret bytes that go into every password's hash, so that a stolen database alone gives nothing to guess
    /// against. The same on every node, and for ever: with other bytes nobody can sign in.
    pub pepper: SecretBytes,
    /// Where the dashboard is reached, without a slash at the end.
    pub public_url: Uri,
    /// Where the gateway is reached, without a slash at the end.
    pub gateway_url: Uri,
}

/// The control plane's state. Cloning shares it.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    setup: Setup,
    origins: Origins,
    hasher: Hasher,
    tasks: TaskTracker,
}

impl Control {
    /// The state behind a router.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let origins = Origins::of(&setup.public_url);
        let hasher = Hasher::new(setup.pepper.clone(), usize::from(setup.options.hashes_max));
        Self(Arc::new(Inner { setup, origins, hasher, tasks: TaskTracker::new() }))
    }

    /// Waits for work that goes on although its client went away. Call it after the listener stopped.
    pub async fn finish(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.setup.options
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.setup.store
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.0.hasher
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        self.0.setup.clock.unix_ms()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        let ms = i64::try_from(self.unix_ms()).expect("the clock is this side of the year 292 million");
        DateTime::from_timestamp_millis(ms).expect("the clock is this side of the year 262 thousand")
    }

    /// Whether browsers reach us by https: cookies are `Secure` and the host prefix is theirs.
    pub(crate) fn is_https(&self) -> bool {
        self.0.setup.public_url.scheme_str() == Some("https")
    }

    pub(crate) fn public_url(&self) -> String {
        bare(&self.0.setup.public_url)
    }

    pub(crate) fn gateway_url(&self) -> String {
        bare(&self.0.setup.gateway_url)
    }

    /// The gateway for WebSockets.
    pub(crate) fn gateway_socket_url(&self) -> String {
        // `http` becomes `ws`, `https` becomes `wss`.
        self.gateway_url().replacen("http", "ws", 1)
    }

    pub(crate) fn app_url(&self, app: AppId) -> String {
        format!("{}/v1/apps/{app}", self.gateway_url())
    }

    pub(crate) fn session_terms(&self) -> SessionTerms {
        let lifetime = u64::from(self.options().session_absolute_s);
        SessionTerms { lifetime: std::time::Duration::from_secs(lifetime) }
    }
}

fn bare(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}
