//! Deleting all that a channel keeps, after its name was typed under the number.

use fanfare_api::data::{ChannelDetail, DeletedHistory};
use fanfare_core::ChannelName;
use leptos::prelude::*;

use crate::api::Inspector;
use crate::components::attempt::Attempt;
use crate::components::confirm::ConfirmByName;
use crate::components::dialog::Dialog;
use crate::components::load::Load;
use crate::format;

/// The dialog.
#[component]
pub(super) fn DeleteHistory(
    inspector: Inspector,
    name: ChannelName,
    open: RwSignal<bool>,
    load: Load<ChannelDetail>,
    on_done: Callback<()>,
) -> impl IntoView {
    let name = StoredValue::new(name);
    view! {
        <Dialog open=open title="Delete history" id="delete-history">
            {move || {
                let attempt = Attempt::new();
                let confirm = Callback::new(move |()| {
                    let call = inspector.delete_history(&name.get_value());
                    attempt.run(call, move |_: DeletedHistory| on_done.run(()));
                });
                let kept = untrack(|| load.get()).map_or_else(|| "everything".to_owned(), |detail| kept(detail.messages));
                view! {
                    <ConfirmByName
                        expected=name.with_value(ToString::to_string)
                        label="Name of the channel"
                        action="Delete history"
                        attempt=attempt
                        on_confirm=confirm
                        on_cancel=Callback::new(move |()| open.set(false))
                    >
                        <p><strong>{format!("This deletes {kept} that {} keeps.", name.with_value(ToString::to_string))}</strong></p>
                        <ul class="bullets">
                            <li>"Nobody can read them again, and it cannot be undone."</li>
                            <li>"Whoever recovers from before is told "<code>"truncated"</code>"."</li>
                            <li>"Subscribers keep what they have; messages that come are kept as before."</li>
                        </ul>
                    </ConfirmByName>
                }
            }}
        </Dialog>
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to people")]
fn kept(messages: u64) -> String {
    format::counted(messages as f64, "message")
}
