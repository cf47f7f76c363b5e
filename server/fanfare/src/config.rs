//! The configuration: a TOML file, then the environment over it, unknown names refused.
//!
//! `FANFARE_<KEY>` sets a key of the top, `FANFARE_<SECTION>__<KEY>` one of a section; `DATABASE_URL`, `REDIS_URL` and
//! `REDIS_LOADER_URL` are taken without a prefix because everybody sets them so. `config/default.toml` is the commented
//! whole that `fanfare config` prints; a test holds it equal to the defaults in here.

use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::{env, fmt};

use anyhow::{Context as _, Result, anyhow};
use clap::ValueEnum;
use fanfare_broker_redis::RedisTls;
use fanfare_core::secret::SecretBytes;
use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format as _, Toml};
use serde::Deserialize;

use crate::postgres::own_uid;

/// The commented whole.
pub(crate) const TEXT: &str = include_str!("config/default.toml");

/// Variables with our prefix that belong to the command line as a client, or name the file itself.
const NOT_OPTIONS: &[&str] = &["FANFARE_URL", "FANFARE_KEY", "FANFARE_TOKEN", "FANFARE_CONFIG"];

/// Everything a server can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// What this process does.
    pub(crate) role: Role,
    /// Where files are kept.
    pub(crate) data: Option<PathBuf>,
    /// Where the private Postgres's binaries are.
    pub(crate) pg_bin: Option<PathBuf>,
    /// A Postgres of one's own, as a role that may create roles and tables.
    pub(crate) database_url: Option<Secret>,
    /// A Redis in which messages are kept, and through which nodes hear each other's.
    pub(crate) redis_url: Option<Secret>,
    /// The same Redis as a user who may load functions, where that of `redis_url` may not.
    pub(crate) redis_loader_url: Option<Secret>,
    /// On how many replicas of Redis a message has to be that is acknowledged as `replicated`; 1 where it is not said.
    pub(crate) redis_replicas: Option<NonZeroU8>,
    /// Who may have signed the certificate of Redis.
    pub(crate) redis_tls_ca: Option<PathBuf>,
    /// The certificate of this node, where Redis asks for one.
    pub(crate) redis_tls_certificate: Option<PathBuf>,
    /// Its key.
    pub(crate) redis_tls_key: Option<PathBuf>,
    /// 32 bytes in base64 that seal secrets in Postgres.
    pub(crate) master_key: Option<Secret>,
    /// The one before, while a rotation is under way.
    pub(crate) master_key_previous: Option<Secret>,
    /// Where to listen.
    pub(crate) listen: Listen,
    /// Where others find us.
    pub(crate) public: Public,
    /// TLS and the bounds of what a client may cost before it is known.
    pub(crate) gateway: fanfare_gateway::Options,
    /// Sessions, proxies, and how often people may sign up and in.
    pub(crate) control: fanfare_control::Options,
    /// Connections of this node.
    pub(crate) node: Node,
    /// What the in-memory broker keeps.
    pub(crate) memory: Memory,
    /// Kept figures.
    pub(crate) statistics: Statistics,
    /// How keys of issuers are fetched.
    pub(crate) jwks: Jwks,
    /// Connections to Postgres.
    pub(crate) store: Pools,
    /// What is logged, and how.
    pub(crate) log: Log,
    /// How a stop goes.
    pub(crate) stop: Stop,
}

/// What a process does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Everything.
    #[default]
    All,
    /// The dashboard and the control-plane REST API.
    Control,
    /// The realtime connections and the data-plane REST API.
    Gateway,
}

impl Role {
    /// Whether it serves the control plane.
    pub(crate) const fn has_control(self) -> bool {
        matches!(self, Self::All | Self::Control)
    }

    /// Whether it serves the data plane.
    pub(crate) const fn has_gateway(self) -> bool {
        matches!(self, Self::All | Self::Gateway)
    }
}

/// Where to listen. Port 0 takes a free one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    /// Realtime and data-plane REST.
    pub(crate) gateway: SocketAddr,
    /// Dashboard and control-plane REST.
    pub(crate) control: SocketAddr,
    /// Health, readiness and metrics.
    pub(crate) private: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let any = [0, 0, 0, 0];
        Self { gateway: (any, 8000).into(), control: (any, 8001).into(), private: ([127, 0, 0, 1], 8002).into() }
    }
}

/// The addresses that are printed, put into links, and compared with `Origin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Public {
    /// The gateway's; `http://localhost:<port>` when it is not set.
    pub(crate) gateway_url: Option<String>,
    /// The dashboard's; `http://localhost:<port>` when it is not set.
    pub(crate) control_url: Option<String>,
}

