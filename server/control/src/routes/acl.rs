//! The ACL of an app.

pub(crate) mod dry_run;
pub(crate) mod explain;
pub(crate) mod versions;

use std::collections::HashSet;

use fanfare_api::acl::{AclView, ReplaceAcl, RuleView};
use fanfare_api::server::StrictJson;
use fanfare_core::Who;
use fanfare_core::acl::RULES_MAX;
use fanfare_core::capability::Operations;
use fanfare_store::{AclRecord, RuleDraft};

use crate::access::{AppPath, Developer, InApp, Viewer};
use crate::check::Checks;
use crate::document::Problems;
use crate::error::ControlError;
use crate::etag::{IfMatch, Versioned};

/// Read the ACL
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/acl",
    operation_id = "get_acl",
    tag = "Access",
    params(AppPath),
    responses((status = 200, description = "The rules.", body = AclView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn get(access: InApp<Viewer>) -> Result<Versioned<AclView>, ControlError> {
    Ok(view(access.app.acl().await?))
}

/// Replace the ACL
///
/// Takes the role developer. Live connections feel it within a second.
#[utoipa::path(
    put,
    path = "/api/v1/apps/{app}/acl",
    operation_id = "replace_acl",
    tag = "Access",
    params(AppPath, ("If-Match" = String, Header, description = "The ETag of the last read.")),
    request_body = ReplaceAcl,
    responses((status = 200, description = "The rules as they are now.", body = AclView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn replace(
    access: InApp<Developer>,
    IfMatch(version): IfMatch,
    StrictJson(request): StrictJson<ReplaceAcl>,
) -> Result<Versioned<AclView>, ControlError> {
    let rules = checked(request)?;
    Ok(view(access.app.put_acl(version, rules).await?))
}

fn checked(request: ReplaceAcl) -> Result<Vec<RuleDraft>, ControlError> {
    let mut checks = Checks::default();
    if request.rules.len() > RULES_MAX {
        checks.wrong("/rules", format!("at most {RULES_MAX} rules"));
    }
    let mut ids = HashSet::new();
    for (at, rule) in request.rules.iter().enumerate().take(RULES_MAX) {
        if rule.id.is_some_and(|id| !ids.insert(id)) {
            checks.wrong(format!("/rules/{at}/id"), "stands twice");
        }
        if rule.operations.is_empty() || !rule.operations.is_subset(Operations::CLIENT) {
            let detail = "name at least one of subscribe, publish, presence, presence.read and history";
            checks.wrong(format!("/rules/{at}/operations"), detail);
        }
        if let Who::User(name) | Who::Role(name) = &rule.who
            && name.chars().any(char::is_control)
        {
            checks.wrong(format!("/rules/{at}/who"), "holds a control character");
        }
    }
    checks.finish()?;
    let rules = request.rules.into_iter().map(|rule| RuleDraft {
        id: rule.id,
        pattern: rule.pattern,
        who: rule.who,
        operations: rule.operations,
        effect: rule.effect,
    });
    Ok(rules.collect())
}

fn view(acl: AclRecord) -> Versioned<AclView> {
    let rules = acl.rules.into_iter().map(|rule| RuleView {
        id: rule.id,
        pattern: rule.pattern,
        who: rule.who,
        operations: rule.operations,
        effect: rule.effect,
    });
    Versioned(acl.version, AclView { version: acl.version, rules: rules.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(json: &str) -> Vec<String> {
        match checked(serde_json::from_str(json).expect(json)) {
            Ok(_) => Vec::new(),
            Err(error) => error.problem().errors.into_iter().map(|error| error.pointer).collect(),
        }
    }

    fn rule(who: &str, operations: &str, id: &str) -> String {
        format!(r#"{{{id}"pattern":"a:**","who":"{who}","operations":{operations},"effect":"allow"}}"#)
    }

    #[test]
    fn rules_speak_of_clients_and_what_clients_may() {
        let id = r#""id":"rul_01JD0000000000000000000000","#;
        let good = [rule("everyone", r#"["subscribe"]"#, ""), rule("role:staff", r#"["publish","history"]"#, id)];
        assert!(places(&format!(r#"{{"rules":[{}]}}"#, good.join(","))).is_empty());
        let bad = [
            rule("everyone", "[]", ""),
            rule("everyone", r#"["sign"]"#, id),
            rule("user:a\\u0000b", r#"["subscribe"]"#, id),
        ];
        assert_eq!(
            places(&format!(r#"{{"rules":[{}]}}"#, bad.join(","))),
            ["/rules/0/operations", "/rules/1/operations", "/rules/2/id", "/rules/2/who"]
        );
    }

    #[test]
    fn an_acl_is_bounded() {
        let one = rule("everyone", r#"["subscribe"]"#, "");
        let all = |count| format!(r#"{{"rules":[{}]}}"#, vec![&*one; count].join(","));
        assert!(places(&all(RULES_MAX)).is_empty());
        assert_eq!(places(&all(RULES_MAX + 1)), ["/rules"]);
    }
}
