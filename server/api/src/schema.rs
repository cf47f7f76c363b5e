//! OpenAPI schemas of the nouns of `fanfare-core`, made from its own tables so that they cannot drift from it.

use fanfare_core::limits::{LimitEffect, Scope, Unit};
use fanfare_core::measures::Metric;
use fanfare_core::permission::Layer;
use fanfare_core::settings::Durability;
use fanfare_core::{Effect, ErrorCode, Limit, Operation, Role, SlowPolicy, TokenAlgorithm};
use serde::Serialize;
use utoipa::openapi::schema::{AdditionalProperties, Array, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type};

/// What an id reads like.
#[must_use]
pub fn id(prefix: &str, what: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^{prefix}_[0-7][0-9A-HJKMNP-TV-Z]{{25}}$")))
        .description(Some(what))
        .examples([format!("{prefix}_01JD0000000000000000000000")])
        .build()
}

macro_rules! ids {
    ($($name:ident = $prefix:literal, $what:literal;)+) => {$(
        #[doc = $what]
        #[must_use]
        pub fn $name() -> Object { id($prefix, $what) }
    )+};
}

ids! {
    tenant_id = "ten", "A tenant.";
    app_id = "app", "An app.";
    key_id = "key", "A key.";
    issuer_id = "iss", "An issuer.";
    user_id = "usr", "A user.";
    rule_id = "rul", "A rule of the ACL.";
    connection_id = "con", "A connection.";
    revocation_id = "rev", "A revocation.";
    audit_id = "aud", "A row of the audit log.";
    request_id = "req", "A request, as found in logs.";
}

/// A rule's id that may be left out.
#[must_use]
pub fn optional_rule_id() -> Object {
    let mut object = id("rul", "The rule's id; leave it out for a new rule.");
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    object
}

/// A connection's id that may be left out.
#[must_use]
pub fn optional_connection_id() -> Object {
    let mut object = connection_id();
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    object
}

/// A key's id that may be left out.
#[must_use]
pub fn optional_key_id() -> Object {
    let mut object = key_id();
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    object
}

/// An issuer's id that may be left out.
#[must_use]
pub fn optional_issuer_id() -> Object {
    let mut object = issuer_id();
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    object
}

/// A channel's name that may be left out.
#[must_use]
pub fn optional_channel() -> Object {
    let mut object = channel();
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    object
}

fn words<T: Serialize>(all: impl IntoIterator<Item = T>, what: &str) -> Object {
    let words = all.into_iter().map(|word| serde_json::to_value(word).expect("words of the core print as text"));
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.collect::<Vec<_>>()))
        .description(Some(what))
        .build()
}

/// One of the codes.
#[must_use]
pub fn error_code() -> Object {
    words(ErrorCode::ALL, "What programs compare. Every code has a page.")
}

/// One of the limits.
#[must_use]
pub fn limit() -> Object {
    words(Limit::ALL, "The limit's name.")
}

/// One of the metrics.
#[must_use]
pub fn metric() -> Object {
    words(Metric::ALL, "The metric's name.")
}

/// A histogram as pairs.
#[must_use]
pub fn histogram() -> utoipa::openapi::schema::Array {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let pair = ArrayBuilder::new().items(number).min_items(Some(2)).max_items(Some(2));
    ArrayBuilder::new().items(pair).description(Some("Pairs of a lower bound in microseconds and a count.")).build()
}

/// What a limit is counted over.
#[must_use]
pub fn limit_scope() -> Object {
    use Scope::{App, Channel, Connection, Key, Message, Request};
    words([App, Channel, Connection, Key, Message, Request], "What it is counted over.")
}

/// What a limit's number means.
#[must_use]
pub fn limit_unit() -> Object {
    words([Unit::Count, Unit::Bytes, Unit::PerSecond, Unit::Milliseconds], "What its number means.")
}

