//! Code that works as it stands, with the reader's own URL in it.

pub(crate) mod tokens;

use fanfare_api::limits::LowerLimits;
use fanfare_api::settings::{ChannelSettingsView, ReplaceChannelSettings};
use serde::Serialize;

use crate::browser;

/// Publishes with a key; without one at hand, with the variable that holds it.
pub(crate) fn curl(url: &str, key: Option<&str>, channel: &str) -> String {
    let key = key.unwrap_or("$FANFARE_KEY");
    format!("curl -u \"{key}\" --json '{{\"name\":\"greet\",\"data\":\"hi\"}}' \"{url}/channels/{channel}/messages\"")
}

/// Reads something of the app with a key.
pub(crate) fn get(url: &str, path: &str) -> String {
    format!("curl -u \"$FANFARE_KEY\" \"{url}{path}\"")
}

/// Does something in the app with a key.
pub(crate) fn post(url: &str, path: &str, body: &impl Serialize) -> String {
    let body = serde_json::to_string(body).expect("documents print").replace('\'', "'\\''");
    format!("curl -u \"$FANFARE_KEY\" --json '{body}' \"{url}{path}\"")
}

/// Takes something of the app away with a key.
pub(crate) fn delete(url: &str, path: &str) -> String {
    format!("curl -u \"$FANFARE_KEY\" -X DELETE \"{url}{path}\"")
}

/// Reads what happens in the app as an event stream, with a token.
pub(crate) fn debug_stream(url: &str) -> String {
    format!("curl -N -H \"Authorization: Bearer $FANFARE_TOKEN\" \"{url}/sse?channels=%24debug%3Aevents\"")
}

/// Connects to the app and listens to the channel that is open to everybody.
pub(crate) fn websocat_of(url: &str) -> String {
    websocat(&format!("{}/socket", url.replacen("http", "ws", 1)))
}

/// Replaces channel settings by what they are now, by the session's cookie.
pub(crate) fn put_settings(path: &str, found: &ChannelSettingsView) -> String {
    put(path, found.version, &ReplaceChannelSettings { settings: found.settings.clone() })
}

/// Replaces what was lowered by what is lowered now, by the session's cookie.
pub(crate) fn put_limits(path: &str, version: u64, lowered: &LowerLimits) -> String {
    put(path, version, lowered)
}

fn put(path: &str, etag: u64, body: &impl Serialize) -> String {
    control_json("PUT", path, Some(etag), body)
}

/// A call of the control plane with a body, by the session's cookie.
pub(crate) fn control_json(method: &str, path: &str, version: Option<u64>, body: &impl Serialize) -> String {
    control(method, path, version, Some(&serde_json::to_string(body).expect("documents print")))
}

/// A call of the control plane, by the session's cookie; with a version, only if the document is still at it.
pub(crate) fn control(method: &str, path: &str, version: Option<u64>, body: Option<&str>) -> String {
    let csrf = if method == "GET" { "" } else { " -H 'X-Fanfare-CSRF: 1'" };
    let etag = version.map_or_else(String::new, |etag| format!(" -H 'If-Match: \"v{etag}\"'"));
    let method = if method == "GET" { String::new() } else { format!(" -X {method}") };
    let body = body.map_or_else(String::new, |body| format!("--json {} \\\n  ", quoted(body)));
    format!("curl -b \"$FANFARE_COOKIE\"{csrf}{etag}{method} \\\n  {body}\"{}{path}\"", browser::origin())
}

/// A text as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Ways to subscribe, by name.
pub(crate) fn subscribe(url: &str) -> Vec<(&'static str, String)> {
    let gateway = url.split("/v1/").next().unwrap_or(url);
    vec![
        ("With your tokens", with_tokens(gateway, url)),
        ("Any page's console", console(gateway, url)),
        ("websocat", websocat_of(url)),
    ]
}

fn with_tokens(gateway: &str, url: &str) -> String {
    format!(
        r#"import {{ Fanfare }} from "{gateway}/sdk/v1.js";
const ff = new Fanfare("{url}", {{ token: () => fetch("/fanfare-token").then(r => r.text()) }});  // no token: demo:** only
ff.channel("room:9").subscribe(m => console.log(m.name, m.data));"#
    )
}

