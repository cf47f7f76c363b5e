//! The colour scheme: the system's, or one that the reader chose. `boot.js` applies the choice before the first paint.

use leptos::prelude::*;

use crate::browser;

const NAME: &str = "fanfare.theme";

/// What the reader chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Whatever the system says.
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// All of them, as shown in the menu.
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// The word that is stored.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What the menu says.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::System => "Same as system",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }
}

/// Provides the choice to everything below, and applies it whenever it changes.
pub(crate) fn provide_theme() {
    let stored = browser::stored(NAME);
    let start = Theme::ALL.into_iter().find(|theme| Some(theme.word()) == stored.as_deref()).unwrap_or(Theme::System);
    let theme = RwSignal::new(start);
    provide_context(theme);
    Effect::new(move || {
        let theme = theme.get();
        browser::store(NAME, (theme != Theme::System).then_some(theme.word()));
        if let Some(root) = document().document_element() {
            let _ = match theme {
                Theme::System => root.remove_attribute("data-theme"),
                Theme::Light | Theme::Dark => root.set_attribute("data-theme", theme.word()),
            };
        }
    });
}