/// Connections of this node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    /// Threads that serve clients; 0 for one less than the machine has cores, and one at least.
    pub(crate) threads: usize,
    /// How many, over all apps.
    pub(crate) connections_max: u64,
    /// How many are let in a second; the others are told when to come again.
    pub(crate) connects_per_s: u64,
    /// How many are let in at once after a quiet time.
    pub(crate) connects_burst: u64,
    /// How long a client may take until its `connect`, in milliseconds.
    pub(crate) connect_within_ms: u64,
    /// How much memory the process may have, in bytes: from four fifths of it nobody new is let in, from nine tenths on
    /// connections are let go. 0 does not look.
    pub(crate) memory_bytes_max: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            threads: 0,
            connections_max: 100_000,
            connects_per_s: 5_000,
            connects_burst: 10_000,
            connect_within_ms: 5_000,
            memory_bytes_max: 0,
        }
    }
}

/// What is kept in memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Memory {
    /// Bytes of history over all apps.
    pub(crate) history_bytes_max: u64,
    /// Channels that are remembered.
    pub(crate) channels_max: u64,
    /// Bytes of members present, over all apps.
    pub(crate) presence_bytes_max: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { history_bytes_max: 1024 * 1024 * 1024, channels_max: 2_000_000, presence_bytes_max: 1024 * 1024 * 1024 }
    }
}

/// Kept figures.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Statistics {
    /// How often figures are read off the node and written, in milliseconds, at most 10 s.
    pub(crate) every_ms: u64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { every_ms: 10_000 }
    }
}

/// How keys of issuers are fetched from their URLs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jwks {
    /// Hosts that may have addresses which are not public, and other ports than 443: names or addresses as URLs have them.
    pub(crate) hosts_allowed: Vec<String>,
    /// How often keys are fetched anew, at most; half of it at least.
    pub(crate) refresh_ms: u64,
    /// How long an issuer is left alone after a fetch, whatever tokens ask for. Failures wait longer and longer.
    pub(crate) fetch_apart_ms: u64,
    /// How long one fetch may take.
    pub(crate) timeout_ms: u64,
}

impl Default for Jwks {
    fn default() -> Self {
        Self { hosts_allowed: Vec::new(), refresh_ms: 600_000, fetch_apart_ms: 60_000, timeout_ms: 5_000 }
    }
}

/// Connections to Postgres.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pools {
    /// For requests of signed-in members.
    pub(crate) app_connections_max: u32,
    /// For signing up and in, and session checks.
    pub(crate) auth_connections_max: u32,
    /// For the change feed; one of them listens.
    pub(crate) feed_connections_max: u32,
    /// How long a request waits for a free connection, in milliseconds.
    pub(crate) acquire_timeout_ms: u64,
    /// How long one statement may take, in milliseconds.
    pub(crate) statement_timeout_ms: u64,
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            app_connections_max: 8,
            auth_connections_max: 4,
            feed_connections_max: 3,
            acquire_timeout_ms: 900,
            statement_timeout_ms: 5_000,
        }
    }
}

/// What is logged, to stderr.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// A filter as `tracing` reads it.
    pub(crate) filter: String,
    /// For people or for programs.
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,sqlx=warn".to_owned(), format: LogFormat::Text }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// Message and fields.
    Text,
    /// One JSON object.
    Json,
}

/// How a stop goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stop {
    /// How long connections are given to move elsewhere, in milliseconds.
    pub(crate) drain_ms: u64,
    /// Over what part of it they are told to, in milliseconds.
    pub(crate) reconnect_window_ms: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { drain_ms: 30_000, reconnect_window_ms: 10_000 }
    }
}

/// A text that does not print.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Secret(SecretBytes);

impl Secret {
    /// The text, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        std::str::from_utf8(self.0.expose()).expect("a secret is made of a string")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(SecretBytes::new(text.into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(redacted)")
    }
}

impl Options {
    /// The files of TLS to Redis.
    pub(crate) fn redis_tls(&self) -> RedisTls {
        RedisTls {
            ca: self.redis_tls_ca.clone(),
            certificate: self.redis_tls_certificate.clone(),
            key: self.redis_tls_key.clone(),
        }
    }

    /// Reads the file, if there is one, and the environment.
    ///
    /// # Errors
    /// When the file cannot be read, or a key is unknown or of the wrong type; the message names it and its source.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self> {
        let mut figment = Figment::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the configuration {}", path.display()))?;
            figment = figment.merge(Toml::string(&text));
        }
        let taken = |name: &str| !NOT_OPTIONS.contains(&format!("FANFARE_{}", name.to_ascii_uppercase()).as_str());
        let options = Env::prefixed("FANFARE_")
            .filter(move |name| taken(name.as_str()) && !is_service_link(name.as_str()))
            .split("__");
        figment = figment.merge(options).merge(Env::raw().only(&["DATABASE_URL", "REDIS_URL", "REDIS_LOADER_URL"]));
        figment.extract().map_err(|error| explain(error, file))
    }

    /// The data directory: as told, else one that fits who we are.
    ///
    /// # Errors
    /// When there is neither a home nor an answer to who we are.
    pub(crate) fn data_dir(&self) -> Result<PathBuf> {
        let directory = match &self.data {
            Some(path) => path.clone(),
            None if own_uid()? == 0 => PathBuf::from("/var/lib/fanfare"),
            None => {
                let base = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
                let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
                base.or_else(home).context("there is no HOME: set FANFARE_DATA to a directory")?.join("fanfare")
            }
        };
        std::path::absolute(&directory).with_context(|| format!("no such path: {}", directory.display()))
    }
}