fn console(gateway: &str, url: &str) -> String {
    format!(
        r#"const {{ Fanfare }} = await import("{gateway}/sdk/v1.js");
const ff = new Fanfare("{url}");
ff.channel("demo:hello").subscribe(m => console.log(m.name, m.data));"#
    )
}

fn websocat(socket: &str) -> String {
    format!(
        r#"printf '%s\n' '{{"id":1,"connect":{{}}}}' '{{"id":2,"subscribe":{{"channel":"demo:hello"}}}}' \
  | websocat -n --protocol fanfare.v1.json "{socket}""#
    )
}

/// Ways to sign a token for a user, by language.
pub(crate) fn sign() -> Vec<(&'static str, String)> {
    vec![
        ("JavaScript", JAVASCRIPT.to_owned()),
        ("Python", PYTHON.to_owned()),
        ("Go", GO.to_owned()),
        ("Ruby", RUBY.to_owned()),
        ("PHP", PHP.to_owned()),
        ("Java", JAVA.to_owned()),
    ]
}

const JAVASCRIPT: &str = r#"// npm install jsonwebtoken
import jwt from "jsonwebtoken";
const [kid, secret] = process.env.FANFARE_KEY.split(":");
jwt.sign({ sub: user.id, ff: { cap: { "room:9": ["subscribe", "publish"] } } }, secret, { keyid: kid, expiresIn: "1h" });"#;

const PYTHON: &str = r#"# pip install pyjwt
import os, time, jwt
kid, secret = os.environ["FANFARE_KEY"].split(":")
now = int(time.time())
claims = {"sub": user_id, "iat": now, "exp": now + 3600,
          "ff": {"cap": {"room:9": ["subscribe", "publish"]}}}
token = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": kid})"#;

const GO: &str = r#"// go get github.com/golang-jwt/jwt/v5
kid, secret, _ := strings.Cut(os.Getenv("FANFARE_KEY"), ":")
token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
	"sub": userID,
	"iat": time.Now().Unix(),
	"exp": time.Now().Add(time.Hour).Unix(),
	"ff":  map[string]any{"cap": map[string][]string{"room:9": {"subscribe", "publish"}}},
})
token.Header["kid"] = kid
signed, err := token.SignedString([]byte(secret))"#;

const RUBY: &str = r#"# gem install jwt
require "jwt"
kid, secret = ENV.fetch("FANFARE_KEY").split(":")
now = Time.now.to_i
claims = { sub: user_id, iat: now, exp: now + 3600,
           ff: { cap: { "room:9" => %w[subscribe publish] } } }
token = JWT.encode(claims, secret, "HS256", { kid: kid })"#;

const PHP: &str = r#"// composer require firebase/php-jwt
use Firebase\JWT\JWT;
[$kid, $secret] = explode(":", getenv("FANFARE_KEY"));
$claims = ["sub" => $userId, "iat" => time(), "exp" => time() + 3600,
           "ff" => ["cap" => ["room:9" => ["subscribe", "publish"]]]];
$token = JWT::encode($claims, $secret, "HS256", $kid);"#;

const JAVA: &str = r#"// io.jsonwebtoken:jjwt 0.12
String[] key = System.getenv("FANFARE_KEY").split(":");
String token = Jwts.builder()
    .header().keyId(key[0]).and()
    .subject(userId)
    .issuedAt(Date.from(Instant.now()))
    .expiration(Date.from(Instant.now().plus(1, ChronoUnit.HOURS)))
    .claim("ff", Map.of("cap", Map.of("room:9", List.of("subscribe", "publish"))))
    .signWith(Keys.hmacShaKeyFor(key[1].getBytes(StandardCharsets.UTF_8)), Jwts.SIG.HS256)
    .compact();"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_is_the_one_of_the_documentation_with_real_values() {
        let url = "http://localhost:8000/v1/apps/app_1";
        let expected = r#"curl -u "key_1:ffs_2" --json '{"name":"greet","data":"hi"}' "http://localhost:8000/v1/apps/app_1/channels/demo:hello/messages""#;
        assert_eq!(curl(url, Some("key_1:ffs_2"), "demo:hello"), expected);
        assert!(subscribe(url)[0].1.contains(r#"from "http://localhost:8000/sdk/v1.js""#));
        assert!(subscribe("https://x.y/v1/apps/a")[2].1.contains("wss://x.y/v1/apps/a/socket"));
    }
}
