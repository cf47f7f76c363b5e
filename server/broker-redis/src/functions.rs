//! The functions that Redis runs for us. Their names carry a digest of their text, so that no version of Fanfare calls
//! those of another, and several work side by side on the same data.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ToRedisArgs, cmd};
use sha2::{Digest as _, Sha256};

use crate::names;
use crate::place::Place;

/// Logs, what apps hold, who is present, and what limits share: one library, because logs and presence go by one lineage.
const SOURCE: &str = concat!(
    include_str!("functions.lua"),
    "\n",
    include_str!("holdings.lua"),
    "\n",
    include_str!("presence.lua"),
    "\n",
    include_str!("budget.lua")
);

/// The library and the names of its functions.
pub(crate) struct Functions {
    source: String,
    /// The same Redis for who may load the library, where nodes may not.
    loader: Option<Place>,
    /// Says whose platform this is.
    platform: String,
    begin: String,
    mark: String,
    publish: String,
    read: String,
    delete: String,
    hold: String,
    beat: String,
    put: String,
    leave: String,
    who: String,
    due: String,
    reap: String,
    clear: String,
    share: String,
}

impl Functions {
    pub(crate) fn new(loader: Option<Place>, platform: String) -> Self {
        let digest = Sha256::digest(SOURCE);
        let version = format!("{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
        let name = |what: &str| format!("ff_{what}_{version}");
        Self {
            source: SOURCE.replace("VERSION", &version),
            loader,
            platform,
            begin: name("begin"),
            mark: name("mark"),
            publish: name("pub"),
            read: name("read"),
            delete: name("del"),
            hold: name("hold"),
            beat: name("beat"),
            put: name("put"),
            leave: name("leave"),
            who: name("who"),
            due: name("due"),
            reap: name("reap"),
            clear: name("clear"),
            share: name("share"),
        }
    }

    /// Makes sure of a connection before anything is asked of it: that it leads to a master, to this platform's Redis, and
    /// that the functions are there.
    pub(crate) async fn begin(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut call = call(&self.begin, &[names::OWNER]);
        call.arg(&self.platform);
        let told: RedisResult<String> = call.query_async(connection).await;
        let owner = match told {
            Err(error) if error.to_string().contains(UNKNOWN_FUNCTION) => {
                self.load(connection).await?;
                call.query_async(connection).await?
            }
            told => told?,
        };
        if owner == self.platform { Ok(()) } else { Err(foreign()) }
    }

    /// Loads the library where it is not there, over a connection of the loader's where there is one. It is never replaced:
    /// its name says what it is.
    pub(crate) async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut own;
        let connection = match &self.loader {
            Some(loader) => {
                (own, _) = loader.connect(|_| Ok::<(), ()>(())).await?;
                &mut own
            }
            None => connection,
        };
        let loaded: RedisResult<()> = cmd("FUNCTION").arg("LOAD").arg(&self.source).query_async(connection).await;
        match loaded {
            Err(error) if error.to_string().contains("already exists") => Ok(()),
            loaded => loaded,
        }
    }

    pub(crate) fn mark(&self) -> Cmd {
        call(&self.mark, &[names::MARK])
    }

    pub(crate) fn publish(&self, keys: &[String]) -> Cmd {
        call(&self.publish, keys)
    }

    pub(crate) fn read(&self, keys: &[String]) -> Cmd {
        call(&self.read, keys)
    }

    pub(crate) fn hold(&self, account: &[String]) -> Cmd {
        call(&self.hold, account)
    }

    pub(crate) fn beat(&self, nodes: &str) -> Cmd {
        call(&self.beat, &[nodes])
    }

    pub(crate) fn put(&self, room: &str) -> Cmd {
        call(&self.put, &[room])
    }

    pub(crate) fn leave(&self, room: &str) -> Cmd {
        call(&self.leave, &[room])
    }

    pub(crate) fn who(&self, room: &str) -> Cmd {
        call(&self.who, &[room])
    }

    pub(crate) fn due(&self) -> Cmd {
        call(&self.due, &[] as &[&str])
    }

    pub(crate) fn reap(&self) -> Cmd {
        call(&self.reap, &[] as &[&str])
    }

    pub(crate) fn clear(&self, app: &str) -> Cmd {
        call(&self.clear, &[app])
    }

    pub(crate) fn share(&self, accounts: &[String]) -> Cmd {
        call(&self.share, accounts)
    }

    pub(crate) fn delete(&self, keys: &[String]) -> Cmd {
        call(&self.delete, keys)
    }
}

fn call(function: &str, keys: &[impl ToRedisArgs]) -> Cmd {
    let mut call = cmd("FCALL");
    call.arg(function).arg(keys.len()).arg(keys);
    call
}

/// What Redis says of a function that it does not have.
pub(crate) const UNKNOWN_FUNCTION: &str = "Function not found";

/// A Redis that is somebody else's.
fn foreign() -> RedisError {
    (
        ErrorKind::Client,
        "it holds what belongs to another platform",
        format!("its key {} names that; use a Redis of its own for each, or delete that key", names::OWNER),
    )
        .into()
}
