//! `fanfare token`: makes channel tokens offline, and explains what one says.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use fanfare_core::public_key::is_kid;
use fanfare_core::{Capabilities, Clock as _, Operation, Operations, Pattern, TokenAlgorithm};
use fanfare_engine::SystemClock;
use serde_json::{Map, Value, json};

use super::jwt::{self, Parts};
use super::target::Key;
use crate::out;

/// The longest a token may live.
const TTL_MAX: Duration = Duration::from_secs(24 * 3_600);
const TOKEN_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sign a token with FANFARE_KEY, without asking the server.
    Make(Make),
    /// Say what a token allows, until when, and what is wrong with it.
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub(super) struct Make {
    #[command(flatten)]
    key: Key,
    /// The user. Without it the client is anonymous.
    #[arg(long, value_name = "USER")]
    sub: Option<String>,
    /// What it may do: 'room:*=subscribe,publish'. May be repeated. Without it the app's ACL decides.
    #[arg(long, value_name = "PATTERN=OPERATIONS", value_parser = capability)]
    cap: Vec<(Pattern, Operations)>,
    /// A role that ACL rules may name. May be repeated.
    #[arg(long, value_name = "NAME")]
    role: Vec<String>,
    /// JSON that other members see.
    #[arg(long, value_name = "JSON")]
    info: Option<String>,
    /// A label by which it can be revoked. May be repeated.
    #[arg(long, value_name = "TEXT")]
    label: Vec<String>,
    /// Its own id, by which it can be revoked.
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// How long it holds: 90s, 15m, 1h. At most 24h.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Print an object with the token, its end and its claims.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    #[command(flatten)]
    key: Key,
    /// The token; read from standard input when it is left out or `-`.
    token: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> Result<()> {
    match command {
        Command::Make(arguments) => make(arguments),
        Command::Inspect(arguments) => inspect(&arguments),
    }
}

/// What a token for the command line's own use says.
pub(super) fn claims(sub: Option<&str>, cap: &Capabilities, now_s: u64, ttl: Duration) -> Value {
    let mut claims = json!({"iat": now_s, "exp": now_s + ttl.as_secs(), "ff": {"cap": cap}});
    if let Some(sub) = sub {
        claims["sub"] = sub.into();
    }
    claims
}

fn make(arguments: Make) -> Result<()> {
    let key = arguments.key.get()?;
    ensure!(arguments.ttl <= TTL_MAX && !arguments.ttl.is_zero(), "a token lives 1 second to 24 hours");
    let mut ff = Map::new();
    if !arguments.cap.is_empty() {
        let mut entries: Vec<(Pattern, Operations)> = Vec::new();
        for (pattern, operations) in arguments.cap {
            match entries.iter_mut().find(|(known, _)| *known == pattern) {
                Some((_, all)) => *all = all.union(operations),
                None => entries.push((pattern, operations)),
            }
        }
        ff.insert("cap".into(), json!(Capabilities::new(entries)));
    }
    if !arguments.role.is_empty() {
        ff.insert("roles".into(), json!(arguments.role));
    }
    if let Some(info) = &arguments.info {
        ff.insert("info".into(), serde_json::from_str(info).context("--info is not JSON")?);
    }
    if !arguments.label.is_empty() {
        ff.insert("labels".into(), json!(arguments.label));
    }
    let now_s = SystemClock::new().unix_ms() / 1_000;
    let exp = now_s + arguments.ttl.as_secs();
    let mut claims = json!({"iat": now_s, "exp": exp});
    if let Some(sub) = arguments.sub {
        claims["sub"] = sub.into();
    }
    if let Some(jti) = arguments.jti {
        claims["jti"] = jti.into();
    }
    if !ff.is_empty() {
        claims["ff"] = Value::Object(ff);
    }
    let token = jwt::sign(&key, &claims);
    ensure!(token.len() <= TOKEN_BYTES_MAX, "the token has {} bytes; at most 8192 are accepted", token.len());
    if arguments.json {
        out::json(&json!({"token": token, "expires_at": time(exp), "claims": claims}));
    } else {
        out::line(token);
    }
    Ok(())
}

/// What there is to say about a token.
#[derive(Debug, Default, PartialEq)]
struct Explained {
    /// Label and text, in the order people ask.
    lines: Vec<(&'static str, String)>,
    /// Why the gateway would refuse it.
    faults: Vec<String>,
}

fn inspect(arguments: &Inspect) -> Result<()> {
    let token = match arguments.token.as_deref() {
        Some(token) if token != "-" => token.to_owned(),
        _ => {
            let mut text = String::new();
            let bytes_max = 1024 * 1024;
            std::io::stdin()
                .take(bytes_max)
                .read_to_string(&mut text)
                .context("cannot read a token from standard input")?;
            text
        }
    };
    let token = token.trim();
    let parts = Parts::read(token)?;
    let key = arguments.key.optional()?;
    let mut explained = explain(&parts, token.len(), SystemClock::new().unix_ms() / 1_000);
    let kid = parts.header.get("kid").and_then(Value::as_str);
    let signature = match &key {
        _ if is_issued(&parts) => "not checked: an issuer's keys are the server's to know",
        None => "not checked: set FANFARE_KEY to the key that signed it",
        Some(key) if kid != Some(key.id.to_string().as_str()) => "not checked: FANFARE_KEY is another key than `kid`",
        Some(key) if parts.is_signed_by(key) => "valid",
        Some(_) => {
            explained.faults.push("the signature is not by this key's secret".to_owned());
            "WRONG"
        }
    };
    explained.lines.insert(1, ("signature", signature.to_owned()));
    if arguments.json {
        let lines: Map<String, Value> =
            explained.lines.iter().map(|(label, text)| ((*label).to_owned(), text.as_str().into())).collect();
        out::json(&json!({
            "header": parts.header, "claims": parts.claims, "explained": lines,
            "faults": explained.faults, "acceptable": explained.faults.is_empty(),
        }));
    } else {
        for (label, text) in &explained.lines {
            out::line(format_args!("{label:<10} {text}"));
        }
        for fault in &explained.faults {
            out::line(format_args!("{:<10} {fault}", "FAULT"));
        }
    }
    if !explained.faults.is_empty() {
        bail!("the gateway refuses this token");
    }
    Ok(())
}

fn explain(parts: &Parts, bytes: usize, now_s: u64) -> Explained {
    let mut explained = Explained::default();
    header(parts, &mut explained);
    if bytes > TOKEN_BYTES_MAX {
        explained.faults.push(format!("it has {bytes} bytes; at most {TOKEN_BYTES_MAX} are accepted"));
    }
    let claims = &parts.claims;
    let user = match claims.get("sub") {
        None => "anonymous (no `sub`)".to_owned(),
        Some(Value::String(sub)) => sub.clone(),
        Some(_) => {
            explained.faults.push("`sub` is not a string".to_owned());
            "unreadable".to_owned()
        }
    };
    explained.lines.push(("user", user));
    times(claims, now_s, &mut explained);
    rights(claims.get("ff"), &mut explained);
    explained
}

fn header(parts: &Parts, explained: &mut Explained) {
    let text = |name: &str| parts.header.get(name).and_then(Value::as_str);
    let (alg, kid) = (text("alg").unwrap_or("nothing"), text("kid").unwrap_or("no key"));
    explained.lines.push(("signed by", format!("{kid} with {alg}")));
    if is_issued(parts) {
        if parts.header.get("kid").is_some_and(|kid| !kid.as_str().is_some_and(is_kid)) {
            explained.faults.push("`kid` is not 1 to 64 characters of letters, digits and - _ + / =".to_owned());
        }
        match parts.claims.get("iss").and_then(Value::as_str) {
            Some(iss) => explained.lines.push(("issuer", format!("{iss}, if the app has it with this key"))),
            None => explained.faults.push("`iss` is missing: an issuer's tokens name it".to_owned()),
        }
    } else {
        if alg != "HS256" {
            let others = TokenAlgorithm::ALL.map(TokenAlgorithm::as_str).join(", ");
            explained.faults.push(format!("`alg` is {alg}; a key's tokens are HS256, an issuer's {others}"));
        }
        if kid.parse::<fanfare_core::id::KeyId>().is_err() {
            explained.faults.push("`kid` is not the id of a key (key_…)".to_owned());
        }
    }
    if parts.header.get("typ").is_some_and(|typ| typ != "JWT" && typ != "ff-ct+jwt") {
        explained.faults.push("`typ` is neither absent, JWT nor ff-ct+jwt".to_owned());
    }
    for name in ["jku", "x5u", "jwk", "x5c", "crit", "b64", "zip"] {
        if parts.header.get(name).is_some() {
            explained.faults.push(format!("the header `{name}` is refused"));
        }
    }
}

/// Whether it says that an issuer signed it, and not one of the app's keys.
fn is_issued(parts: &Parts) -> bool {
    let alg = parts.header.get("alg").and_then(Value::as_str);
    TokenAlgorithm::ALL.iter().any(|algorithm| alg == Some(algorithm.as_str()))
}

fn times(claims: &Value, now_s: u64, explained: &mut Explained) {
    let mut number = |name: &'static str| match claims.get(name) {
        None => None,
        Some(value) => {
            if value.as_u64().is_none() {
                explained.faults.push(format!("`{name}` is not a whole number of seconds"));
            }
            value.as_u64()
        }
    };
    let (exp, iat, nbf) = (number("exp"), number("iat"), number("nbf"));
    if let Some(iat) = iat {
        explained.lines.push(("issued", time(iat)));
    }
    let Some(exp) = exp else {
        if claims.get("exp").is_none() {
            explained.faults.push("`exp` is missing".to_owned());
        }
        return;
    };
    let left = if exp > now_s {
        format!("in {}", about(exp - now_s))
    } else {
        explained.faults.push(format!("it expired {} ago", about(now_s - exp)));
        format!("{} ago", about(now_s - exp))
    };
    explained.lines.push(("expires", format!("{} ({left})", time(exp))));
    if nbf.is_some_and(|nbf| nbf > now_s + 60) {
        explained.faults.push("`nbf` lies in the future".to_owned());
    }
    if exp.saturating_sub(iat.or(nbf).unwrap_or(now_s)) > TTL_MAX.as_secs() {
        explained.faults.push("it lives longer than 24 hours".to_owned());
    }
}

fn rights(ff: Option<&Value>, explained: &mut Explained) {
    let empty = Value::Object(Map::new());
    let Some(ff) = ff.unwrap_or(&empty).as_object() else {
        explained.faults.push("`ff` is not an object".to_owned());
        return;
    };
    match ff.get("cap").map(|cap| serde_json::from_value::<Capabilities>(cap.clone())) {
        None => explained.lines.push(("may", "what the app's ACL allows (no `cap`)".to_owned())),
        Some(Err(error)) => explained.faults.push(format!("`ff.cap`: {error}")),
        Some(Ok(cap)) => {
            for (pattern, operations) in cap.entries() {
                let words: Vec<&str> = operations.iter().map(Operation::as_str).collect();
                explained.lines.push(("may", format!("{pattern}  {}", words.join(", "))));
                if !operations.is_subset(Operations::CLIENT) {
                    explained.faults.push(format!("`ff.cap`: {pattern} has operations that only keys can have"));
                }
            }
        }
    }
    if let Some(roles) = ff.get("roles") {
        explained.lines.push(("roles", roles.to_string()));
    }
    for name in ["info", "meta", "limits", "labels"] {
        if let Some(value) = ff.get(name) {
            explained.lines.push((name, value.to_string()));
        }
    }
    for name in ff.keys().filter(|name| !["cap", "roles", "info", "meta", "limits", "labels"].contains(&name.as_str()))
    {
        explained.faults.push(format!("`ff.{name}` is not known"));
    }
}

fn time(unix_s: u64) -> String {
    i64::try_from(unix_s)
        .ok()
        .and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0))
        .map_or_else(|| format!("{unix_s} s"), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn about(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Reads `room:*=subscribe,publish`.
fn capability(text: &str) -> Result<(Pattern, Operations), String> {
    let (pattern, operations) = text.rsplit_once('=').ok_or("expected PATTERN=OPERATIONS, as in 'room:*=subscribe'")?;
    let pattern = Pattern::parse(pattern).map_err(|error| error.to_string())?;
    let operations = operations.split(',').map(|word| {
        let client = || Operation::ALL.into_iter().filter(|operation| operation.is_client());
        client().find(|operation| operation.as_str() == word.trim()).ok_or_else(|| {
            let words: Vec<&str> = client().map(Operation::as_str).collect();
            format!("`{word}` is no operation of a client; there are {}", words.join(", "))
        })
    });
    Ok((pattern, operations.collect::<Result<Operations, String>>()?))
}

/// Reads `90s`, `15m`, `1h`, `2d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("expected a number and s, m, h or d, as in 15m".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a number and s, m, h or d, as in 15m".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use fanfare_core::id::KeyId;
    use fanfare_core::secret::{KeySecret, PrintedKey};

    fn key(digit: u8) -> PrintedKey {
        PrintedKey { id: KeyId::new(1, 1), secret: KeySecret::from_digits([digit; 43]) }
    }

    fn explained(claims: &Value) -> Explained {
        let token = jwt::sign(&key(1), claims);
        explain(&Parts::read(&token).expect("our own"), token.len(), 1_000)
    }

    #[test]
    fn a_made_token_is_signed_by_its_key_alone_and_has_no_fault() {
        let cap = Capabilities::new(vec![capability("room:*=subscribe,publish").expect("valid")]);
        let claims = claims(Some("ann"), &cap, 1_000, Duration::from_secs(3_600));
        let token = jwt::sign(&key(1), &claims);
        let parts = Parts::read(&token).expect("our own");
        assert!(parts.is_signed_by(&key(1)) && !parts.is_signed_by(&key(2)));
        let explained = explain(&parts, token.len(), 1_000);
        assert_eq!(explained.faults, Vec::<String>::new());
        assert!(explained.lines.contains(&("user", "ann".to_owned())));
        assert!(explained.lines.contains(&("may", "room:*  subscribe, publish".to_owned())));
        assert!(explained.lines.contains(&("expires", "1970-01-01T01:16:40Z (in 60 min)".to_owned())));
    }

    #[test]
    fn every_fault_of_a_token_is_named() {
        let table = [
            (json!({}), "`exp` is missing"),
            (json!({"exp": "9999999999"}), "`exp` is not a whole number"),
            (json!({"exp": 999}), "it expired 1 s ago"),
            (json!({"exp": 90_000}), "longer than 24 hours"),
            (json!({"exp": 2_000, "nbf": 1_500}), "`nbf` lies in the future"),
            (json!({"exp": 2_000, "sub": 7}), "`sub` is not a string"),
            (json!({"exp": 2_000, "ff": {"cap": {"a*": []}}}), "`ff.cap`"),
            (json!({"exp": 2_000, "ff": {"cap": {"a": ["manage"]}}}), "only keys"),
            (json!({"exp": 2_000, "ff": {"caps": {}}}), "`ff.caps` is not known"),
        ];
        for (claims, fault) in table {
            let faults = explained(&claims).faults;
            assert!(faults.len() == 1 && faults[0].contains(fault), "{claims}: {faults:?}");
        }
        for text in ["", "a.b", "a.b.c", "e30.e30", "e30.W10.c2ln"] {
            assert!(Parts::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_of_an_issuer_is_no_fault() {
        let token = |header: &Value, claims: &Value| {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode([7; 64]))
        };
        let explained = |header: Value, claims: Value| {
            let token = token(&header, &claims);
            explain(&Parts::read(&token).expect("our own"), token.len(), 1_000)
        };
        let claims = json!({"iss": "https://id.example", "iat": 990, "exp": 2_000, "sub": "ann"});
        for alg in ["ES256", "EdDSA", "RS256"] {
            for header in [json!({"alg": alg, "kid": "2024-a+b/c=", "typ": "JWT"}), json!({"alg": alg})] {
                let explained = explained(header, claims.clone());
                assert_eq!(explained.faults, Vec::<String>::new(), "{alg}");
                assert!(explained.lines.iter().any(|(label, text)| *label == "issuer" && text.contains("id.example")));
            }
        }
        for (header, claims, fault) in [
            (json!({"alg": "ES384"}), claims.clone(), "an issuer's ES256, EdDSA, RS256"),
            (json!({"alg": "none", "kid": KeyId::new(1, 1)}), claims.clone(), "`alg` is none"),
            (json!({"alg": "ES256", "kid": "../x"}), claims.clone(), "`kid` is not 1 to 64"),
            (json!({"alg": "ES256", "jku": "https://x"}), claims.clone(), "`jku` is refused"),
            (json!({"alg": "RS256", "kid": "k"}), json!({"exp": 2_000}), "`iss` is missing"),
        ] {
            let faults = explained(header, claims).faults;
            assert!(faults.iter().any(|said| said.contains(fault)), "{fault}: {faults:?}");
        }
    }

    #[test]
    fn operations_that_clients_cannot_have_are_refused_with_those_they_can() {
        let said = capability("room:*=subscribe,fly").expect_err("no such operation");
        assert!(said.contains("`fly`") && said.contains("presence.read"), "{said}");
        assert!(capability("room:*=sign").is_err() && capability("room").is_err() && capability("a*=publish").is_err());
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert!(duration("15").is_err() && duration("m").is_err() && duration("1.5h").is_err());
    }
}
