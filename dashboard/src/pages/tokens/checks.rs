//! What can be said of a token without asking anybody: its shape, who says to have signed it, its times.

use fanfare_api::issuer::IssuerView;
use fanfare_api::key::{KeyStatus, KeyView};
use fanfare_core::Operation;
use fanfare_core::id::AppId;

use crate::format;
use crate::jwt::Jwt;

/// The longest life of a token, and how far clocks may differ, in milliseconds.
const LIFE_MS_MAX: f64 = 86_400_000.0;
const SKEW_MS: f64 = 60_000.0;

/// One check: what is looked at, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) verdict: Verdict,
    pub(super) why: String,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds.
    Good,
    /// It cannot be said here.
    Open,
    /// It does not hold.
    Bad,
}

/// Against what a token is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Against<'a> {
    pub(super) app: AppId,
    pub(super) keys: &'a [KeyView],
    pub(super) issuers: &'a [IssuerView],
    pub(super) now_ms: f64,
}

/// Every check of a token's text.
pub(super) fn checks(token: &Jwt, against: Against<'_>) -> Vec<Check> {
    vec![header(token), signer(token, against), times(token, against.now_ms), audience(token, against)]
}

fn check(what: &'static str, verdict: Verdict, why: impl Into<String>) -> Check {
    Check { what, verdict, why: why.into() }
}

fn header(token: &Jwt) -> Check {
    let what = "Header";
    let foreign = ["jku", "jwk", "x5u", "crit", "b64", "zip"].into_iter().find(|name| token.header.contains_key(*name));
    match (token.header("alg"), token.header("typ"), foreign) {
        (_, _, Some(name)) => check(what, Verdict::Bad, format!("It has {name}, which no token may have here.")),
        (None, ..) => check(what, Verdict::Bad, "It has no alg."),
        (_, Some(typ), _) if !["JWT", "ff-ct+jwt"].contains(&typ) => {
            check(what, Verdict::Bad, format!("Its typ is {typ}; JWT, ff-ct+jwt or none is taken."))
        }
        (Some(alg), ..) => check(what, Verdict::Good, format!("Signed with {alg}, it says.")),
    }
}

/// Who says to have signed: a key or an issuer of this app, by the header alone.
fn signer(token: &Jwt, against: Against<'_>) -> Check {
    let what = "Signer";
    let kid = token.header("kid");
    let key = kid.and_then(|kid| against.keys.iter().find(|key| key.id.to_string() == kid));
    if let Some(key) = key {
        let name = &key.name;
        return match key.state {
            KeyStatus::Revoked => check(what, Verdict::Bad, format!("The key {name} is revoked.")),
            KeyStatus::Expired => check(what, Verdict::Bad, format!("The key {name} has expired.")),
            KeyStatus::Active if !key.capabilities.anywhere(Operation::Sign) => {
                check(what, Verdict::Bad, format!("The key {name} may not sign."))
            }
            KeyStatus::Active => check(what, Verdict::Good, format!("The key {name}.")),
        };
    }
    let iss = token.claims.get("iss").and_then(serde_json::Value::as_str);
    match iss.and_then(|iss| against.issuers.iter().find(|issuer| issuer.iss == iss)) {
        Some(issuer) if !issuer.enabled => check(what, Verdict::Bad, format!("The issuer {} is off.", issuer.name)),
        Some(issuer) => check(what, Verdict::Good, format!("The issuer {}.", issuer.name)),
        None => match (kid, iss) {
            (Some(kid), _) => check(what, Verdict::Bad, format!("No key and no issuer of this app goes by kid {kid}.")),
            (None, Some(iss)) => check(what, Verdict::Bad, format!("No issuer of this app has iss {iss}.")),
            (None, None) => check(what, Verdict::Bad, "It has neither a kid nor an iss."),
        },
    }
}

