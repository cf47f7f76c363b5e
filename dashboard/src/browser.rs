//! The few things the browser is asked for directly: time, storage, clipboard, downloads, randomness.

use leptos::prelude::{document, window};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// The wall clock, Unix milliseconds with fractions as fine as the browser gives.
pub(crate) fn now_ms() -> f64 {
    window().performance().map_or_else(js_sys::Date::now, |clock| clock.time_origin() + clock.now())
}

/// Where the page came from: scheme, host and port.
pub(crate) fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// A path with those of these parameters that have a value.
pub(crate) fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    let text = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&");
    let begin = if path.contains('?') { '&' } else { '?' };
    if text.is_empty() { path.to_owned() } else { format!("{path}{begin}{text}") }
}

/// A text as it may stand in a URL.
pub(crate) fn encoded(text: &str) -> String {
    js_sys::encode_uri_component(text).into()
}

/// A random number in `0.0..1.0`, for jitter and nothing secret.
pub(crate) fn random() -> f64 {
    js_sys::Math::random()
}

/// A text that has not been used before, for `Idempotency-Key` and message ids.
pub(crate) fn unique() -> String {
    let mut bytes = [0_u8; 16];
    let filled = window().crypto().is_ok_and(|crypto| crypto.get_random_values_with_u8_array(&mut bytes).is_ok());
    if !filled {
        bytes.fill_with(|| (random() * 256.0) as u8);
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was stored under this name, if storage may be used.
pub(crate) fn stored(name: &str) -> Option<String> {
    window().local_storage().ok()??.get_item(name).ok()?
}

/// Stores a text; `None` forgets it. Blocked storage is not an error: the choice then holds until the page goes.
pub(crate) fn store(name: &str, value: Option<&str>) {
    if let Ok(Some(storage)) = window().local_storage() {
        let _ = match value {
            Some(value) => storage.set_item(name, value),
            None => storage.remove_item(name),
        };
    }
}

/// Copies a text; `false` when the browser does not allow it.
pub(crate) async fn copy(text: &str) -> bool {
    // Pages served over plain HTTP have no clipboard, whatever the type says.
    let navigator = window().navigator();
    let clipboard = js_sys::Reflect::get(&navigator, &JsValue::from_str("clipboard"));
    match clipboard.ok().and_then(|found| found.dyn_into::<web_sys::Clipboard>().ok()) {
        Some(clipboard) => JsFuture::from(clipboard.write_text(text)).await.is_ok(),
        None => copy_by_selection(text),
    }
}

fn copy_by_selection(text: &str) -> bool {
    let page = document();
    let (Ok(area), Some(body)) = (page.create_element("textarea"), page.body()) else { return false };
    let area: web_sys::HtmlTextAreaElement = area.unchecked_into();
    area.set_class_name("visually-hidden");
    area.set_value(text);
    let _ = body.append_child(&area);
    area.select();
    let copied = page.dyn_ref::<web_sys::HtmlDocument>().is_some_and(|page| page.exec_command("copy").unwrap_or(false));
    area.remove();
    copied
}

/// Hands the reader a file.
pub(crate) fn download(name: &str, text: &str) {
    let parts = js_sys::Array::of1(&JsValue::from_str(text));
    let Ok(blob) = web_sys::Blob::new_with_str_sequence(&parts) else { return };
    let Ok(url) = web_sys::Url::create_object_url_with_blob(&blob) else { return };
    if let Ok(link) = document().create_element("a") {
        let link: web_sys::HtmlAnchorElement = link.unchecked_into();
        link.set_href(&url);
        link.set_download(name);
        link.click();
    }
    let _ = web_sys::Url::revoke_object_url(&url);
}

/// A moment as the reader's clock shows it, `14:03:09`.
pub(crate) fn clock_time(unix_ms: f64) -> String {
    let date = js_sys::Date::new(&JsValue::from_f64(unix_ms));
    format!("{:02}:{:02}:{:02}", date.get_hours(), date.get_minutes(), date.get_seconds())
}

/// The same with milliseconds, `14:03:09.120`.
pub(crate) fn clock_time_ms(unix_ms: f64) -> String {
    let millis = js_sys::Date::new(&JsValue::from_f64(unix_ms)).get_milliseconds();
    format!("{}.{millis:03}", clock_time(unix_ms))
}

/// The day of a moment where the reader is, `Nov 25`.
pub(crate) fn day(unix_ms: f64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let date = js_sys::Date::new(&JsValue::from_f64(unix_ms));
    let month = MONTHS.get(date.get_month() as usize).copied().unwrap_or_default();
    format!("{month} {}", date.get_date())
}

/// A moment inside a span of time: the clock alone where the span is short.
pub(crate) fn stamp(unix_ms: f64, window_ms: f64) -> String {
    let clock = clock_time(unix_ms);
    if window_ms > 43_200_000.0 { format!("{} {}", day(unix_ms), &clock[..5]) } else { clock }
}

/// A span in words: `5 minutes`, `24 hours`.
pub(crate) fn span(milliseconds: f64) -> String {
    let (count, unit) = match milliseconds / 60_000.0 {
        minutes if minutes < 90.0 => (minutes.round(), "minute"),
        minutes if minutes <= 2_880.0 => ((minutes / 60.0).round(), "hour"),
        minutes => ((minutes / 1_440.0).round(), "day"),
    };
    crate::format::counted(count, unit)
}

/// How far the reader's midnight is from that of UTC, in milliseconds.
pub(crate) fn zone_ms(unix_ms: f64) -> f64 {
    js_sys::Date::new(&JsValue::from_f64(unix_ms)).get_timezone_offset() * 60_000.0
}

/// A moment as RFC 3339, for a URL.
pub(crate) fn rfc3339(unix_ms: f64) -> String {
    js_sys::Date::new(&JsValue::from_f64(unix_ms)).to_iso_string().into()
}

/// A moment in full, in the reader's language and zone.
pub(crate) fn full_time(unix_ms: f64) -> String {
    let options = js_sys::Object::new();
    for (name, value) in [("dateStyle", "medium"), ("timeStyle", "long")] {
        let _ = js_sys::Reflect::set(&options, &name.into(), &value.into());
    }
    js_sys::Date::new(&JsValue::from_f64(unix_ms)).to_locale_string("en-GB", &options).into()
}
