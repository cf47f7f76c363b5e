//! Issuers, from the control plane to live connections; and how their keys are fetched, in `jwks.rs`.

mod jwks;

use ::harness::client::Client;
use ::harness::owner::Owner;
use ::harness::server::Server;
use ::harness::{eventually, unix_now};
use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Map, Value, json};

const ISS: &str = "https://id.example/";
const AUD: &str = "fanfare";

/// A key pair that signs as an issuer does.
struct Pair {
    public: &'static str,
    private: &'static [u8],
    algorithm: Algorithm,
}

const ED: Pair = Pair {
    public: include_str!("../../server/core/src/public_key/fixtures/ed.pem"),
    private: include_bytes!("../../server/engine/src/token/fixtures/ed.pem"),
    algorithm: Algorithm::EdDSA,
};
const EC: Pair = Pair {
    public: include_str!("../../server/core/src/public_key/fixtures/ec.pem"),
    private: include_bytes!("../../server/engine/src/token/fixtures/ec.pem"),
    algorithm: Algorithm::ES256,
};
const RSA: Pair = Pair {
    public: include_str!("../../server/core/src/public_key/fixtures/rsa.pem"),
    private: include_bytes!("../../server/engine/src/token/fixtures/rsa.pem"),
    algorithm: Algorithm::RS256,
};

impl Pair {
    /// A token with this `kid`: these claims over those that every token of the issuer has.
    fn sign(&self, kid: Option<&str>, claims: &Value) -> Result<String> {
        let key = match self.algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(self.private)?,
            Algorithm::ES256 => EncodingKey::from_ec_pem(self.private)?,
            _ => EncodingKey::from_rsa_pem(self.private)?,
        };
        let fixed = [("iss", json!(ISS)), ("aud", json!(AUD)), ("exp", json!(unix_now() + 600))];
        let mut all = Map::from_iter(fixed.map(|(name, value)| (name.to_owned(), value)));
        all.extend(claims.as_object().context("claims are an object")?.clone());
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        Ok(encode(&header, &all, &key)?)
    }

    /// Its public half as a JWK of this name.
    fn jwk(&self, kid: &str) -> Result<Value> {
        let mut jwk = fanfare_core::PublicKey::parse(self.public)?.to_jwk();
        jwk["kid"] = kid.into();
        Ok(jwk)
    }
}

/// Makes an issuer of these fields over the usual ones, and returns it.
async fn create(owner: &Owner, fields: Value) -> Result<Value> {
    let mut body = json!({ "name": "id", "iss": ISS, "aud": AUD });
    for (name, value) in fields.as_object().context("fields are an object")? {
        body[name] = value.clone();
    }
    owner.post(&format!("/apps/{}/issuers", owner.app), &body).await?.ok()
}

fn path(owner: &Owner, issuer: &Value) -> String {
    format!("/apps/{}/issuers/{}", owner.app, issuer["id"].as_str().unwrap_or_default())
}

/// Connects once the data plane knows the issuer.
async fn connect(owner: &Owner, name: &str, token: &str) -> Result<Client> {
    eventually("the issuer's token is taken", async || {
        Ok(Client::connect(&owner.app_url(), name, Some(token)).await.ok())
    })
    .await
}

