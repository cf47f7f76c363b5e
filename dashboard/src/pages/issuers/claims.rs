//! Where in an issuer's tokens what lies, as typed: JSON pointers, and claims that must be exact.

use std::collections::BTreeMap;

use fanfare_core::issuer::{ClaimMap, ClaimPath};
use leptos::prelude::*;

use crate::api::ApiError;
use crate::components::field::Field;
use crate::components::reading::Reading;
use crate::components::text_area::TextArea;

/// The claim map as typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClaimFields {
    sub: RwSignal<String>,
    roles: RwSignal<String>,
    cap: RwSignal<String>,
    info: RwSignal<String>,
    required: RwSignal<String>,
}

impl ClaimFields {
    /// Filled with this map.
    pub(super) fn of(map: &ClaimMap) -> Self {
        let empty = || RwSignal::new(String::new());
        let fields = Self { sub: empty(), roles: empty(), cap: empty(), info: empty(), required: empty() };
        fields.fill(map);
        fields
    }

    /// Puts this map in the place of what is typed.
    pub(super) fn fill(self, map: &ClaimMap) {
        let one = |path: &Option<ClaimPath>| path.as_ref().map(ClaimPath::to_string).unwrap_or_default();
        self.sub.set(one(&map.sub));
        self.cap.set(one(&map.cap));
        self.info.set(one(&map.info));
        self.roles.set(lines(map.roles.iter().map(ClaimPath::to_string)));
        self.required.set(lines(map.required.iter().map(|(path, text)| format!("{path} = {text}"))));
    }

    /// The map, tracked.
    pub(super) fn read(self, reading: &mut Reading) -> ClaimMap {
        let mut one = |pointer, typed: RwSignal<String>| {
            typed
                .with(|text| Some(text.trim()).filter(|text| !text.is_empty()).map(str::parse::<ClaimPath>))
                .and_then(|path| reading.at(pointer, path))
        };
        let (sub, cap, info) =
            (one("/claims/sub", self.sub), one("/claims/cap", self.cap), one("/claims/info", self.info));
        let roles = self.roles.with(|text| filled(text).map(str::parse).collect::<Result<Vec<ClaimPath>, _>>());
        let required = self.required.with(|text| filled(text).map(exact).collect::<Result<BTreeMap<_, _>, _>>());
        ClaimMap {
            sub,
            roles: reading.at("/claims/roles", roles).unwrap_or_default(),
            cap,
            info,
            required: reading.at("/claims/required", required).unwrap_or_default(),
        }
    }
}

fn lines(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join("\n")
}

fn filled(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// A claim and the text that it must be.
fn exact(line: &str) -> Result<(ClaimPath, Box<str>), String> {
    let (path, text) = line.split_once(" = ").ok_or("one claim a line, as in /client_id = abc")?;
    let path = path.trim().parse::<ClaimPath>().map_err(|wrong| wrong.to_string())?;
    Ok((path, text.trim().into()))
}

/// The fields, behind a summary: most tokens need none of them.
#[component]
pub(super) fn ClaimInputs(fields: ClaimFields, error: Signal<Option<ApiError>>) -> impl IntoView {
    // Open where something is set, and where something is wrong; closed by the reader's hand alone.
    let is_set = [fields.sub, fields.roles, fields.cap, fields.info, fields.required]
        .into_iter()
        .any(|typed| typed.with_untracked(|text| !text.is_empty()));
    let is_open = Memo::new(move |was: Option<&bool>| {
        let wrong = error.with(|error| error.as_ref().is_some_and(|error| error.is_below("/claims")));
        let filled = fields.roles.with(|text| !text.is_empty());
        was.copied().unwrap_or(is_set) || wrong || filled
    });
    view! {
        <details class="field-more" open=move || is_open.get()>
            <summary>"Where its tokens say what"</summary>
            <div class="form">
                <p class="field-help">
                    "JSON pointers such as /app_metadata/roles; a slash inside a name is ~1. What is left empty lies where Fanfare’s own tokens have it. Never name a place that users can write themselves."
                </p>
                <div class="form-thirds">
                    <Field label="User" name="claim-sub" value=fields.sub pointer="/claims/sub" error=error optional=true help="/sub"/>
                    <Field label="Capabilities" name="claim-cap" value=fields.cap pointer="/claims/cap" error=error optional=true help="/ff/cap"/>
                    <Field label="Public info" name="claim-info" value=fields.info pointer="/claims/info" error=error optional=true help="/ff/info"/>
                </div>
                <TextArea
                    label="Roles"
                    name="claim-roles"
                    value=fields.roles
                    pointer="/claims/roles"
                    error=error
                    rows=2
                    optional=true
                    help="One place a line, at most four; all roles found count. /ff/roles unless said."
                />
                <TextArea
                    label="Required claims"
                    name="claim-required"
                    value=fields.required
                    pointer="/claims/required"
                    error=error
                    rows=2
                    optional=true
                    help="One a line, as in /client_id = abc: keeps tokens away that were made for somebody else. At most eight."
                />
            </div>
        </details>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_claim_keeps_equals_signs_of_its_text() {
        let (path, text) = exact("/a~1b = x=y = z").expect("reads");
        assert_eq!((path.to_string(), &*text), ("/a~1b".to_owned(), "x=y = z"));
        for wrong in ["", "/a", "/a=b", "a = b", "/a~2 = b"] {
            assert!(exact(wrong).is_err(), "{wrong}");
        }
        assert_eq!(filled(" /a \n\n /b").collect::<Vec<_>>(), ["/a", "/b"]);
    }
}
