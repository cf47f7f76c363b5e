//! Whether a Redis is fit.

use redis::{ErrorKind, RedisError, RedisResult, cmd};
use tokio::time::timeout;

use crate::names;
use crate::place::{CONNECT_WITHIN, Place};
use crate::tls::{self, RedisTls};

/// The oldest version with functions and sharded subscriptions.
const VERSION_MIN: (u32, u32) = (7, 0);

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The URL cannot be used.
    #[error("REDIS_URL cannot be used: {0}")]
    Url(String),
    /// There is no TLS with it.
    #[error("TLS to Redis cannot be had: {0}")]
    Tls(String),
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
    /// It holds what belongs to another platform.
    #[error(
        "this Redis holds what belongs to another platform, as its key {key} says: use a Redis of its own for each, or delete that key"
    )]
    Foreign {
        /// The key that says whose it is.
        key: &'static str,
    },
    /// It refuses this user what a node needs.
    #[error("Redis refuses: {0}")]
    Refused(String),
}

/// Looks at a Redis: its version, or `None` where it does not answer yet, and may be fit.
///
/// # Errors
/// Says what is wrong with the URL or with that Redis.
pub async fn check(url: &str, tls: &RedisTls) -> Result<Option<String>, StartError> {
    look(&Place::new(url, tls)?, None).await
}

/// The same of a place; where a platform is given, it must not belong to another.
pub(crate) async fn look(place: &Place, platform: Option<&str>) -> Result<Option<String>, StartError> {
    let asked = timeout(2 * CONNECT_WITHIN, async {
        let (mut connection, _) = place.connect(|_| Ok::<(), ()>(())).await?;
        let info = cmd("INFO").query_async::<String>(&mut connection).await?;
        let owner = cmd("GET").arg(names::OWNER).query_async::<Option<String>>(&mut connection).await?;
        RedisResult::Ok((info, owner))
    });
    match asked.await {
        Ok(Ok((info, owner))) => {
            let version = judge(&info)?;
            match (owner, platform) {
                (Some(owner), Some(platform)) if owner != platform => Err(StartError::Foreign { key: names::OWNER }),
                _ => Ok(Some(version)),
            }
        }
        Ok(Err(error)) if error.kind() == ErrorKind::MasterNameNotFoundBySentinel => {
            Err(StartError::Url(error.to_string()))
        }
        Ok(Err(error)) if tls::is_wrong(&error) => Err(StartError::Tls(error.to_string())),
        Ok(Err(error)) if is_away(&error) => Ok(None),
        Ok(Err(error)) => Err(StartError::Refused(error.to_string())),
        Err(_) => Ok(None),
    }
}

/// Whether it may be there later.
fn is_away(error: &RedisError) -> bool {
    let is_loading = matches!(error.code(), Some("LOADING" | "MASTERDOWN"));
    error.is_io_error() || error.is_timeout() || is_loading
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
