//! Moments: how long ago, with the exact time on hover.

use chrono::{DateTime, Utc};
use leptos::prelude::*;

use crate::{browser, format};

/// How soon something will be, or how long ago it was.
#[component]
pub(crate) fn Until(
    /// When.
    at: DateTime<Utc>,
) -> impl IntoView {
    let at_ms = at.timestamp_millis() as f64;
    let text = format::until(at_ms - browser::now_ms());
    view! { <time class="nowrap" datetime=at.to_rfc3339() title=browser::full_time(at_ms)>{text}</time> }
}

/// How long ago something was.
#[component]
pub(crate) fn Ago(
    /// When.
    at: DateTime<Utc>,
) -> impl IntoView {
    let at_ms = at.timestamp_millis() as f64;
    let text = format::ago(browser::now_ms() - at_ms);
    view! { <time class="nowrap" datetime=at.to_rfc3339() title=browser::full_time(at_ms)>{text}</time> }
}