/// The code with which a token is refused.
async fn refused(owner: &Owner, token: &str) -> Result<String> {
    let mut client = Client::open(&owner.app_url(), "refused").await?;
    let error = client.refused("connect", json!({ "token": token })).await?;
    Ok(error["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_issuers_users_come_in_under_its_ceiling_and_its_changes_act_on_them() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let rule =
        json!({ "pattern": "**", "who": "role:staff", "operations": ["subscribe", "publish"], "effect": "allow" });
    owner.replace_acl(&json!({ "rules": [rule] })).await?;
    let ceiling = json!({ "room:*": ["subscribe", "publish"], "hall:*": ["subscribe"] });
    let claims = json!({ "roles": ["/https:~1~1id.example~1roles"] });
    for (name, pair) in [("ed", &ED), ("ec", &EC), ("rsa", &RSA)] {
        let fields = json!({ "name": name, "key": pair.public, "kid": name, "ceiling": ceiling, "claims": claims });
        let issuer = create(&owner, fields).await?;
        assert_eq!(issuer["algorithms"], json!([pair.algorithm]), "{issuer}");
        let token = pair.sign(Some(name), &json!({ "sub": "ann", "https://id.example/roles": ["staff"] }))?;
        let mut ann = connect(&owner, "ann", &token).await?;
        assert_eq!(ann.hello["user"], "ann");
        for channel in ["room:1", "hall:1"] {
            ann.subscribe(channel).await?;
        }
        ann.publish("room:1", name).await?;
        assert_eq!(ann.message("room:1").await?["data"], name);
        // The role gives it, the issuer may not.
        let over = ann.refused("publish", json!({ "channel": "hall:1", "data": 1 })).await?;
        assert_eq!((over["code"].as_str(), over["layer"].as_str()), (Some("forbidden"), Some("issuer")), "{over}");
        // REST takes the same token.
        let url = format!("{}/channels/room:1/messages", owner.app_url());
        let posted =
            reqwest::Client::new().post(&url).bearer_auth(&token).json(&json!({ "data": "rest" })).send().await?;
        assert_eq!(posted.status(), 200);
        assert_eq!(ann.message("room:1").await?["data"], "rest");

        let lower = json!({ "ceiling": { "room:*": ["subscribe"] } });
        owner.send_if(Method::PATCH, &path(&owner, &issuer), "\"v1\"", &lower).await?.ok()?;
        let push = ann.push().await?;
        assert_eq!(
            (&push["unsubscribed"]["channel"], &push["unsubscribed"]["error"]["layer"]),
            (&json!("hall:1"), &json!("issuer"))
        );
        let publish = json!({ "channel": "room:1", "data": 1 });
        assert_eq!(ann.refused("publish", publish).await?["layer"], "issuer");
        let off = json!({ "enabled": false });
        owner.send_if(Method::PATCH, &path(&owner, &issuer), "\"v2\"", &off).await?.ok()?;
        assert_eq!(ann.closed().await?, (4403, "token_revoked".to_owned()));
        assert_eq!(refused(&owner, &token).await?, "token_revoked");
        owner.send_if(Method::PATCH, &path(&owner, &issuer), "\"v3\"", &json!({ "enabled": true })).await?.ok()?;
        let mut ann = connect(&owner, "ann", &token).await?;
        let gone = owner.send(Method::DELETE, &path(&owner, &issuer), &json!({})).await?;
        assert_eq!(gone.status, 204);
        assert_eq!(ann.closed().await?, (4403, "token_revoked".to_owned()));
        assert_eq!(refused(&owner, &token).await?, "token_invalid");
    }
    let audit = owner.get(&format!("/tenants/{}/audit", owner.tenant)).await?.ok()?.to_string();
    for action in ["issuer.created", "issuer.changed", "issuer.deleted"] {
        assert!(audit.contains(action), "{action} is in the audit log");
    }
    Ok(())
}

#[tokio::test]
async fn an_issuer_of_one_app_is_nothing_to_another() -> Result<()> {
    let server = Server::start().await?;
    let (ann, bob) = (server.sign_up_as("ann@example.com").await?, server.sign_up_as("bob@example.com").await?);
    // One kid, one iss, two apps, two keys (CVE-2026-49998): each is primed before the other's token is shown to it.
    create(&ann, json!({ "key": ED.jwk("k1")? })).await?;
    create(&bob, json!({ "key": EC.jwk("k1")? })).await?;
    let claims = json!({ "sub": "mallory" });
    let (by_ed, by_ec) = (ED.sign(Some("k1"), &claims)?, EC.sign(Some("k1"), &claims)?);
    connect(&ann, "mallory", &by_ed).await?;
    connect(&bob, "mallory", &by_ec).await?;
    for _ in 0..3 {
        assert_eq!(refused(&bob, &by_ed).await?, "token_invalid");
        assert_eq!(refused(&ann, &by_ec).await?, "token_invalid");
    }
    Ok(())
}

#[tokio::test]
async fn an_issuer_is_edited_by_its_version_and_there_are_ten_at_most() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let issuers = format!("/apps/{}/issuers", owner.app);
    let made = create(&owner, json!({ "key": ED.public })).await?;
    assert_eq!((&made["version"], &made["enabled"], &made["key"]["crv"]), (&json!(1), &json!(true), &json!("Ed25519")));
    let renamed = owner.send_if(Method::PATCH, &path(&owner, &made), "\"v1\"", &json!({ "name": "mine" })).await?;
    assert_eq!((renamed.header("etag"), &renamed.body["name"]), (Some("\"v2\""), &json!("mine")));
    let stale = owner.send_if(Method::PATCH, &path(&owner, &made), "\"v1\"", &json!({ "name": "x" })).await?;
    assert_eq!(stale.refusal()?, "precondition_failed");
    let read = owner.get(&path(&owner, &made)).await?;
    assert_eq!((read.header("etag"), &read.body["name"]), (Some("\"v2\""), &json!("mine")));
    for (body, place) in [
        (json!({ "name": "x", "iss": "x" }), "/key"),
        (json!({ "name": "x", "iss": "x", "key": RSA.public.replace("PUBLIC", "PRIVATE") }), "/key"),
        (json!({ "name": "x", "iss": "x", "jwks_url": "https://169.254.169.254@id.example/" }), "/jwks_url"),
        (json!({ "name": "x", "iss": "x", "key": ED.public, "claims": { "role": "/role" } }), "/claims/role"),
        (json!({ "name": "x", "iss": "x", "key": ED.public, "enabled": false }), "/enabled"),
    ] {
        let refusal = owner.post(&issuers, &body).await?;
        assert_eq!(
            (refusal.status, refusal.body["errors"][0]["pointer"].as_str()),
            (400, Some(place)),
            "{}",
            refusal.body
        );
    }
    for _ in 1..10 {
        create(&owner, json!({ "key": ED.public })).await?;
    }
    let full = owner.post(&issuers, &json!({ "name": "x", "iss": "x", "key": ED.public })).await?;
    assert_eq!(full.refusal()?, "limit_reached");
    let list = owner.get(&issuers).await?.ok()?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(10), "{list}");
    Ok(())
}

