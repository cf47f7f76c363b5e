//! Channel settings of an app.

use fanfare_api::server::StrictJson;
use fanfare_api::settings::{ChannelSettingsView, ReplaceChannelSettings};
use fanfare_core::ChannelSettings;
use fanfare_core::settings::Durability;
use fanfare_store::SettingsRecord;

use crate::access::{AppPath, Developer, InApp, Viewer};
use crate::check::Checks;
use crate::document::Problems;
use crate::error::ControlError;
use crate::etag::{IfMatch, Versioned};

const SETTINGS_MAX: usize = 100;
const IDEMPOTENCY_MS_MAX: u64 = 86_400_000;
const RATE_MAX: u64 = 1_000_000;

/// Read the channel settings
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/channel-settings",
    operation_id = "get_channel_settings",
    tag = "Channel settings",
    params(AppPath),
    responses((status = 200, description = "The settings.", body = ChannelSettingsView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn get(access: InApp<Viewer>) -> Result<Versioned<ChannelSettingsView>, ControlError> {
    Ok(view(access.app.settings().await?))
}

/// Replace the channel settings
///
/// Takes the role developer. The limits of the app bound what is kept, whatever stands here.
#[utoipa::path(
    put,
    path = "/api/v1/apps/{app}/channel-settings",
    operation_id = "replace_channel_settings",
    tag = "Channel settings",
    params(AppPath, ("If-Match" = String, Header, description = "The ETag of the last read.")),
    request_body = ReplaceChannelSettings,
    responses((status = 200, description = "The settings as they are now.", body = ChannelSettingsView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn replace(
    access: InApp<Developer>,
    IfMatch(version): IfMatch,
    StrictJson(request): StrictJson<ReplaceChannelSettings>,
) -> Result<Versioned<ChannelSettingsView>, ControlError> {
    check(&request.settings)?;
    Ok(view(access.app.put_settings(version, request.settings).await?))
}

fn check(all: &[ChannelSettings]) -> Result<(), ControlError> {
    let mut checks = Checks::default();
    if all.len() > SETTINGS_MAX {
        checks.wrong("/settings", format!("at most {SETTINGS_MAX} patterns"));
    }
    for (at, one) in all.iter().enumerate().take(SETTINGS_MAX) {
        let pattern = format!("/settings/{at}/pattern");
        if all[..at].iter().any(|earlier| earlier.pattern == one.pattern) {
            checks.wrong(pattern, "stands twice");
        } else if one.pattern.has_placeholder() {
            checks.wrong(pattern, "settings belong to channels, not to whoever asks: placeholders never match here");
        } else if one.pattern.to_string().starts_with('$') {
            checks.wrong(pattern, "channels that start with $ are Fanfare's own");
        }
        if one.durability > Durability::Memory && !one.history.is_kept() {
            let place = format!("/settings/{at}/durability");
            checks.wrong(place, "what is not kept in history is on no second machine: keep some, or leave this out");
        }
        if one.message_bytes == Some(0) {
            checks.wrong(format!("/settings/{at}/message_bytes"), "at least 1; leave it out for the app's limit");
        }
        if let Some(rate) = one.publish_rate {
            for (field, number) in [("max", rate.max), ("burst", rate.burst)] {
                if !(1..=RATE_MAX).contains(&number) {
                    let place = format!("/settings/{at}/publish_rate/{field}");
                    checks.wrong(place, format!("1 to {RATE_MAX}; leave the rate out for the app's limit"));
                }
            }
        }
        if one.idempotency_ms > IDEMPOTENCY_MS_MAX {
            checks.wrong(format!("/settings/{at}/idempotency_ms"), format!("at most {IDEMPOTENCY_MS_MAX}, a day"));
        }
        // Postgres and JavaScript count whole numbers to different ends; both stop far above any sensible setting.
        let bytes = one.message_bytes.unwrap_or_default();
        let whole =
            [("history/ttl_ms", one.history.ttl_ms), ("history/bytes", one.history.bytes), ("message_bytes", bytes)];
        for (field, _) in whole.into_iter().filter(|(_, number)| *number > 1 << 53) {
            checks.wrong(format!("/settings/{at}/{field}"), "at most 2^53");
        }
    }
    checks.finish()
}

fn view(record: SettingsRecord) -> Versioned<ChannelSettingsView> {
    let SettingsRecord { version, settings } = record;
    Versioned(version, ChannelSettingsView { version, settings, defaults: ChannelSettings::defaults().clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(json: &str) -> Vec<String> {
        let request: ReplaceChannelSettings = serde_json::from_str(json).expect(json);
        match check(&request.settings) {
            Ok(()) => Vec::new(),
            Err(error) => error.problem().errors.into_iter().map(|error| error.pointer).collect(),
        }
    }

    #[test]
    fn settings_stand_once_for_each_pattern_of_the_apps_own_channels() {
        assert!(places(r#"{"settings":[{"pattern":"a:*"},{"pattern":"a:**","echo":false}]}"#).is_empty());
        let bad = r#"{"settings":[{"pattern":"a"},{"pattern":"a"},{"pattern":"{sub}:x"},{"pattern":"$stats:*"},
            {"pattern":"b","idempotency_ms":86400001,"history":{"ttl_ms":18446744073709551615,"messages":1,"bytes":1}}]}"#;
        assert_eq!(
            places(bad),
            [
                "/settings/1/pattern",
                "/settings/2/pattern",
                "/settings/3/pattern",
                "/settings/4/idempotency_ms",
                "/settings/4/history/ttl_ms",
            ]
        );
        let bad = r#"{"settings":[{"pattern":"a","message_bytes":0},{"pattern":"b","publish_rate":{"max":0,"burst":1}},
            {"pattern":"c","publish_rate":{"max":10}},{"pattern":"d","message_bytes":18446744073709551615},
            {"pattern":"e","durability":"replicated"},
            {"pattern":"f","durability":"replicated","history":{"ttl_ms":0,"messages":1,"bytes":1}}]}"#;
        assert_eq!(
            places(bad),
            [
                "/settings/0/message_bytes",
                "/settings/1/publish_rate/max",
                "/settings/2/publish_rate/burst",
                "/settings/3/message_bytes",
                "/settings/5/durability",
            ]
        );
    }
}
