//! What the palette can go to.

use crate::app::NAVIGATION;
use crate::session::{Here, SessionHandle};

/// Something to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Its name, by which it is found.
    pub(super) title: String,
    /// What it is.
    pub(super) kind: &'static str,
    /// Where it is.
    pub(super) path: String,
}

/// Everything the reader may see: the pages of this app, their other apps, and what belongs to none.
pub(super) fn targets(here: Option<Here>, session: SessionHandle) -> Vec<Target> {
    let mut all = Vec::new();
    if let Some(here) = here {
        all.extend(NAVIGATION.iter().map(|entry| Target {
            title: entry.title.to_owned(),
            kind: "page",
            path: format!("/apps/{}{}", here.app.id, entry.path),
        }));
    }
    for tenant in session.view().map(|view| view.tenants).unwrap_or_default() {
        all.extend(tenant.apps.iter().map(|app| Target {
            title: app.name.clone(),
            kind: "app",
            path: format!("/apps/{}", app.id),
        }));
        all.push(Target {
            title: format!("Apps of {}", tenant.name),
            kind: "page",
            path: format!("/tenants/{}", tenant.id),
        });
    }
    all.push(Target { title: "Error codes".to_owned(), kind: "page", path: "/errors".to_owned() });
    all
}