/// What happens at a limit.
#[must_use]
pub fn limit_effect() -> Object {
    use LimitEffect::{Close, Conflate, RefuseNew, Reject, Trim};
    words([Reject, RefuseNew, Trim, Conflate, Close], "What happens when it is reached.")
}

/// What becomes of messages that a subscriber does not take.
#[must_use]
pub fn slow_policy() -> Object {
    let mut object = words(
        SlowPolicy::ALL,
        "recover: read on from history when the client reads again. conflate: keep only the latest with each key. \
         drop_oldest: let the oldest go and tell how many. disconnect: close the connection.",
    );
    object.default = Some(SlowPolicy::default().as_str().into());
    object
}

/// What an acknowledgement means.
#[must_use]
pub fn durability() -> Object {
    let mut object = words(
        Durability::ALL,
        "memory: the message is in the memory of one machine. replicated: it is on another too, or the publish is refused \
         as not_replicated; needs history, and a Redis with a replica.",
    );
    object.default = Some(Durability::default().as_str().into());
    object
}

/// A layer of permissions.
#[must_use]
pub fn layer() -> Object {
    words(Layer::ALL, "The layer of permissions that refused.")
}

/// How an issuer signs.
#[must_use]
pub fn token_algorithm() -> Object {
    words(TokenAlgorithm::ALL, "How an issuer signs.")
}

/// Ways in which an issuer may sign.
#[must_use]
pub fn token_algorithms() -> Array {
    ArrayBuilder::new().items(token_algorithm()).build()
}

/// A member's role.
#[must_use]
pub fn role() -> Object {
    words(Role::ALL, "What a member may do.")
}

/// Allow or deny.
#[must_use]
pub fn effect() -> Object {
    words([Effect::Allow, Effect::Deny], "Whether the rule gives or takes. A deny beats everything.")
}

/// A list of operations.
#[must_use]
pub fn operations() -> utoipa::openapi::schema::Array {
    ArrayBuilder::new()
        .items(words(Operation::ALL, "Something that can be done."))
        .max_items(Some(Operation::ALL.len()))
        .description(Some("Operations."))
        .build()
}

/// A map from pattern to operations.
#[must_use]
pub fn capabilities() -> Object {
    ObjectBuilder::new()
        .additional_properties(Some(AdditionalProperties::from(utoipa::openapi::Schema::from(operations()))))
        .description(Some(
            "From pattern to operations, at most 256 patterns. A channel gets what every matching pattern gives.",
        ))
        .examples([serde_json::json!({ "room:*": ["subscribe", "publish"] })])
        .build()
}

/// A pattern over channel names.
#[must_use]
pub fn pattern() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(200))
        .description(Some(
            "Segments parted by `:`; `*` stands for one segment, `{sub}` for a claim, `**` at the end for one or more.",
        ))
        .examples(["room:**"])
        .build()
}

/// A channel's name.
#[must_use]
pub fn channel() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(200))
        .description(Some("1 to 200 bytes of printable ASCII, without space and * { } [ ] ? % \\ \" < >, in segments parted by single colons."))
        .examples(["room:9"])
        .build()
}

/// A pattern that may be absent.
#[must_use]
pub fn optional_pattern() -> Object {
    let mut object = pattern();
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    object
}

/// One operation.
#[must_use]
pub fn operation() -> Object {
    words(Operation::ALL, "Something that can be done.")
}

/// Something that can be done, where it may be left out.
#[must_use]
pub fn optional_operation() -> Object {
    let mut object = operation();
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    object
}

/// Whom a rule speaks of.
#[must_use]
pub fn who() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^(anonymous|identified|everyone|user:.{1,255}|role:.{1,255})$"))
        .description(Some("Whom the rule speaks of."))
        .examples(["role:staff"])
        .build()
}

/// A text that is secret: a password, or a key that is shown once.
#[must_use]
pub fn secret() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::Password)))
        .build()
}

/// Any JSON value.
#[must_use]
pub fn any() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some("Any JSON value.")).build()
}
