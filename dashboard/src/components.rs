//! What pages are put together from. None of these fetches anything by itself.

pub(crate) mod account;
pub(crate) mod banner;
pub(crate) mod chart;
pub(crate) mod chart_legend;
pub(crate) mod chart_plot;
pub(crate) mod confirm;
pub(crate) mod dialog;
pub(crate) mod door;
pub(crate) mod field;
pub(crate) mod frame;
pub(crate) mod icon;
pub(crate) mod line_state;
pub(crate) mod load;
pub(crate) mod menu;
pub(crate) mod nav;
pub(crate) mod page_head;
pub(crate) mod palette;
pub(crate) mod secret;
pub(crate) mod snippet;
pub(crate) mod states;
pub(crate) mod switcher;
pub(crate) mod tabs;
pub(crate) mod time;
