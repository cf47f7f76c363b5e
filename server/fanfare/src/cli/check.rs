//! `fanfare check`: says what is fine and what is not, without starting anything.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use fanfare_engine::SystemClock;
use fanfare_store::{MasterKey, Store, StoreOptions};
use serde_json::json;

use crate::config::Options;
use crate::feed::snapshot::SnapshotFile;
use crate::files::{self, FileLimit};
use crate::master_key::{self, MasterKeys};
use crate::{out, postgres};

/// What was found of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// It works, but somebody should know.
    Note,
    /// `serve` would fail, or must not be relied on.
    Wrong,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Wrong => "WRONG",
        }
    }
}

/// One line of the answer.
struct Finding {
    what: &'static str,
    verdict: Verdict,
    text: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, verdict: Verdict, text: impl Into<String>) {
        self.0.push(Finding { what, verdict, text: text.into() });
    }

    fn result(&mut self, what: &'static str, found: Result<String>) {
        match found {
            Ok(text) => self.add(what, Verdict::Fine, text),
            Err(error) => self.add(what, Verdict::Wrong, out::causes(&error)),
        }
    }
}

pub(super) async fn run(config: Option<&Path>, data: Option<PathBuf>, as_json: bool) -> Result<()> {
    let mut findings = Findings::default();
    match Options::load(config) {
        Ok(mut options) => {
            options.data = data.or(options.data);
            let source = config.map_or("defaults and environment".to_owned(), |path| path.display().to_string());
            findings.add("configuration", Verdict::Fine, source);
            look(&options, &mut findings).await;
        }
        Err(error) => findings.add("configuration", Verdict::Wrong, out::causes(&error)),
    }
    let wrong = findings.0.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    if as_json {
        let list = findings.0.iter().map(
            |Finding { what, verdict, text }| json!({"what": what, "verdict": verdict.as_str().to_lowercase(), "text": text}),
        );
        out::json(&json!({"fine": wrong == 0, "findings": list.collect::<Vec<_>>()}));
    } else {
        for Finding { what, verdict, text } in &findings.0 {
            out::line(format_args!(
                "{:<6} {what:<14} {}",
                verdict.as_str(),
                text.replace('\n', "\n                      ")
            ));
        }
    }
    if wrong > 0 {
        bail!("wrong: {wrong} of {}", findings.0.len());
    }
    Ok(())
}

async fn look(options: &Options, findings: &mut Findings) {
    let data = match options.data_dir() {
        Ok(data) => data,
        Err(error) => return findings.add("data", Verdict::Wrong, out::causes(&error)),
    };
    match fs::metadata(&data) {
        Ok(metadata) if metadata.is_dir() => findings.add("data", Verdict::Fine, data.display().to_string()),
        Ok(_) => findings.add("data", Verdict::Wrong, format!("{} is no directory", data.display())),
        Err(_) => findings.add("data", Verdict::Note, format!("{} is made at the first start", data.display())),
    }
    let keys = master_key(options, &data, findings);
    match &options.database_url {
        Some(url) => findings.result("postgres", database(url.expose(), keys.as_ref()).await),
        None => findings.result(
            "postgres",
            postgres::inspect(&data, options.pg_bin.as_deref())
                .map(|(major, bin)| format!("private, PostgreSQL {major} in {}", bin.display())),
        ),
    }
    if let Some(url) = &options.redis_url {
        match fanfare_broker_redis::check(url.expose(), &options.redis_tls()).await {
            Ok(Some(version)) => findings.add("redis", Verdict::Fine, format!("Redis {version}, evicts nothing")),
            Ok(None) => findings.add("redis", Verdict::Wrong, "does not answer"),
            Err(error) => findings.add("redis", Verdict::Wrong, error.to_string()),
        }
    }
    if let Some(keys) = &keys {
        snapshot(&data, keys, findings);
    }
    for (what, address, used) in [
        ("gateway port", options.listen.gateway, options.role.has_gateway()),
        ("control port", options.listen.control, options.role.has_control()),
        ("private port", options.listen.private, true),
    ] {
        if used {
            port(what, address, findings);
        }
    }
    if options.role.has_gateway() {
        files(options.node.connections_max, findings);
    }
}

fn master_key(options: &Options, data: &Path, findings: &mut Findings) -> Option<MasterKeys> {
    if options.master_key.is_none() && !master_key::path(data).exists() {
        findings.add("master key", Verdict::Note, "is made at the first start; keep a copy of it then");
        return None;
    }
    let source = if options.master_key.is_some() {
        "FANFARE_MASTER_KEY".to_owned()
    } else {
        master_key::path(data).display().to_string()
    };
    match MasterKeys::load(options, data) {
        Ok(keys) => {
            findings.add("master key", Verdict::Fine, source);
            Some(keys)
        }
        Err(error) => {
            findings.add("master key", Verdict::Wrong, out::causes(&error));
            None
        }
    }
}

async fn database(url: &str, keys: Option<&MasterKeys>) -> Result<String> {
    Store::check_roles(url).await?;
    let Some(keys) = keys else { return Ok("its roles are as they must be".to_owned()) };
    let current = MasterKey::new(*keys.current);
    let master_key = match &keys.previous {
        Some(previous) => current.with_previous(**previous),
        None => current,
    };
    let store = Store::connect(StoreOptions::new(url, master_key, Arc::new(SystemClock::new()))).await?;
    store.close().await;
    Ok("its roles and its schema are as they must be, and the master key opens it".to_owned())
}

fn snapshot(data: &Path, keys: &MasterKeys, findings: &mut Findings) {
    match SnapshotFile::new(data, keys).read() {
        Ok(Some(snapshot)) => {
            findings.add(
                "snapshot",
                Verdict::Fine,
                format!("{} apps can be served without Postgres", snapshot.apps.len()),
            );
        }
        Ok(None) => findings.add("snapshot", Verdict::Note, "none yet: a start needs Postgres"),
        Err(error) => findings.add("snapshot", Verdict::Wrong, out::causes(&error)),
    }
}

fn port(what: &'static str, address: SocketAddr, findings: &mut Findings) {
    match TcpListener::bind(address) {
        Ok(_) => findings.add(what, Verdict::Fine, address.to_string()),
        Err(error) => findings.add(what, Verdict::Wrong, format!("{address}: {error}")),
    }
}

fn files(connections_max: u64, findings: &mut Findings) {
    let Some(limit) = FileLimit::read() else {
        return findings.add("file limit", Verdict::Note, "is not known on this machine");
    };
    let wanted = connections_max.saturating_add(files::RESERVED);
    if limit.hard >= wanted {
        findings.add("file limit", Verdict::Fine, format!("{} at most", limit.hard));
    } else {
        let enough_for = limit.hard.saturating_sub(files::RESERVED);
        let text = format!(
            "{} at most, enough for {enough_for} connections of node.connections_max = {connections_max}; raise it \
             with `ulimit -Hn {wanted}` or LimitNOFILE",
            limit.hard
        );
        findings.add("file limit", Verdict::Note, text);
    }
}
