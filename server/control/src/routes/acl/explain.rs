//! Whether a client may do something, and why: each layer's word.

use axum::Json;
use axum::extract::State;
use fanfare_api::acl::{ExplainRequest, Explanation, LayerWord};
use fanfare_api::server::StrictJson;
use fanfare_core::permission::{Because, ClientSubject, Layer, Word, explain};
use fanfare_core::{Ceiling, ChannelName, Operation, Signer};
use fanfare_store::AppStore;

use crate::access::{AppPath, InApp, Viewer};
use crate::check::Checks;
use crate::document::Problems;
use crate::error::ControlError;
use crate::state::Control;

/// The longest name of a user or role, and the most roles, as in tokens.
const NAME_BYTES_MAX: usize = 255;
const ROLES_MAX: usize = 64;
/// The most other claims, as in tokens.
const CLAIMS_MAX: usize = 32;

/// Explain a permission
///
/// May a client with such a token do this there, and why: every layer's word, with the rule or pattern behind it. Nothing
/// is changed and nobody is asked; the rules in force decide. A token's own expiry and revocation are not looked at.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/acl/explain",
    operation_id = "explain_acl",
    tag = "Access",
    params(AppPath),
    request_body = ExplainRequest,
    responses((status = 200, description = "Whether it may, and why.", body = Explanation), Problems),
)]
pub(crate) async fn post(
    State(control): State<Control>,
    access: InApp<Viewer>,
    StrictJson(request): StrictJson<ExplainRequest>,
) -> Result<Json<Explanation>, ControlError> {
    let channel = checked(&request)?;
    let (ceiling, dead) = signer(&control, &access.app, &request).await?;
    let status = access.app.in_tenant().record().await?.status;
    let acl = access.app.acl().await?;
    let operation = request.operation;
    let client = client(request, ceiling);
    let words = explain((status, &acl.rules), &client, operation, &channel);
    let mut layers: Vec<LayerWord> = words.into_iter().map(|word| told(word, operation)).collect();
    if let Some(why) = dead
        && let Some(word) = layers.iter_mut().find(|word| matches!(word.layer, Layer::Key | Layer::Issuer))
    {
        word.allows = false;
        word.pattern = None;
        word.detail = why.to_owned();
    }
    Ok(Json(Explanation { allowed: layers.iter().all(|word| word.allows), layers }))
}

/// What who signed the token may hand on, and why nothing of theirs is taken, if so.
async fn signer(
    control: &Control,
    app: &AppStore,
    request: &ExplainRequest,
) -> Result<(Option<Ceiling>, Option<&'static str>), ControlError> {
    if let Some(id) = request.key {
        let key = app.key(id).await?;
        let is_dead = key.revoked_at.is_some() || key.expires_at.is_some_and(|expires_at| expires_at <= control.now());
        let ceiling = Ceiling { signer: Signer::Key(id), capabilities: key.capabilities };
        return Ok((Some(ceiling), is_dead.then_some("The key is revoked or has expired: no token of it is taken.")));
    }
    let Some(id) = request.issuer else { return Ok((None, None)) };
    let issuer = app.issuer(id).await?.issuer;
    let ceiling = Ceiling { signer: Signer::Issuer(id), capabilities: issuer.ceiling };
    Ok((Some(ceiling), (!issuer.enabled).then_some("The issuer is switched off: no token of it is taken.")))
}

fn checked(request: &ExplainRequest) -> Result<ChannelName, ControlError> {
    let mut checks = Checks::default();
    let is_name = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len());
    let channel = ChannelName::parse_any(&request.channel);
    if let Err(error) = &channel {
        checks.wrong("/channel", error.to_string());
    }
    if !request.operation.is_client() {
        checks.wrong(
            "/operation",
            "is one of keys alone; clients have subscribe, publish, presence, presence.read, history",
        );
    }
    if request.sub.as_ref().is_some_and(|sub| !is_name(sub)) {
        checks.wrong("/sub", "has 1 to 255 bytes");
    }
    if request.roles.len() > ROLES_MAX || !request.roles.iter().all(|role| is_name(role)) {
        checks.wrong("/roles", "at most 64 texts of 1 to 255 bytes");
    }
    if request.claims.len() > CLAIMS_MAX {
        checks.wrong("/claims", "at most 32");
    }
    let is_client = |operations: fanfare_core::Operations| operations.is_subset(fanfare_core::Operations::CLIENT);
    if !request.cap.as_ref().is_none_or(|cap| is_client(cap.operations())) {
        checks.wrong("/cap", "has an operation that only keys may have");
    }
    if request.key.is_some() && request.issuer.is_some() {
        checks.wrong("/issuer", "excludes key: one of them signed the token");
    }
    if request.key.is_none() && request.issuer.is_none() && (request.sub.is_some() || request.cap.is_some()) {
        checks.wrong("/key", "or issuer is needed: a user and a cap come with a token, and one of them signs it");
    }
    checks.finish()?;
    channel.map_err(|_| ControlError::Defect("a channel's name was checked and is wrong"))
}

fn client(request: ExplainRequest, ceiling: Option<Ceiling>) -> ClientSubject {
    ClientSubject {
        sub: request.sub.map(Into::into),
        roles: request.roles.into_iter().map(Into::into).collect(),
        capabilities: request.cap,
        ceiling,
        claims: request.claims.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        ..ClientSubject::default()
    }
}

fn told(word: Word, operation: Operation) -> LayerWord {
    let Word { layer, allows, because } = word;
    let (detail, rule, pattern) = match because {
        Because::Unconcerned if layer == Layer::Key => {
            ("There is no token, so no key's capabilities bound it.".to_owned(), None, None)
        }
        Because::Unconcerned if layer == Layer::Token => {
            ("The token has no cap: the rules decide.".to_owned(), None, None)
        }
        Because::Unconcerned => ("The token has a cap: no allow rule is needed.".to_owned(), None, None),
        Because::Tenant if allows => ("The tenant is active.".to_owned(), None, None),
        Because::Tenant => ("The tenant is suspended.".to_owned(), None, None),
        Because::Pattern(pattern) => (format!("{operation} is given by the pattern {pattern}."), None, Some(pattern)),
        Because::NoPattern => (format!("No pattern gives {operation} on this channel."), None, None),
        Because::Rule(rule) if allows => (format!("{operation} is allowed by the rule {rule}."), Some(rule), None),
        Because::Rule(rule) => (format!("{operation} is denied by the rule {rule}."), Some(rule), None),
        Because::NoAllow => (format!("No rule allows {operation} on this channel to this client."), None, None),
        Because::NoDeny => ("No rule denies it.".to_owned(), None, None),
    };
    LayerWord { layer, allows, detail, rule, pattern }
}
