//! Where Redis is: at one address, or wherever its sentinels say that its master is.
//!
//! ```text
//!   a connection begins ─▶ ask all sentinels ─▶ the newest configuration's master ─▶ ff_begin: a master, and this platform's
//!   each second         ─▶ ask all sentinels ─▶ another master? ─▶ every connection to the old one ends
//! ```
//!
//! What a sentinel says may be old: its answer counts as much as the epoch of the configuration it knows (Redis Sentinel,
//! "configuration epochs"), and whether it is true is said by the Redis itself, which refuses to begin as a replica.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, ProtocolVersion,
    RedisConnectionInfo, RedisError, RedisResult, cmd,
};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tracing::{info, warn};

use crate::probe::StartError;
use crate::tls::{self, RedisTls};

/// How long connecting may take.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How long a batch of commands may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How a URL of sentinels begins, without TLS and with.
const SENTINELS: &str = "redis+sentinel://";
const SENTINELS_TLS: &str = "rediss+sentinel://";
const SENTINEL_PORT: u16 = 26_379;
/// More are not asked.
const SENTINELS_MAX: usize = 16;
/// How long sentinels may take.
const SAID_WITHIN: Duration = Duration::from_millis(600);
/// How long the rest may take once most of them have answered.
const REST_WITHIN: Duration = Duration::from_millis(100);
/// How often sentinels are asked whether the master is still the one.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Where Redis is.
pub(crate) struct Place {
    how: How,
    tls: RedisTls,
    /// The master that connections are made to, once one was.
    used: watch::Sender<Option<Address>>,
}

enum How {
    At(Box<ConnectionInfo>),
    Sentinels(Sentinels),
}

type Address = Arc<(String, u16)>;

/// The sentinels of a master.
struct Sentinels {
    all: Vec<Sentinel>,
    /// The master's name among them.
    name: String,
    /// As whom it is spoken to.
    redis: RedisConnectionInfo,
    /// Whether all of them are spoken to over TLS.
    is_tls: bool,
}

