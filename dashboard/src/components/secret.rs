//! A secret that is shown once.

use fanfare_api::SecretText;
use leptos::prelude::*;

use super::icon::{Icon, Shape};
use super::snippet::CopyButton;
use crate::browser;

/// Shows a whole key, with copy and download, and says that it will not be shown again.
#[component]
pub(crate) fn SecretOnce(
    /// `key_…:ffs_…`.
    secret: SecretText,
) -> impl IntoView {
    let text = secret.expose().to_owned();
    let file = format!("FANFARE_KEY={text}\n");
    view! {
        <div class="secret">
            <p><strong>"Keep this key now."</strong>" It is shown this once; Fanfare cannot show it again."</p>
            <code data-testid="secret">{text.clone()}</code>
            <div class="row">
                <CopyButton text=text what="key"/>
                <button
                    class="button button-small"
                    type="button"
                    on:click=move |_| browser::download("fanfare.env", &file)
                >
                    <Icon shape=Shape::DOWNLOAD/>
                    "Download .env"
                </button>
            </div>
        </div>
    }
}
