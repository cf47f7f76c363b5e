//! The settings that apply to a channel, and the pattern that gives them.

use fanfare_api::settings::ChannelSettingsView;
use fanfare_core::id::AppId;
use fanfare_core::pattern::NoClaims;
use fanfare_core::{ChannelName, ChannelSettings};
use leptos::prelude::*;
use leptos_router::components::A;

use crate::api::Member;
use crate::components::load::Load;
use crate::format;
use crate::pages::settings::{about, bounds, history, meaning};

/// The settings.
#[component]
pub(super) fn Applied(app: AppId, name: ChannelName) -> impl IntoView {
    let member = expect_context::<Member>();
    let load = Load::new(move || member.channel_settings(app));
    view! {
        <section class="card" aria-labelledby="channel-settings">
            <div class="card-head">
                <h2 id="channel-settings">"Settings"</h2>
                <A href=format!("/apps/{app}/settings")>"All settings"</A>
            </div>
            {load.show("Seeing settings", move |found| view! { <Facts found=found name=name.clone()/> })}
        </section>
    }
}

/// The settings of the most specific pattern that covers the channel, as nodes choose them; `None` for the defaults.
fn applied(found: &ChannelSettingsView, name: &ChannelName) -> Option<ChannelSettings> {
    let covering = found.settings.iter().filter(|one| one.pattern.matches(name, &NoClaims));
    covering.min_by(|one, other| one.pattern.cmp_specificity(&other.pattern)).cloned()
}

#[component]
fn Facts(found: ChannelSettingsView, name: ChannelName) -> impl IntoView {
    let own = applied(&found, &name);
    let by = own.as_ref().map_or_else(
        || view! { "the defaults: no pattern covers it" }.into_any(),
        |own| view! { "the pattern " <code>{own.pattern.to_string()}</code> }.into_any(),
    );
    let one = own.unwrap_or(found.defaults);
    let switch = |on: bool| if on { "on" } else { "off" };
    #[expect(clippy::cast_precision_loss, reason = "settings stop at 2^53")]
    let remembered = format::span(one.idempotency_ms as f64);
    view! {
        <dl class="facts card-pad">
            <dt>"Given by"</dt><dd>{by}</dd>
            <dt>"History"</dt><dd>{history(&one)}</dd>
            <dt>"Acknowledged"</dt><dd><code>{one.durability.as_str()}</code> <br/> <span class="muted small">{meaning(one.durability)}</span></dd>
            <dt>"Slow subscribers"</dt><dd><code>{one.slow.as_str()}</code> <br/> <span class="muted small">{about(one.slow)}</span></dd>
            <dt>"Bounds"</dt><dd>{bounds(&one)}</dd>
            <dt>"Presence"</dt><dd>{switch(one.presence)}</dd>
            <dt>"Echo to the publisher"</dt><dd>{switch(one.echo)}</dd>
            <dt>"Compression"</dt><dd>{switch(one.compression)}</dd>
            <dt>"Ids remembered"</dt><dd>{remembered}</dd>
        </dl>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_gives_the_settings() {
        let one = |pattern: &str| -> ChannelSettings {
            serde_json::from_value(serde_json::json!({ "pattern": pattern })).expect("valid")
        };
        let found = ChannelSettingsView {
            version: 1,
            settings: vec![one("**"), one("room:*"), one("room:9"), one("hall:**")],
            defaults: ChannelSettings::defaults().clone(),
        };
        let by =
            |name: &str| applied(&found, &ChannelName::parse(name).expect("valid")).map(|one| one.pattern.to_string());
        assert_eq!(by("room:9").as_deref(), Some("room:9"));
        assert_eq!(by("room:1").as_deref(), Some("room:*"));
        assert_eq!(by("other").as_deref(), Some("**"));
        let none = ChannelSettingsView { settings: vec![one("hall:**")], ..found.clone() };
        assert_eq!(applied(&none, &ChannelName::parse("room:9").expect("valid")), None);
    }
}
