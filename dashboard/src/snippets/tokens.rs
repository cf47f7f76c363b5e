//! A token of given claims in the languages that backends are written in, and as a call of the REST API.

use fanfare_api::data::MintTokenRequest;
use serde_json::{Map, Value, json};

use super::quoted;

/// How long a token lives when nothing is said, in seconds.
pub(crate) const TTL_S_DEFAULT: u64 = 3_600;

/// What a token says, as a library signs it: all but `exp`.
fn claims(request: &MintTokenRequest) -> Map<String, Value> {
    let MintTokenRequest { sub, cap, roles, info, meta, limits, labels, jti, ttl_s: _ } = request;
    let mut ff = Map::new();
    if let Some(cap) = cap {
        ff.insert("cap".to_owned(), json!(cap));
    }
    let lists = [("roles", roles), ("labels", labels)];
    ff.extend(lists.into_iter().filter(|(_, all)| !all.is_empty()).map(|(name, all)| (name.to_owned(), json!(all))));
    let objects = [("info", info), ("meta", meta), ("limits", limits)];
    ff.extend(objects.into_iter().filter_map(|(name, one)| Some((name.to_owned(), one.clone()?))));
    let mut claims = Map::new();
    let texts = [("sub", sub), ("jti", jti)];
    claims.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
    if !ff.is_empty() {
        claims.insert("ff".to_owned(), Value::Object(ff));
    }
    claims
}