/// Kubernetes sets such variables for a service called `fanfare`: they are not meant for us.
fn is_service_link(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts: Vec<&str> = name.split('_').collect();
    matches!(parts.as_slice(), ["port"] | ["port", _, "tcp", ..] | ["service", ..])
        || parts.windows(2).any(|pair| matches!(pair, ["service", "host" | "port"]))
        || parts.windows(3).any(|three| three[0] == "port" && ["tcp", "udp"].contains(&three[2]))
}

fn explain(error: figment::Error, file: Option<&Path>) -> anyhow::Error {
    let mut text = String::from("the configuration is not valid:");
    for one in error {
        let from_env = one.metadata.as_ref().is_some_and(|source| source.name.contains("environment"));
        let place = match (from_env, file) {
            (true, _) | (false, None) if one.path.is_empty() => "in the environment".to_owned(),
            (true, _) | (false, None) => format!("FANFARE_{}", one.path.join("__").to_ascii_uppercase()),
            (false, Some(path)) => format!("{}, `{}`", path.display(), one.path.join(".")),
        };
        let why = match &one.kind {
            Kind::UnknownField(_, known) => format!("there is no such key here; there are {}", known.join(", ")),
            kind => kind.to_string(),
        };
        text.push_str(&format!("\n  {place}: {why}"));
    }
    text.push_str("\n`fanfare config` prints every key with its meaning");
    anyhow!(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options> {
        let figment = Figment::from(Toml::string(text));
        figment.extract().map_err(|error| explain(error, Some(Path::new("fanfare.toml"))))
    }

    #[test]
    fn the_printed_whole_reads_back_to_the_defaults() {
        assert_eq!(parse(TEXT).expect("the printed whole is valid"), Options::default());
    }

    #[test]
    fn the_printed_whole_is_still_valid_with_every_comment_sign_removed_from_its_keys() {
        let all: String =
            TEXT.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).flat_map(|line| [line, "\n"]).collect();
        let options = parse(&all).expect("keys that are off by default are valid too");
        assert!(options.database_url.is_some() && options.public.control_url.is_some() && options.data.is_some());
    }

    #[test]
    fn the_printed_whole_leaves_no_key_out() {
        let sections = [
            "",
            "listen.",
            "public.",
            "gateway.",
            "gateway.http.",
            "control.",
            "node.",
            "memory.",
            "statistics.",
            "jwks.",
            "store.",
            "log.",
            "stop.",
        ];
        for section in sections {
            let figment = Figment::from(Toml::string(&format!("{section}no_such_key = 1")));
            let Kind::UnknownField(_, known) = figment.extract::<Options>().expect_err("refused").kind else {
                panic!("{section} takes unknown keys");
            };
            for key in known {
                let told = [format!("{key} = "), format!("[{section}{key}]")];
                let is_told = TEXT.lines().any(|line| {
                    let line = line.strip_prefix("#: ").unwrap_or(line);
                    told.iter().any(|told| line.starts_with(told))
                });
                assert!(is_told, "`{section}{key}` is not in the printed whole");
            }
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        for (text, name) in
            [("datta = '/x'", "datta"), ("[listen]\ngatway = '0.0.0.0:1'", "gatway"), ("[lisen]", "lisen")]
        {
            let said = parse(text).expect_err(text).to_string();
            assert!(said.contains(name) && said.contains("fanfare.toml"), "{said}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let options = parse("database_url = 'postgres://u:hunter2@h/d'\nmaster_key = 'abc'").expect("valid");
        assert!(!format!("{options:?}").contains("hunter2"));
        assert_eq!(options.master_key.expect("set").expose(), "abc");
    }

    #[test]
    fn variables_that_kubernetes_sets_are_not_taken_for_options() {
        for name in [
            "SERVICE_HOST",
            "PORT",
            "PORT_8000_TCP_ADDR",
            "SERVICE_PORT_HTTP",
            "CONTROL_SERVICE_HOST",
            "CONTROL_PORT_80_TCP",
        ] {
            assert!(is_service_link(name), "{name}");
        }
        for name in ["DATA", "PG_BIN", "LISTEN__GATEWAY", "MASTER_KEY", "DATTA"] {
            assert!(!is_service_link(name), "{name}");
        }
    }
}
