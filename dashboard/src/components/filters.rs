//! What a list is narrowed to: a field for each thing, and a chip for each that is chosen. The choice lives in the URL.

use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};

use super::icon::{Icon, Shape};
use crate::browser;

/// One thing that a list can be narrowed to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter {
    /// Its name in the URL.
    pub(crate) name: &'static str,
    /// Its name for people.
    pub(crate) label: &'static str,
}

/// What the URL chooses for a filter, tracked; empty when it chooses nothing.
pub(crate) fn chosen(name: &'static str) -> Memo<String> {
    let query = use_query_map();
    Memo::new(move |_| query.with(|query| query.get(name)).unwrap_or_default())
}

/// The fields and the chips.
#[component]
pub(crate) fn Filters(
    /// What can be chosen.
    filters: &'static [Filter],
    /// The page's path, with whatever of its URL stays as it is.
    #[prop(into)]
    path: Signal<String>,
) -> impl IntoView {
    let chosen: Vec<(Filter, Memo<String>)> = filters.iter().map(|filter| (*filter, chosen(filter.name))).collect();
    let typed: Vec<RwSignal<String>> = chosen.iter().map(|_| RwSignal::new(String::new())).collect();
    // Going back in the browser's history shows in the fields too.
    for ((_, chosen), typed) in chosen.iter().zip(&typed) {
        let (chosen, typed) = (*chosen, *typed);
        Effect::new(move || typed.set(chosen.get()));
    }
    let go = use_navigate();
    let values = typed.clone();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let given: Vec<String> = values.iter().map(|value| value.get_untracked().trim().to_owned()).collect();
        let query: Vec<(&str, &str)> =
            filters.iter().zip(&given).map(|(filter, value)| (filter.name, value.as_str())).collect();
        go(&path.with_untracked(|path| browser::with_query(path, &query)), NavigateOptions::default());
    };
    let fields = filters.iter().zip(&typed).map(|(filter, value)| view! { <FilterField filter=*filter value=*value/> });
    let fields: Vec<_> = fields.collect();
    let all = StoredValue::new(chosen);
    let chips = move || {
        all.with_value(|all| {
            let now: Vec<(Filter, String)> = all.iter().map(|(filter, value)| (*filter, value.get())).collect();
            let chip = |(at, (filter, value)): (usize, &(Filter, String))| {
                let (label, value) = (filter.label, value.clone());
                let others: Vec<(&str, &str)> = now
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != at)
                    .map(|(_, (filter, value))| (filter.name, value.as_str()))
                    .collect();
                let href = path.with(|path| browser::with_query(path, &others));
                view! {
                    <li>
                        <a class="chip" href=href title="Remove this filter">
                            <span class="visually-hidden">"Remove the filter "</span>
                            <span class="muted">{label}</span>
                            " "
                            <code>{value}</code>
                            <Icon shape=Shape::CLOSE/>
                        </a>
                    </li>
                }
            };
            now.iter().enumerate().filter(|(_, (_, value))| !value.is_empty()).map(chip).collect::<Vec<_>>()
        })
    };
    view! {
        <div class="filters">
            <form class="filter-row" role="search" aria-label="Filters" on:submit=submit>
                {fields}
                <button class="button" type="submit"><Icon shape=Shape::SEARCH/>"Filter"</button>
            </form>
            <ul class="chip-list" aria-label="Chosen filters">{chips}</ul>
        </div>
    }
}

#[component]
fn FilterField(filter: Filter, value: RwSignal<String>) -> impl IntoView {
    let id = format!("filter-{}", filter.name);
    view! {
        <div class="filter">
            <label class="field-label" for=id.clone()>{filter.label}</label>
            <input
                class="input input-small"
                id=id
                type="text"
                autocomplete="off"
                spellcheck="false"
                prop:value=move || value.get()
                on:input:target=move |event| value.set(event.target().value())
            />
        </div>
    }
}
