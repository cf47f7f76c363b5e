//! The OpenAPI document: what is said once for all operations.

use std::collections::BTreeMap;

use fanfare_api::ProblemDocument;
use fanfare_api::problem::PROBLEM_JSON;
use fanfare_core::ErrorCode;
use http::header;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, Object, ObjectBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Type,
};
use utoipa::{IntoResponses, OpenApi as _};

use crate::csrf::X_FANFARE_CSRF;
use crate::idempotency::IDEMPOTENCY_KEY;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Fanfare control plane",
        description = "Tenants, apps, keys, access and settings: what the dashboard calls.\n\nBodies are JSON; unknown \
            fields and repeated keys are refused. Lists come in pages: hand `next` back as `after`. Documents that people \
            edit have a version: send the `ETag` you read as `If-Match`. Errors are problem documents whose `code` is the \
            contract; every code has a page at `/errors/<code>`.",
    ),
    components(schemas(ProblemDocument)),
    security(("session" = [])),
    tags(
        (name = "Sessions", description = "Signing up, in and out."),
        (name = "Apps", description = "Worlds of their own for channels."),
        (name = "Keys", description = "What backends call with, and sign tokens with."),
        (name = "Issuers", description = "Whose tokens are taken beside those of keys."),
        (name = "Access", description = "The app's own word on who may do what."),
        (name = "Channel settings", description = "History, echo and idempotency, per pattern."),
        (name = "Limits", description = "What is bounded, and by how much."),
        (name = "Statistics", description = "What an app did over time, and what it used."),
        (name = "Live", description = "The dashboard's way onto the data plane."),
        (name = "Audit", description = "Who changed what."),
    ),
)]
struct Base;

/// The document before any operation is in it.
pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

/// What all operations of a kind share, so that none can forget it.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    let cookie = ApiKeyValue::with_description(
        "__Host-fanfare",
        "The session, as sign-in set it; named `fanfare` where the dashboard is reached by plain http.",
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    for item in document.paths.paths.values_mut() {
        for parameter in parameters(item).filter(|parameter| parameter.parameter_in == ParameterIn::Path) {
            // Where a schema is written by hand utoipa takes a parameter for optional; a part of the path never is.
            parameter.required = Required::True;
        }
        for operation in changes(item) {
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(csrf());
            let is_open = operation.security.is_some();
            if operation.responses.responses.contains_key("201") && !is_open {
                parameters.push(repeat());
            }
        }
    }
    document
}

fn changes(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn parameters(item: &mut PathItem) -> impl Iterator<Item = &mut Parameter> {
    let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
    all.into_iter().flatten().flat_map(|operation| operation.parameters.iter_mut().flatten()).filter_map(
        |one| match one {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        },
    )
}

fn header_parameter(name: &str, schema: Object, required: Required, what: &str) -> RefOr<Parameter> {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
    parameter.required(required).schema(Some(schema)).description(Some(what)).build().into()
}

fn csrf() -> RefOr<Parameter> {
    let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["1"])).build();
    let what = "Says that the dashboard, or a program, asks for this change, and not a page of another site.";
    header_parameter(X_FANFARE_CSRF.as_str(), schema, Required::True, what)
}

fn repeat() -> RefOr<Parameter> {
    let schema = ObjectBuilder::new().schema_type(Type::String).max_length(Some(128)).build();
    let what =
        "A text of your choice that stands for this request for a day: sent again, it is answered again and done once.";
    header_parameter(IDEMPOTENCY_KEY.as_str(), schema, Required::False, what)
}

/// The answer to everything that goes wrong, for the documents of operations.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDocument"))).build();
        let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        let example = codes.first().copied().unwrap_or_default();
        let what = format!("A problem document. Its `code`, such as `{example}`, is the contract.");
        let response = ResponseBuilder::new().description(what).content(PROBLEM_JSON, body);
        let retry = utoipa::openapi::header::HeaderBuilder::new().description(Some("Seconds to wait.")).build();
        let response = response.header(header::RETRY_AFTER.as_str(), retry).build();
        BTreeMap::from([("default".to_owned(), response.into())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(document: &OpenApi) -> Vec<(String, &'static str, &Operation)> {
        let paths = document.paths.paths.iter();
        paths
            .flat_map(|(path, item)| {
                let methods = [("get", &item.get), ("post", &item.post), ("put", &item.put), ("patch", &item.patch)];
                methods.into_iter().filter_map(move |(method, found)| Some((path.clone(), method, found.as_ref()?)))
            })
            .collect()
    }

    #[test]
    fn every_operation_says_what_it_does_and_how_it_fails() {
        let document = crate::openapi();
        let all = operations(&document);
        assert!(all.len() >= 20, "{}", all.len());
        for (path, method, operation) in all {
            let place = format!("{method} {path}");
            assert!(path.starts_with("/api/v1/"), "{place}");
            assert!(
                operation.summary.is_some() && operation.operation_id.is_some() && operation.tags.is_some(),
                "{place}"
            );
            assert!(operation.responses.responses.contains_key("default"), "{place}");
            let named = operation.parameters.iter().flatten().filter_map(|one| match one {
                RefOr::T(parameter) => (parameter.parameter_in == ParameterIn::Path).then_some(parameter),
                RefOr::Ref(_) => None,
            });
            let named: Vec<&Parameter> = named.collect();
            assert_eq!(named.len(), path.matches('{').count(), "{place}");
            assert!(named.iter().all(|parameter| parameter.required == Required::True), "{place}");
        }
    }

    #[test]
    fn every_change_tells_the_headers_it_takes() {
        let document = crate::openapi();
        for (path, method, operation) in operations(&document) {
            let takes = |name: &str| {
                operation.parameters.iter().flatten().any(|one| match one {
                    RefOr::T(parameter) => parameter.name == name,
                    RefOr::Ref(_) => false,
                })
            };
            let place = format!("{method} {path}");
            assert_eq!(takes("x-fanfare-csrf"), method != "get", "{place}");
            // Going back to an earlier version replaces a document as well.
            let replaces = matches!(method, "put" | "patch") || path.ends_with("/restore");
            assert_eq!(takes("If-Match"), replaces, "{place}");
            let creates = operation.responses.responses.contains_key("201") && operation.security.is_none();
            assert_eq!(takes("idempotency-key"), creates, "{place}");
        }
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let document = serde_json::to_string(&crate::openapi()).expect("prints");
        let known = crate::openapi().components.expect("has components").schemas;
        for name in document.split("#/components/schemas/").skip(1) {
            let name = name.split('"').next().unwrap_or_default();
            assert!(known.contains_key(name), "{name}");
        }
    }
}
