//! Taking the settings of a pattern out.

use fanfare_api::settings::ChannelSettingsView;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use super::with;
use crate::api::Member;
use crate::components::attempt::Attempt;
use crate::components::states::FormError;

/// The inside of the dialog.
#[component]
pub(super) fn RemoveForm(
    app: AppId,
    found: ChannelSettingsView,
    at: usize,
    on_done: Callback<()>,
    on_cancel: Callback<()>,
) -> impl IntoView {
    let member = expect_context::<Member>();
    let attempt = Attempt::new();
    let pattern = found.settings.get(at).map(|one| one.pattern.to_string()).unwrap_or_default();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let (version, replace) = (found.version, with(&found, at, None));
        attempt.run(async move { member.replace_channel_settings(app, version, &replace).await }, move |_| {
            on_done.run(())
        });
    };
    view! {
        <form class="form" on:submit=submit>
            <p>
                "Channels that "<code>{pattern}</code>
                " covers go on with the next most specific pattern, or with the defaults, within a second. If less history is kept there, what is more is gone."
            </p>
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_cancel.run(())>"Cancel"</button>
                <button class="button button-danger-solid" type="submit" disabled=move || attempt.busy.get()>
                    "Remove settings"
                </button>
            </div>
        </form>
    }
}