#[tokio::test]
async fn a_key_that_may_sign_sees_why_a_token_does_not_hold() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let issuer = create(&owner, json!({ "key": ED.public, "kid": "k1" })).await?;
    let good = ED.sign(Some("k1"), &json!({ "sub": "ann", "ff": { "roles": ["staff"] } }))?;
    drop(connect(&owner, "ann", &good).await?);
    let inspect = async |token: &str| owner.publisher().post("/tokens/inspect", &json!({ "token": token })).await?.ok();
    let told = inspect(&good).await?;
    assert_eq!(
        (&told["valid"], &told["client"]["signer"], &told["client"]["sub"]),
        (&json!(true), &issuer["id"], &json!("ann"))
    );
    let told = inspect(&ED.sign(Some("k1"), &json!({ "iss": "https://other.example/" }))?).await?;
    assert_eq!((&told["valid"], &told["problem"]["code"]), (&json!(false), &json!("token_invalid")));
    assert_eq!(told["claims"]["iss"], "https://other.example/", "what it says is shown, believed or not");
    assert!(told["problem"]["detail"].as_str().is_some_and(|detail| detail.contains("iss")), "{told}");
    assert_eq!(inspect("a.b.c").await?["valid"], false);
    let publisher = owner.publisher_with(&owner.create_key("publisher", &json!({ "**": ["publish"] })).await?);
    let refused = eventually("the key arrives", async || {
        let answer = publisher.post("/tokens/inspect", &json!({ "token": good })).await?;
        Ok((answer.status == 403).then_some(answer))
    });
    assert_eq!(refused.await?.body["layer"], "key");
    Ok(())
}

/// What a connect storm costs: the second connect with a token verifies no signature again, and nobody waits long.
#[tokio::test]
async fn a_storm_of_one_issuers_users_is_let_in() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    create(&owner, json!({ "key": RSA.public, "kid": "k1" })).await?;
    let token = RSA.sign(Some("k1"), &json!({ "sub": "ann" }))?;
    drop(connect(&owner, "ann", &token).await?);
    let tokens = (0..100).map(|n| RSA.sign(Some("k1"), &json!({ "sub": "ann", "n": n / 2 })));
    let tokens: Vec<String> = tokens.collect::<Result<_>>()?;
    let url = owner.app_url();
    let came = tokens.iter().map(|token| Client::connect(&url, "ann", Some(token)));
    let came = futures_util::future::try_join_all(came).await?;
    assert_eq!(came.len(), 100);
    Ok(())
}
