//! Where one subscription stands: what it asks for when it comes back, and what there is to say about the answer.

use fanfare_core::ChannelName;
use serde_json::{Value, json};

/// One channel and the last message that was printed.
#[derive(Debug)]
pub(super) struct Place {
    channel: ChannelName,
    at: Option<(String, u64)>,
}

impl Place {
    pub(super) const fn new(channel: ChannelName) -> Self {
        Self { channel, at: None }
    }

    pub(super) const fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The subscribe command: from the last place, else with the rewind that was asked for.
    pub(super) fn request(&self, rewind: Option<u32>) -> Value {
        let mut request = json!({"channel": self.channel});
        match (&self.at, rewind) {
            (Some((lineage, seq)), _) => request["position"] = format!("{lineage}.{seq}").into(),
            (None, Some(messages)) => request["rewind"] = json!({"messages": messages}),
            (None, None) => {}
        }
        request
    }

    /// Takes the answer to subscribe in; what a person should know of it.
    pub(super) fn subscribed(&mut self, answer: &Value) -> Option<String> {
        let resumed = self.at.is_some();
        let told = match answer["recovered"].as_bool() {
            Some(true) => {
                let seq = self.at.as_ref().map_or(0, |(_, seq)| *seq);
                Some(format!("{}: resumed after {seq}, nothing is missing", self.channel))
            }
            Some(false) => Some(self.lost(answer)),
            None => Some(format!("{}: subscribed", self.channel)),
        };
        // A resumed subscription replays from its own place; any other starts at the fence, or before it by a rewind.
        let lineage = answer["lineage"].as_str().unwrap_or_default().to_owned();
        let same = self.at.as_ref().is_some_and(|(known, _)| *known == lineage);
        if !(resumed && same && answer["recovered"] == true) {
            self.at = Some((lineage, answer["seq"].as_u64().unwrap_or_default()));
        }
        told
    }

    /// Takes word of a change of lineage in.
    pub(super) fn moved(&mut self, recovery: &Value) -> Option<String> {
        let told = (recovery["recovered"] == false).then(|| self.lost(recovery));
        if let Some(lineage) = recovery["lineage"].as_str() {
            self.at = Some((lineage.to_owned(), recovery["seq"].as_u64().unwrap_or_default()));
        }
        told
    }

    /// A message was handed over.
    pub(super) fn advance(&mut self, to: u64) {
        if let Some((_, seq)) = &mut self.at {
            *seq = to;
        }
    }

    /// Starts from now at the next connection.
    pub(super) fn forget(&mut self) {
        self.at = None;
    }

    fn lost(&self, answer: &Value) -> String {
        let reason = answer["reason"].as_str().unwrap_or("unknown");
        format!("{}: messages may be missing ({reason})", self.channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_comes_back_to_the_last_message_it_printed() {
        let mut place = Place::new("room:9".parse().expect("valid"));
        assert_eq!(place.request(Some(3)), json!({"channel": "room:9", "rewind": {"messages": 3}}));
        place.subscribed(&json!({"lineage": "L", "seq": 12}));
        place.advance(13);
        assert_eq!(place.request(Some(3)), json!({"channel": "room:9", "position": "L.13"}));
        let told = place.subscribed(&json!({"lineage": "L", "seq": 20, "recovered": true}));
        assert_eq!(told.as_deref(), Some("room:9: resumed after 13, nothing is missing"));
        assert_eq!(place.request(None)["position"], "L.13", "the replay has not been printed yet");
    }

    #[test]
    fn a_loss_is_said_and_the_new_log_followed() {
        let mut place = Place::new("room:9".parse().expect("valid"));
        place.subscribed(&json!({"lineage": "L", "seq": 12}));
        let told = place.subscribed(&json!({"lineage": "M", "seq": 2, "recovered": false, "reason": "epoch_changed"}));
        assert_eq!(told.as_deref(), Some("room:9: messages may be missing (epoch_changed)"));
        assert_eq!(place.request(None)["position"], "M.2");
        place.moved(&json!({"recovered": false, "reason": "diverged", "lineage": "N", "seq": 5}));
        assert_eq!(place.request(None)["position"], "N.5");
    }
}
