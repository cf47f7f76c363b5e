//! The heat map under a chart's lines: how many fell into each cell, by shade. Five shades on a log scale, each one path.

use std::fmt::Write as _;

use leptos::prelude::*;

use super::chart_layout::{LEFT, Layout};
use crate::latency::Column;

const SHADES: usize = 5;

/// Draws the cells.
pub(super) fn cells(heat: Signal<Vec<Column>>, layout: Memo<Layout>) -> impl IntoView {
    let paths = Memo::new(move |_| heat.with(|heat| layout.with(|layout| shades(heat, layout))));
    let shades = (0..SHADES).map(|shade| {
        view! { <path class=format!("heat heat-{}", shade + 1) d=move || paths.with(|paths| paths[shade].clone())></path> }
    });
    shades.collect::<Vec<_>>()
}

/// What is drawn in each shade.
fn shades(heat: &[Column], layout: &Layout) -> [String; SHADES] {
    let mut paths: [String; SHADES] = Default::default();
    let most = heat.iter().flat_map(|column| &column.rows).map(|(.., count)| *count).max().unwrap_or(0);
    for column in heat {
        let left = layout.x(column.end - column.step_ms).max(LEFT);
        let right = layout.x(column.end).min(layout.x(layout.end));
        if right <= left {
            continue;
        }
        for (low, high, count) in &column.rows {
            let (top, bottom) = (layout.y(*high), layout.y(*low));
            // Writing to a String cannot fail.
            let _ = write!(paths[shade(*count, most)], "M{left:.1} {top:.1}H{right:.1}V{bottom:.1}H{left:.1}Z");
        }
    }
    paths
}

/// Each shade stands for so many times more than the one before.
fn shade(count: u64, most: u64) -> usize {
    let share = (count as f64).ln_1p() / (most as f64).ln_1p().max(f64::MIN_POSITIVE);
    ((share * SHADES as f64) as usize).min(SHADES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_never_lighter() {
        let shades: Vec<usize> = [1, 3, 10, 100, 1_000, 10_000].map(|count| shade(count, 10_000)).into();
        assert!(shades.is_sorted() && shades[5] == SHADES - 1 && shades[0] < 2, "{shades:?}");
        assert_eq!(shade(1, 1), SHADES - 1);
    }
}
