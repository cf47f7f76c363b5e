//! Deleting an issuer, for good.

use fanfare_api::issuer::IssuerView;
use fanfare_core::id::AppId;
use leptos::prelude::*;

use super::path;
use crate::api::Member;
use crate::components::attempt::Attempt;
use crate::components::confirm::ConfirmByName;
use crate::components::snippet::AsCurl;
use crate::figures::Figures;
use crate::{format, snippets};

/// The inside of the dialog.
#[component]
pub(super) fn RemoveForm(
    app: AppId,
    issuer: IssuerView,
    on_done: Callback<()>,
    on_cancel: Callback<()>,
) -> impl IntoView {
    let member = expect_context::<Member>();
    let figures = expect_context::<Figures>();
    let attempt = Attempt::new();
    let id = issuer.id;
    let confirm = Callback::new(move |()| attempt.run(member.delete_issuer(app, id), move |()| on_done.run(())));
    let command = snippets::control("DELETE", &format!("{}/{id}", path(app)), None, None);
    let open = move || {
        let last = figures.samples.with(|samples| samples.last().map(|sample| sample.connections));
        match last {
            Some(count) if count < 0.5 => " The app has none open now.".to_owned(),
            Some(count) => {
                format!(" The app has {} open now, by whatever token.", format::counted(count, "connection"))
            }
            None => String::new(),
        }
    };
    view! {
        <ConfirmByName
            expected=issuer.name.clone()
            label="Name of the issuer"
            action="Delete issuer"
            attempt=attempt
            on_confirm=confirm
            on_cancel=on_cancel
        >
            <p>"From the moment you delete "<strong>{issuer.name.clone()}</strong>":"</p>
            <ul class="bullets">
                <li>"Tokens with iss "<code>{issuer.iss.clone()}</code>" are refused."</li>
                <li>"Every connection made with one of them is closed, usually within a second."{open}</li>
                <li>"It cannot be undone. To stop for a time, change it and take its tokens no more."</li>
            </ul>
            <AsCurl text=command plain=true/>
        </ConfirmByName>
    }
}
