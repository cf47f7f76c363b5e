//! Whether a Redis is fit.

use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, cmd};
use tokio::time::timeout;

use crate::lane::CONNECT_WITHIN;

/// The oldest version with functions and sharded subscriptions.
const VERSION_MIN: (u32, u32) = (7, 0);

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The URL cannot be used.
    #[error("REDIS_URL cannot be used: {0}")]
    Url(String),
    /// It is too old.
    #[error("Redis {version} is too old: version 7.0 or later is needed")]
    Version {
        /// What it says of itself.
        version: String,
    },
    /// It evicts what it holds when its memory is full.
    #[error(
        "Redis has the eviction policy `{policy}`: with anything but `noeviction` it would forget messages silently; set maxmemory-policy to noeviction"
    )]
    Eviction {
        /// Its policy.
        policy: String,
    },
    /// It refuses this user what a node needs.
    #[error("Redis refuses: {0}")]
    Refused(String),
}

/// Looks at a Redis: its version, or `None` where it does not answer yet, and may be fit.
///
/// # Errors
/// Says what is wrong with the URL or with that Redis.
pub async fn check(url: &str) -> Result<Option<String>, StartError> {
    look(&client(url)?).await
}

/// What speaks to the Redis at this URL.
pub(crate) fn client(url: &str) -> Result<Client, StartError> {
    let wrong = |error: redis::RedisError| StartError::Url(error.to_string());
    let info = url.into_connection_info().map_err(wrong)?;
    // Pushes beside answers on one connection are RESP3's.
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(redis)).map_err(wrong)
}

pub(crate) async fn look(client: &Client) -> Result<Option<String>, StartError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(CONNECT_WITHIN));
    let asked = timeout(2 * CONNECT_WITHIN, async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        cmd("INFO").query_async::<String>(&mut connection).await
    });
    match asked.await {
        Ok(Ok(info)) => judge(&info).map(Some),
        Ok(Err(error)) if error.is_io_error() || error.is_timeout() || error.code() == Some("LOADING") => Ok(None),
        Ok(Err(error)) => Err(StartError::Refused(error.to_string())),
        Err(_) => Ok(None),
    }
}

fn judge(info: &str) -> Result<String, StartError> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = field("redis_version").unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let known = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if known < VERSION_MIN {
        return Err(StartError::Version { version: version.to_owned() });
    }
    let policy = field("maxmemory_policy").unwrap_or("unknown");
    if policy != "noeviction" {
        return Err(StartError::Eviction { policy: policy.to_owned() });
    }
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_or_forgets_is_refused_by_name() {
        let info = |version: &str, policy: &str| {
            format!("# Server\r\nredis_version:{version}\r\nos:x\r\n# Memory\r\nmaxmemory_policy:{policy}\r\n")
        };
        for version in ["7.0.0", "7.0.15", "8.2.1", "10.0.0"] {
            assert!(judge(&info(version, "noeviction")).is_ok(), "{version}");
        }
        for version in ["6.2.14", "6.99.9", "", "x"] {
            assert!(matches!(judge(&info(version, "noeviction")), Err(StartError::Version { .. })), "{version}");
        }
        for policy in ["allkeys-lru", "volatile-ttl", ""] {
            assert!(matches!(judge(&info("7.2.0", policy)), Err(StartError::Eviction { .. })), "{policy}");
        }
    }
}
