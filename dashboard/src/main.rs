//! The dashboard: a single-page app in wasm, and an ordinary client of the documented API.
//!
//! Start at [`app`]: it is the table of routes and of navigation. A page lives in [`pages`], what pages are put
//! together from in [`components`]. Everything that comes over HTTP comes through [`api`], everything that arrives
//! live through [`live`], which speaks the native protocol like any other client.
//!
//! The content policy is strict: no inline style, no inline script. Anything drawn is a class of `styles/` or an
//! attribute of SVG.

#![expect(unreachable_pub, reason = "leptos' component macro gives what it makes spans that read as `pub`")]

mod api;
mod app;
mod browser;
mod components;
mod figures;
mod format;
mod jwt;
mod latency;
mod live;
mod pages;
mod samples;
mod scale;
mod session;
mod snippets;
mod theme;

fn main() {
    console_error_panic_hook::set_once();
    leptos::mount::mount_to_body(app::App);
}