struct Sentinel {
    info: ConnectionInfo,
    /// The connection to it while it works.
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What a sentinel says.
struct Said {
    master: Address,
    /// Of its configuration: the higher is the newer.
    epoch: u64,
}

/// Why there is no master.
#[derive(Debug)]
enum Silence {
    /// No sentinel answers.
    Silent,
    /// Those that answer do not take the user of the URL.
    Refused,
    /// Those that answer know none of this name.
    Unknown,
    /// There is no TLS with them.
    Untrusted(RedisError),
}

/// A connection's place: it may turn out to be another's.
pub(crate) struct Stay {
    at: Option<Address>,
    used: watch::Receiver<Option<Address>>,
}

impl Stay {
    /// Waits until the master is elsewhere.
    pub(crate) async fn is_over(&mut self) {
        let Some(at) = self.at.clone() else { return std::future::pending().await };
        if self.used.wait_for(|used| used.as_ref() != Some(&at)).await.is_err() {
            // Nobody will say any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Place {
    /// Takes `redis://`, `redis+unix://` and `redis+sentinel://[user:password@]host[:port][,…]/<name>[?db=…]`; `rediss` in
    /// place of `redis` is over TLS, for which `tls` has what is needed beside what everybody trusts.
    ///
    /// # Errors
    /// Says what is wrong with the URL.
    pub(crate) fn new(url: &str, tls: &RedisTls) -> Result<Self, StartError> {
        let sentinels = [(SENTINELS, false), (SENTINELS_TLS, true)];
        let sentinels = sentinels.iter().find_map(|(begin, is_tls)| Some((url.strip_prefix(begin)?, *is_tls)));
        let (how, is_tls) = match sentinels {
            Some((rest, is_tls)) => (How::Sentinels(Sentinels::new(rest, is_tls)?), is_tls),
            None => {
                let info = url.into_connection_info().map_err(wrong)?;
                let is_tls = match info.addr() {
                    ConnectionAddr::TcpTls { insecure: true, .. } => {
                        return Err(StartError::Url(
                            "`#insecure` is not taken: give what signed its certificate".into(),
                        ));
                    }
                    ConnectionAddr::TcpTls { .. } => true,
                    _ => false,
                };
                let redis = resp3(info.redis_settings().clone());
                (How::At(Box::new(info.set_redis_settings(redis))), is_tls)
            }
        };
        tls.check(is_tls)?;
        Ok(Self { how, tls: tls.clone(), used: watch::Sender::new(None) })
    }

    /// Connects to the master, as far as is known; what it is told by pushes goes to `push`.
    ///
    /// # Errors
    /// When nobody says where it is, or it does not answer in time.
    pub(crate) async fn connect(&self, push: impl AsyncPushSender) -> RedisResult<(MultiplexedConnection, Stay)> {
        let used = self.used.subscribe();
        let (info, at) = match &self.how {
            How::At(info) => ((**info).clone(), None),
            How::Sentinels(sentinels) => {
                let master = sentinels.master(&self.tls).await?;
                self.used.send_if_modified(|used| {
                    let is_another = used.as_ref() != Some(&master);
                    if is_another {
                        info!(host = master.0, port = master.1, "sentinels name the master of Redis");
                    }
                    *used = Some(Arc::clone(&master));
                    is_another
                });
                (sentinels.info(&master)?, Some(master))
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN))
            .set_push_sender(push);
        let client = self.tls.client(info).await?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok((connection, Stay { at, used }))
    }

    /// Ends connections to a master that is none any more, until it is dropped.
    pub(crate) async fn watch(&self) {
        let How::Sentinels(sentinels) = &self.how else { return };
        let mut again = interval(WATCH_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            again.tick().await;
            let Ok(master) = sentinels.master(&self.tls).await else { continue };
            self.used.send_if_modified(|used| {
                // Where nothing is connected yet there is nothing to end.
                let is_another = used.as_ref().is_some_and(|used| *used != master);
                if is_another {
                    warn!(host = master.0, port = master.1, "the master of Redis is another now");
                    *used = Some(Arc::clone(&master));
                }
                is_another
            });
        }
    }
}

/// What speaks RESP3, whose pushes stand beside answers on one connection.
fn resp3(redis: RedisConnectionInfo) -> RedisConnectionInfo {
    redis.set_protocol(ProtocolVersion::RESP3)
}

fn wrong(error: RedisError) -> StartError {
    StartError::Url(error.to_string())
}

impl Sentinels {
    fn new(rest: &str, is_tls: bool) -> Result<Self, StartError> {
        let wrong_here =
            |why: &str| StartError::Url(format!("{why} (redis+sentinel://host:26379,…/<name of the master>)"));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        // Each by itself is a URL as of any Redis.
        let one = |host: &str| {
            redis::parse_redis_url(&format!("redis://{host}/{path}"))
                .filter(|url| !host.is_empty() && url.username().is_empty())
                .ok_or_else(|| wrong_here("it is not a list of sentinels"))
        };
        let hosts: Vec<&str> = hosts.split(',').collect();
        if hosts.len() > SENTINELS_MAX {
            return Err(wrong_here("it names more than 16 sentinels"));
        }
        let first = one(hosts[0])?;
        let name = first.path().trim_start_matches('/').to_owned();
        if name.is_empty() || name.contains(['/', '%']) {
            return Err(wrong_here("it does not say the name of the master"));
        }
        let (mut db, mut sentinel) = (0, RedisConnectionInfo::default());
        for (key, value) in first.query_pairs() {
            match &*key {
                "db" => db = value.parse().map_err(|_| wrong_here("its db is not a number"))?,
                "sentinel_user" => sentinel = sentinel.set_username(&value),
                "sentinel_password" => sentinel = sentinel.set_password(&value),
                other => return Err(wrong_here(&format!("it has an unknown parameter `{other}`"))),
            }
        }
        let credentials = format!("redis://{user}{}master", if user.is_empty() { "" } else { "@" });
        let redis = credentials.as_str().into_connection_info().map_err(wrong)?.redis_settings().clone().set_db(db);
        let mut all = Vec::with_capacity(hosts.len());
        for host in hosts {
            let url = one(host)?;
            let named = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let at = address(named, url.port().unwrap_or(SENTINEL_PORT), is_tls);
            let info = at.into_connection_info().map_err(wrong)?.set_redis_settings(sentinel.clone());
            all.push(Sentinel { info, connection: Mutex::default() });
        }
        Ok(Self { all, name, redis: resp3(redis), is_tls })
    }

    /// How this master is spoken to.
    fn info(&self, (host, port): &(String, u16)) -> RedisResult<ConnectionInfo> {
        let info = address(host.clone(), *port, self.is_tls).into_connection_info()?;
        Ok(info.set_redis_settings(self.redis.clone()))
    }

    /// Where the master is by the newest configuration that a sentinel knows. All are asked; once most have answered the
    /// rest have little time.
    async fn master(&self, tls: &RedisTls) -> RedisResult<Address> {
        let mut asked: FuturesUnordered<_> = self.all.iter().map(|sentinel| sentinel.master(&self.name, tls)).collect();
        let (mut newest, mut answers, mut why) = (None::<Said>, 0, Silence::Silent);
        let mut deadline = Instant::now() + SAID_WITHIN;
        while let Ok(Some(answer)) = timeout_at(deadline, asked.next()).await {
            match answer {
                Ok(said) if newest.as_ref().is_none_or(|newest| newest.epoch < said.epoch) => newest = Some(said),
                Ok(_) => {}
                Err(Silence::Silent) => continue,
                Err(untrusted @ Silence::Untrusted(_)) => {
                    why = untrusted;
                    continue;
                }
                Err(other) => why = other,
            }
            answers += 1;
            if answers == self.all.len() / 2 + 1 {
                deadline = deadline.min(Instant::now() + REST_WITHIN);
            }
        }
        newest.map(|said| said.master).ok_or_else(|| why.into())
    }
}

impl Sentinel {
    async fn master(&self, name: &str, tls: &RedisTls) -> Result<Said, Silence> {
        let mut connection = self.connection(tls).await.map_err(Silence::of)?;
        let told: RedisResult<HashMap<String, String>> =
            cmd("SENTINEL").arg("MASTER").arg(name).query_async(&mut connection).await;
        let told = match told {
            Ok(told) => told,
            Err(error) if error.to_string().contains("No such master") => return Err(Silence::Unknown),
            Err(error) => {
                warn!(%error, "a sentinel does not answer");
                *self.connection.lock().await = None;
                return Err(Silence::of(error));
            }
        };
        let number = |field: &str| told.get(field).and_then(|number| number.parse::<u64>().ok());
        let port = number("port").and_then(|port| u16::try_from(port).ok());
        match (told.get("ip"), port, number("config-epoch")) {
            (Some(host), Some(port), Some(epoch)) => Ok(Said { master: Arc::new((host.clone(), port)), epoch }),
            _ => Err(Silence::Silent),
        }
    }

    async fn connection(&self, tls: &RedisTls) -> RedisResult<MultiplexedConnection> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(SAID_WITHIN))
            .set_response_timeout(Some(SAID_WITHIN));
        let client = tls.client(self.info.clone()).await?;
        let new = client.get_multiplexed_async_connection_with_config(&config).await?;
        *connection = Some(new.clone());
        Ok(new)
    }
}

fn address(host: String, port: u16, is_tls: bool) -> ConnectionAddr {
    if is_tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

impl Silence {
    fn of(error: RedisError) -> Self {
        let is_refused = error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
        match error {
            _ if is_refused => Self::Refused,
            error if tls::is_wrong(&error) => Self::Untrusted(error),
            _ => Self::Silent,
        }
    }
}

impl From<Silence> for RedisError {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::Silent => io::Error::new(io::ErrorKind::NotConnected, "no sentinel answers").into(),
            Silence::Refused => {
                (ErrorKind::AuthenticationFailed, "sentinels refuse their user (sentinel_user, sentinel_password)")
                    .into()
            }
            Silence::Unknown => {
                (ErrorKind::MasterNameNotFoundBySentinel, "no sentinel knows a master of this name").into()
            }
            Silence::Untrusted(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_sentinels_says_who_they_are_and_as_whom_the_master_is_spoken_to() {
        let url =
            "redis+sentinel://fan:p%40ss@one,[::1]:7,three:26380/main?db=2&sentinel_user=s&sentinel_password=t%26";
        let place = Place::new(url, &RedisTls::default()).expect("a URL");
        let How::Sentinels(sentinels) = place.how else { panic!("not of sentinels") };
        let at = |sentinel: &Sentinel| sentinel.info.addr().to_string();
        assert_eq!(sentinels.all.iter().map(at).collect::<Vec<_>>(), ["one:26379", "::1:7", "three:26380"]);
        assert_eq!(sentinels.name, "main");
        assert_eq!((sentinels.redis.username(), sentinels.redis.password()), (Some("fan"), Some("p@ss")));
        assert_eq!((sentinels.redis.db(), sentinels.redis.protocol()), (2, ProtocolVersion::RESP3));
        let of = sentinels.all[0].info.redis_settings();
        assert_eq!((of.username(), of.password()), (Some("s"), Some("t&")));
    }

    #[test]
    fn what_is_wrong_with_a_url_of_sentinels_is_said_without_its_password() {
        let many = format!("redis+sentinel://{}/main", ["one"; 17].join(","));
        for (url, word) in [
            ("redis+sentinel://fan:secret@one,two", "name of the master"),
            ("redis+sentinel://fan:secret@one/", "name of the master"),
            ("redis+sentinel://fan:secret@one/a/b", "name of the master"),
            ("redis+sentinel://fan:secret@/main", "list of sentinels"),
            ("redis+sentinel://fan:secret@one,,two/main", "list of sentinels"),
            ("redis+sentinel://fan:secret@one:x/main", "list of sentinels"),
            ("redis+sentinel://fan:secret@one/main?db=x", "db"),
            ("redis+sentinel://fan:secret@one/main?sentinels=3", "`sentinels`"),
            (&*many, "more than 16"),
        ] {
            let Err(error) = Place::new(url, &RedisTls::default()) else { panic!("{url} was taken") };
            let said = error.to_string();
            assert!(said.contains(word) && !said.contains("secret"), "{url}: {said}");
        }
    }

    #[test]
    fn what_tls_needs_is_only_taken_where_there_is_tls_and_as_a_whole() {
        let (file, none) = (|| Some("x.pem".into()), RedisTls::default());
        let ca = RedisTls { ca: file(), ..none.clone() };
        let whole = RedisTls { certificate: file(), key: file(), ..ca.clone() };
        for url in ["rediss://one", "rediss://fan:p@one:7/2", "rediss+sentinel://one,two/main"] {
            for tls in [&none, &ca, &whole] {
                assert!(Place::new(url, tls).is_ok(), "{url}, {tls:?}");
            }
        }
        let certificate = RedisTls { certificate: file(), ..none.clone() };
        let key = RedisTls { key: file(), ..none.clone() };
        for (url, tls, word) in [
            ("redis://fan:secret@one", &ca, "rediss"),
            ("redis+unix:///one", &whole, "rediss"),
            ("redis+sentinel://one/main", &ca, "rediss"),
            ("rediss://one", &certificate, "redis_tls_key"),
            ("rediss://one", &key, "redis_tls_certificate"),
            ("rediss://fan:secret@one/#insecure", &none, "insecure"),
        ] {
            let Err(error) = Place::new(url, tls) else { panic!("{url}, {tls:?} was taken") };
            let said = error.to_string();
            assert!(said.contains(word) && !said.contains("secret"), "{url}: {said}");
        }
    }
}