/// How a language writes maps, lists and the rest.
struct Style {
    map: [&'static str; 3],
    list: [&'static str; 2],
    nothing: &'static str,
    truth: [&'static str; 2],
    text: fn(&str) -> String,
}

const JAVASCRIPT: Style =
    Style { map: ["{ ", ": ", " }"], list: ["[", "]"], nothing: "null", truth: ["true", "false"], text: plain };
const PYTHON: Style =
    Style { map: ["{", ": ", "}"], list: ["[", "]"], nothing: "None", truth: ["True", "False"], text: plain };
const GO: Style = Style {
    map: ["map[string]any{", ": ", "}"],
    list: ["[]any{", "}"],
    nothing: "nil",
    truth: ["true", "false"],
    text: plain,
};
const RUBY: Style =
    Style { map: ["{ ", " => ", " }"], list: ["[", "]"], nothing: "nil", truth: ["true", "false"], text: single };
const PHP: Style =
    Style { map: ["[", " => ", "]"], list: ["[", "]"], nothing: "null", truth: ["true", "false"], text: single };
const JAVA: Style = Style {
    map: ["Map.of(", ", ", ")"],
    list: ["List.of(", ")"],
    nothing: "null",
    truth: ["true", "false"],
    text: plain,
};

/// Between double quotes, as JSON has it.
fn plain(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Between single quotes, where nothing but the quote and the backslash means anything.
fn single(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

impl Style {
    fn write(&self, value: &Value) -> String {
        match value {
            Value::Null => self.nothing.to_owned(),
            Value::Bool(is) => self.truth[usize::from(!is)].to_owned(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => (self.text)(text),
            Value::Array(all) => {
                let parts: Vec<String> = all.iter().map(|one| self.write(one)).collect();
                format!("{}{}{}", self.list[0], parts.join(", "), self.list[1])
            }
            Value::Object(map) => {
                let pair =
                    |(name, one): (&String, &Value)| format!("{}{}{}", (self.text)(name), self.map[1], self.write(one));
                let parts: Vec<String> = map.iter().map(pair).collect();
                format!("{}{}{}", self.map[0], parts.join(", "), self.map[2])
            }
        }
    }

    /// The claims as the beginning of a map that goes on: each with a comma behind it.
    fn open(&self, claims: &Map<String, Value>) -> String {
        claims.iter().map(|(name, one)| format!("{}{}{}, ", (self.text)(name), self.map[1], self.write(one))).collect()
    }
}

/// Ways to have such a token, by name.
pub(crate) fn make(url: &str, request: &MintTokenRequest) -> Vec<(&'static str, String)> {
    let (claims, ttl_s) = (claims(request), request.ttl_s.unwrap_or(TTL_S_DEFAULT));
    vec![
        ("REST", mint(url, request)),
        ("JavaScript", javascript(&claims, ttl_s)),
        ("Python", python(&claims, ttl_s)),
        ("Go", go(&claims, ttl_s)),
        ("Ruby", ruby(&claims, ttl_s)),
        ("PHP", php(&claims, ttl_s)),
        ("Java", java(&claims, ttl_s)),
    ]
}

/// Has the key sign it by REST.
fn mint(url: &str, request: &MintTokenRequest) -> String {
    let body = serde_json::to_string(request).expect("requests print");
    format!("curl -u \"$FANFARE_KEY\" --json {} \\\n  \"{url}/tokens\"", quoted(&body))
}

fn javascript(claims: &Map<String, Value>, ttl_s: u64) -> String {
    let claims = JAVASCRIPT.write(&Value::Object(claims.clone()));
    format!(
        r#"// npm install jsonwebtoken
import jwt from "jsonwebtoken";
const [kid, secret] = process.env.FANFARE_KEY.split(":");
const claims = {claims};
const token = jwt.sign(claims, secret, {{ keyid: kid, expiresIn: {ttl_s} }});"#
    )
}

fn python(claims: &Map<String, Value>, ttl_s: u64) -> String {
    let claims = PYTHON.open(claims);
    format!(
        r#"# pip install pyjwt
import os, time, jwt
kid, secret = os.environ["FANFARE_KEY"].split(":")
claims = {{{claims}"exp": int(time.time()) + {ttl_s}}}
token = jwt.encode(claims, secret, algorithm="HS256", headers={{"kid": kid}})"#
    )
}

fn go(claims: &Map<String, Value>, ttl_s: u64) -> String {
    let claims = GO.open(claims);
    format!(
        r#"// go get github.com/golang-jwt/jwt/v5
kid, secret, _ := strings.Cut(os.Getenv("FANFARE_KEY"), ":")
claims := jwt.MapClaims{{{claims}"exp": time.Now().Add({ttl_s} * time.Second).Unix()}}
token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
token.Header["kid"] = kid
signed, err := token.SignedString([]byte(secret))"#
    )
}

fn ruby(claims: &Map<String, Value>, ttl_s: u64) -> String {
    let claims = RUBY.open(claims);
    format!(
        r#"# gem install jwt
require "jwt"
kid, secret = ENV.fetch("FANFARE_KEY").split(":")
claims = {{ {claims}'exp' => Time.now.to_i + {ttl_s} }}
token = JWT.encode(claims, secret, "HS256", {{ kid: kid }})"#
    )
}

fn php(claims: &Map<String, Value>, ttl_s: u64) -> String {
    let claims = PHP.open(claims);
    format!(
        r#"// composer require firebase/php-jwt
use Firebase\JWT\JWT;
[$kid, $secret] = explode(":", getenv("FANFARE_KEY"));
$claims = [{claims}'exp' => time() + {ttl_s}];
$token = JWT::encode($claims, $secret, "HS256", $kid);"#
    )
}

fn java(claims: &Map<String, Value>, ttl_s: u64) -> String {
    let line = |(name, one): (&String, &Value)| match (name.as_str(), one) {
        ("sub", Value::String(text)) => format!("    .subject({})\n", plain(text)),
        ("jti", Value::String(text)) => format!("    .id({})\n", plain(text)),
        _ => format!("    .claim({}, {})\n", plain(name), JAVA.write(one)),
    };
    let claims: String = claims.iter().map(line).collect();
    format!(
        r#"// io.jsonwebtoken:jjwt 0.12
String[] key = System.getenv("FANFARE_KEY").split(":");
String token = Jwts.builder()
    .header().keyId(key[0]).and()
{claims}    .expiration(Date.from(Instant.now().plusSeconds({ttl_s})))
    .signWith(Keys.hmacShaKeyFor(key[1].getBytes(StandardCharsets.UTF_8)), Jwts.SIG.HS256)
    .compact();"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> MintTokenRequest {
        let cap = serde_json::from_value(json!({ "room:9": ["subscribe", "publish"] })).expect("capabilities");
        MintTokenRequest {
            sub: Some("o'ann \"#{x}$y\"".to_owned()),
            cap: Some(cap),
            info: Some(json!({ "vip": true })),
            ttl_s: Some(600),
            ..MintTokenRequest::default()
        }
    }

    #[test]
    fn every_language_writes_the_same_claims_in_its_own_way() {
        let all = make("http://localhost:8000/v1/apps/app_1", &request());
        let of = |wanted: &str| all.iter().find(|(name, _)| *name == wanted).map(|(_, text)| &**text).expect("there");
        assert!(
            of("Python")
                .contains(r#""ff": {"cap": {"room:9": ["subscribe", "publish"]}, "info": {"vip": True}}, "sub": "#)
        );
        assert!(
            of("Go").contains(r#""ff": map[string]any{"cap": map[string]any{"room:9": []any{"subscribe", "publish"}}"#)
        );
        assert!(of("PHP").contains(r##"'sub' => 'o\'ann "#{x}$y"', "##), "nothing is put in between single quotes");
        assert!(of("Ruby").contains(r##"'sub' => 'o\'ann "#{x}$y"', "##));
        assert!(of("Java").contains(r#".claim("ff", Map.of("cap", Map.of("room:9", List.of("subscribe", "publish"))"#));
        assert!(of("JavaScript").contains("expiresIn: 600"));
        assert!(of("REST").contains(r"o'\''ann"), "{}", of("REST"));
    }

    #[test]
    fn a_token_that_says_nothing_has_no_claims_of_ours() {
        assert!(claims(&MintTokenRequest::default()).is_empty());
    }
}
