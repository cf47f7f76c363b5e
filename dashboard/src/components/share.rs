//! How much of something is used, as a bar with its words.

use leptos::prelude::*;

/// The bar.
#[component]
pub(crate) fn Share(
    /// How much is used.
    used: u64,
    /// Of how much.
    max: u64,
    /// The same in words.
    text: String,
) -> impl IntoView {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    let share = (used as f64 / max.max(1) as f64 * 100.0).min(100.0);
    let (class, word) = match share {
        full if full >= 100.0 => ("bar-share bad", ", full"),
        near if near >= 80.0 => ("bar-share warn", ", near"),
        _ => ("bar-share good", ""),
    };
    view! {
        <span class=class>
            <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
                <rect class="bar-room" width="100" height="6"></rect>
                <rect class="bar-used" width=format!("{share:.1}") height="6"></rect>
            </svg>
            <span class="small nowrap">{format!("{text}, {share:.0} %{word}")}</span>
        </span>
    }
}