fn times(token: &Jwt, now_ms: f64) -> Check {
    let what = "Times";
    let Some(exp) = token.moment("exp") else { return check(what, Verdict::Bad, "It has no exp that is a number.") };
    if exp + SKEW_MS < now_ms {
        return check(what, Verdict::Bad, format!("It ended {}.", format::ago(now_ms - exp)));
    }
    if let Some(nbf) = token.moment("nbf").filter(|nbf| *nbf - SKEW_MS > now_ms) {
        return check(what, Verdict::Bad, format!("It begins {}.", format::until(nbf - now_ms)));
    }
    let from = token.moment("iat").unwrap_or(now_ms);
    if exp - from > LIFE_MS_MAX + SKEW_MS {
        return check(what, Verdict::Bad, format!("It lives for {}; 24 hours are the most.", format::span(exp - from)));
    }
    check(what, Verdict::Good, format!("It ends {}.", format::until(exp - now_ms)))
}

/// Keys want the app among the audience, issuers what their record says.
fn audience(token: &Jwt, against: Against<'_>) -> Check {
    let what = "Audience";
    let held: Vec<&str> = match token.claims.get("aud") {
        None => Vec::new(),
        Some(serde_json::Value::String(one)) => vec![one],
        Some(serde_json::Value::Array(all)) => all.iter().filter_map(serde_json::Value::as_str).collect(),
        Some(_) => return check(what, Verdict::Bad, "Its aud is neither a text nor a list of texts."),
    };
    let iss = token.claims.get("iss").and_then(serde_json::Value::as_str);
    let issuer = against.issuers.iter().find(|issuer| Some(&*issuer.iss) == iss);
    let (wanted, is_needed) = match issuer.and_then(|issuer| issuer.aud.clone()) {
        Some(aud) => (aud, true),
        None => (against.app.to_string(), false),
    };
    match (held.contains(&&*wanted), held.is_empty()) {
        (true, _) => check(what, Verdict::Good, format!("It names {wanted}.")),
        (false, true) if !is_needed => check(what, Verdict::Good, "It has none, which is fine."),
        (false, _) => check(what, Verdict::Bad, format!("It does not name {wanted}.")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW_MS: f64 = 1_700_000_000_000.0;

    fn verdicts(header: &Value, claims: &Value) -> Vec<Verdict> {
        let object = |value: &Value| value.as_object().expect("an object").clone();
        let key = serde_json::from_value(json!({
            "id": "key_01JD0000000000000000000000", "name": "backend", "capabilities": {"**": ["sign"]}, "last_four": "abcd",
            "state": "active", "created_at": "2026-01-01T00:00:00Z", "version": 1
        }))
        .expect("a key");
        let app = "app_01JD0000000000000000000000".parse().expect("an id");
        let against = Against { app, keys: &[key], issuers: &[], now_ms: NOW_MS };
        let token = Jwt { header: object(header), claims: object(claims) };
        checks(&token, against).into_iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn each_check_finds_its_own_fault() {
        let kid = "key_01JD0000000000000000000000";
        let good = json!({ "alg": "HS256", "kid": kid });
        let soon = json!({ "exp": 1_700_000_600 });
        let bad = |at: usize| {
            let mut all = vec![Verdict::Good; 4];
            all[at] = Verdict::Bad;
            all
        };
        assert_eq!(verdicts(&good, &soon), vec![Verdict::Good; 4]);
        assert_eq!(verdicts(&json!({ "kid": kid }), &soon), bad(0));
        assert_eq!(verdicts(&json!({ "alg": "HS256", "kid": kid, "jku": "x" }), &soon), bad(0));
        assert_eq!(verdicts(&json!({ "alg": "HS256", "kid": "key_1" }), &soon), bad(1));
        for claims in [
            json!({}),
            json!({ "exp": "1700000600" }),
            json!({ "exp": 1_699_999_000 }),
            json!({ "exp": 1_700_100_000 }),
        ] {
            assert_eq!(verdicts(&good, &claims), bad(2), "{claims}");
        }
        assert_eq!(verdicts(&good, &json!({ "exp": 1_700_000_600, "aud": ["elsewhere"] })), bad(3));
    }
}
