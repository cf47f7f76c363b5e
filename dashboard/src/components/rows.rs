//! Rows of a table by keyboard: arrows go from the link of one row to that of the next.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

/// Moves the focus among the elements of this class inside the one that the listener stands at.
pub(crate) fn step(event: &KeyboardEvent, class: &str) {
    let key = event.key();
    if !matches!(key.as_str(), "ArrowDown" | "ArrowUp" | "Home" | "End") {
        return;
    }
    let Some(around) = event.current_target().and_then(|target| target.dyn_into::<web_sys::Element>().ok()) else {
        return;
    };
    let links = around.get_elements_by_class_name(class);
    let count = links.length();
    let here = document().active_element();
    let at = (0..count).find(|at| links.item(*at) == here);
    let next = match (key.as_str(), at) {
        (_, None) | ("Home", _) => 0,
        ("End", _) => count.saturating_sub(1),
        ("ArrowDown", Some(at)) => (at + 1).min(count.saturating_sub(1)),
        (_, Some(at)) => at.saturating_sub(1),
    };
    if let Some(link) = links.item(next).and_then(|link| link.dyn_into::<web_sys::HtmlElement>().ok()) {
        event.prevent_default();
        let _ = link.focus();
    }
}
