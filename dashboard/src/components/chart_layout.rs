//! Where things stand in a chart, in pixels.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;

use crate::scale::Axis;

/// The picture's height, and with a heat map. The stylesheet has the same.
pub(super) const HEIGHT: f64 = 168.0;
pub(super) const HEIGHT_TALL: f64 = 280.0;
/// Room for the figures at the left.
pub(super) const LEFT: f64 = 42.0;
/// Room at the right.
pub(super) const RIGHT: f64 = 6.0;
/// Room above.
pub(super) const TOP: f64 = 8.0;
/// Room for the times below.
pub(super) const BOTTOM: f64 = 22.0;
/// Stands in until the page was measured.
const WIDTH_BEFORE: f64 = 480.0;

/// Where things stand in one drawing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    /// In pixels.
    pub(super) width: f64,
    /// In pixels.
    pub(super) height: f64,
    /// The moment at the right edge.
    pub(super) end: f64,
    /// How much time fits between the edges.
    pub(super) window: f64,
    /// The axis at the left.
    pub(super) axis: Axis,
}

impl Layout {
    /// Where a moment stands.
    pub(super) fn x(&self, time: f64) -> f64 {
        LEFT + (1.0 - (self.end - time) / self.window) * (self.width - LEFT - RIGHT)
    }

    /// Where a figure stands.
    pub(super) fn y(&self, figure: f64) -> f64 {
        TOP + (1.0 - self.axis.share(figure)) * (self.height - TOP - BOTTOM)
    }

    /// Which moment stands there.
    pub(super) fn time_at(&self, x: f64) -> f64 {
        self.end - (1.0 - (x - LEFT) / (self.width - LEFT - RIGHT)) * self.window
    }
}

/// The width of an element as it changes.
pub(super) fn measured_width(area: NodeRef<html::Div>) -> ReadSignal<f64> {
    let (width, set_width) = signal(WIDTH_BEFORE);
    Effect::new(move || {
        let Some(area) = area.get() else { return };
        let element = area.clone();
        let measure = Closure::<dyn FnMut()>::new(move || {
            set_width.try_set(f64::from(element.client_width()).max(160.0));
        });
        if let Ok(observer) = web_sys::ResizeObserver::new(measure.as_ref().unchecked_ref()) {
            observer.observe(&area);
            let kept = StoredValue::new_local((observer, measure));
            on_cleanup(move || {
                kept.try_with_value(|(observer, _)| observer.disconnect());
            });
        }
    });
    width
}
