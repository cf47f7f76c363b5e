//! What keys are usually made for.

use fanfare_core::capability::Operations;
use fanfare_core::{Capabilities, Operation, Pattern};

use crate::components::capabilities::in_words;

/// A usual set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    /// Anything in the app.
    Everything,
    /// A backend that publishes.
    Publish,
    /// A backend that signs tokens for clients.
    Sign,
    /// A reader of messages and figures.
    Read,
    /// Operations and a pattern of the reader's choice.
    Custom,
}

impl Preset {
    /// All of them, as offered.
    pub(super) const ALL: [Self; 5] = [Self::Everything, Self::Publish, Self::Sign, Self::Read, Self::Custom];

    /// Its name.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Everything => "Everything",
            Self::Publish => "Publish",
            Self::Sign => "Sign tokens",
            Self::Read => "Read",
            Self::Custom => "Custom",
        }
    }

    /// Whom it is for.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Everything => {
                "Any operation on any channel. For trying things out, and for a backend that does it all."
            }
            Self::Publish => "Publishes on any channel. It cannot read, and signs nothing.",
            Self::Sign => "Signs tokens that let clients subscribe, publish, see presence and history.",
            Self::Read => "Subscribes, reads history and statistics. It cannot publish.",
            Self::Custom => "The operations and channels you choose.",
        }
    }

    /// The word in the form.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Publish => "publish",
            Self::Sign => "sign",
            Self::Read => "read",
            Self::Custom => "custom",
        }
    }

    /// Its operations; none for the custom one.
    fn operations(self) -> Operations {
        match self {
            Self::Everything => Operations::ALL,
            Self::Publish => Operations::NONE.with(Operation::Publish),
            Self::Sign => Operations::CLIENT.with(Operation::Sign),
            Self::Read => [Operation::Subscribe, Operation::History, Operation::PresenceRead, Operation::Stats]
                .into_iter()
                .collect(),
            Self::Custom => Operations::NONE,
        }
    }

    /// Its capabilities.
    pub(super) fn capabilities(self) -> Capabilities {
        let everywhere = Pattern::parse("**").expect("`**` is a pattern");
        Capabilities::new(vec![(everywhere, self.operations())])
    }
}

/// Capabilities in a few words.
pub(super) fn summary(capabilities: &Capabilities) -> String {
    if let Some(preset) = Preset::ALL.into_iter().find(|preset| preset.capabilities() == *capabilities) {
        return preset.title().to_owned();
    }
    in_words(capabilities)
}
