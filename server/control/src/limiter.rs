//! How often one neighbourhood of addresses may sign up and try to sign in: tower-governor, before anything is read.
//!
//! Addresses are counted by /24 and /64. They are folded into a fixed number of buckets by a keyed hash, so that the
//! table is bounded whoever comes: two neighbourhoods may share a bucket, but nobody can choose with whom.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use fanfare_api::server::ApiProblem;
use fanfare_core::{ErrorCode, Problem};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use crate::options::{Options, Rate};
use crate::proxy::{self, Network};
use crate::state::Control;

const BUCKETS: u64 = 65_536;

/// Puts the limit before a route.
pub(crate) fn limited(route: MethodRouter<Control>, rate: Rate, options: &Options) -> MethodRouter<Control> {
    let trusted = options.trusted_proxies.clone().into();
    let config = GovernorConfigBuilder::default()
        .period(rate.period())
        .burst_size(rate.burst.max(1))
        .key_extractor(Neighbourhood { trusted, hasher: RandomState::new() })
        .finish()
        .expect("neither period nor burst is zero");
    route.layer(GovernorLayer::new(config).error_handler(refusal))
}

fn refusal(error: GovernorError) -> Response<Body> {
    let problem = match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            let detail = "Too many attempts came from your network. Wait a little.";
            // The wait is told in whole seconds, rounded down: one more is on the safe side.
            Problem::new(ErrorCode::RateLimited, detail).retry_after_ms((wait_time + 1) * 1_000)
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => Problem::of(ErrorCode::Internal),
    };
    ApiProblem::from(problem).into_response()
}

#[derive(Debug, Clone)]
struct Neighbourhood {
    trusted: Arc<[Network]>,
    hasher: RandomState,
}

impl KeyExtractor for Neighbourhood {
    type Key = u64;

    fn extract<T>(&self, request: &http::Request<T>) -> Result<u64, GovernorError> {
        // Without an address everybody shares one bucket: the limit fails closed.
        let client = proxy::client(request.extensions(), request.headers(), &self.trusted);
        Ok(self.hasher.hash_one(client.map(proxy::neighbourhood)) % BUCKETS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::ConnectInfo;
    use std::net::SocketAddr;

    #[test]
    fn a_spoofed_header_does_not_change_the_bucket() {
        let extractor = Neighbourhood { trusted: Arc::new([]), hasher: RandomState::new() };
        let bucket = |peer: &str, forwarded: &str| {
            let mut request = http::Request::builder().header("x-forwarded-for", forwarded).body(()).expect("valid");
            let peer: SocketAddr = peer.parse().expect(peer);
            request.extensions_mut().insert(ConnectInfo(peer));
            extractor.extract(&request).expect("there is always a bucket")
        };
        let own = bucket("203.0.113.5:1", "1.1.1.1");
        for spoof in 0..30 {
            assert_eq!(bucket(&format!("203.0.113.{spoof}:9"), &format!("10.0.0.{spoof}, 8.8.8.{spoof}")), own);
        }
        let others = (0..64).filter(|other| bucket(&format!("198.51.{other}.5:1"), "") != own).count();
        assert!(others > 60, "neighbourhoods are told apart");
    }
}
