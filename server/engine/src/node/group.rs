//! Where several channels of an app stand, as one text: for transports that say it with every message.

use fanfare_core::id::AppId;
use fanfare_core::{ChannelKey, ChannelName, Position};

use super::Node;
use crate::error::NodeError;

impl Node {
    /// Where these channels of an app stand, as one text.
    #[must_use]
    pub fn tell_group(&self, app: AppId, names: &[ChannelName], places: &[Option<Position>]) -> String {
        self.position_key.seal_group(app, names, places)
    }

    /// What [`Node::tell_group`] said, as a position's text for each of the channels.
    ///
    /// # Errors
    /// When it was not said of exactly these channels.
    pub fn open_group(&self, app: AppId, names: &[ChannelName], text: &str) -> Result<Vec<Option<String>>, NodeError> {
        let places = self.position_key.open_group(app, names, text)?;
        let told = names.iter().zip(places).map(|(name, place)| {
            let key = ChannelKey::from_broker(app, name.clone());
            place.map(|place| self.tell(&key, place))
        });
        Ok(told.collect())
    }
}
