//! Operations to tick.

use fanfare_core::Operation;
use fanfare_core::capability::Operations;
use leptos::prelude::*;

/// A box for each operation that is offered.
#[component]
pub(crate) fn OperationBoxes(
    /// Those that are ticked.
    #[prop(into)]
    ticked: Signal<Operations>,
    /// What they are after one was ticked or not any more.
    on_change: Callback<Operations>,
    /// Those that are offered.
    among: Operations,
) -> impl IntoView {
    let one = move |operation: Operation| {
        let has = move || ticked.get().contains(operation);
        let toggle = move |_| {
            let all = ticked.get_untracked();
            let on = all.contains(operation);
            let rest = all.iter().filter(|one| *one != operation);
            on_change.run(rest.chain((!on).then_some(operation)).collect());
        };
        view! {
            <label>
                <input type="checkbox" prop:checked=has on:change=toggle/>
                {operation.as_str()}
            </label>
        }
    };
    view! { <div class="check-row">{among.iter().map(one).collect::<Vec<_>>()}</div> }
}
