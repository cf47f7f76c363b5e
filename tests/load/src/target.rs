//! What is measured: a server process and what a client must say to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fanfare_load::platform::{Options, Platform};
use serde_json::{Value, json};

use crate::{clock, wire};

const HTTP_TIMEOUT: Duration = Duration::from_secs(10);
const FEED_TIMEOUT: Duration = Duration::from_secs(5);

/// A server under measurement; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// The process whose CPU time counts.
    pub(crate) pid: u32,
    /// What a client says first.
    pub(crate) handshake: Vec<u8>,
    /// What it says then.
    pub(crate) connect: Vec<u8>,
    /// A publish to channel 0 over REST.
    pub(crate) rest_publish: Vec<u8>,
    _process: Process,
}

#[derive(Debug)]
enum Process {
    Floor(Child),
    Fanfare(#[expect(dead_code, reason = "held until the measurement is over")] Platform),
}

impl Target {
    /// Starts the floor program.
    pub(crate) fn floor() -> Result<Self> {
        let own = std::env::current_exe()?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(own).arg("floor").stdout(Stdio::piped()).stdin(Stdio::null());
        let mut process = command.spawn().context("start setpriv (of util-linux)")?;
        let stdout = process.stdout.take().expect("stdout is piped");
        let pid = process.id();
        let process = Process::Floor(process);
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self {
            address: address.trim().parse().context("the floor does not say where it is")?,
            pid,
            handshake: wire::handshake("/"),
            connect: wire::connect(""),
            rest_publish: wire::rest_publish("/", "Basic bG9hZDpsb2Fk", &wire::data(0, 128)),
            _process: process,
        })
    }

    /// Starts Fanfare on its embedded defaults, and has its first key sign a token for the channels of this program.
    pub(crate) fn fanfare(binary: &Path) -> Result<Self> {
        // What is measured is what a connection costs, not how they are paced.
        let pace = ["FANFARE_NODE__CONNECTS_PER_S", "FANFARE_NODE__CONNECTS_BURST"];
        let variables = pace.map(|name| (name.to_owned(), "1000000".to_owned())).into();
        let platform = Platform::start(&Options { variables, ..Options::new(binary, "load") })?;
        let Place { address, path, token, authorization } = Place::of(&platform)?;
        let messages = format!("/{path}/channels/{}/messages", wire::channel(0));
        Ok(Self {
            address,
            pid: platform.pid(),
            handshake: wire::handshake(&format!("/{path}/socket")),
            connect: wire::connect(&token),
            rest_publish: wire::rest_publish(&messages, &authorization, &wire::data(0, 128)),
            _process: Process::Fanfare(platform),
        })
    }
}

/// The app that a server made at its first start, and who may do what there.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// The app's path, without a slash at either end.
    pub(crate) path: String,
    /// Subscribes and publishes on the channels of this program.
    pub(crate) token: String,
    /// The key, as a header's value.
    pub(crate) authorization: String,
}

impl Place {
    /// Has the server's first key sign a token.
    pub(crate) fn of(platform: &Platform) -> Result<Self> {
        let key = platform.key.clone().context("the server gave no key")?;
        let app_url = platform.app_url.clone().context("the server gave no app")?;
        let (address, path) =
            app_url.trim_start_matches("http://").split_once('/').context("an app's URL has a path")?;
        let address = address.replace("localhost", "127.0.0.1").parse()?;
        let authorization = format!("Basic {}", base64(key.as_bytes()));
        let rights = json!({ "sub": "load", "cap": { "load:**": ["subscribe", "publish"] } });
        let token = mint(address, &format!("/{path}/tokens"), &authorization, &rights)?;
        Ok(Self { address, path: path.to_owned(), token, authorization })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Self::Floor(child) = self {
            // It may have ended already, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Has the server sign a token. The data plane hears of a new app within moments, so a first refusal is not the last.
fn mint(address: SocketAddr, path: &str, authorization: &str, rights: &Value) -> Result<String> {
    let deadline = clock::now() + FEED_TIMEOUT;
    loop {
        match post(address, path, authorization, rights) {
            Ok(minted) => return Ok(minted["token"].as_str().context("no token in the answer")?.to_owned()),
            Err(refused) if clock::now() > deadline => return Err(refused),
            Err(_) => {}
        }
    }
}

/// One request on a connection of its own.
fn post(address: SocketAddr, path: &str, authorization: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 2"), "POST {path}: {answer}");
    serde_json::from_str(body).with_context(|| format!("POST {path}: {answer}"))
}

/// Standard base64, for one header.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letter =
            |at: usize| if at <= chunk.len() { LETTERS[(bits >> (18 - 6 * at)) as usize & 63] as char } else { '=' };
        [letter(0), letter(1), letter(2), letter(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        assert_eq!(
            [b"".as_slice(), b"f", b"fo", b"foo", b"foob"].map(base64),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }
}
