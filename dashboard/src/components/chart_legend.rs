//! The legend of a chart: a table of the figure now (or under the pointer), the least and the most, whose names switch
//! their series.

use leptos::prelude::*;

use super::chart::{Chart, ChartState};
use crate::browser;
use crate::samples::Samples;

/// Draws the legend.
#[component]
pub(crate) fn Legend(chart: Chart, state: ChartState) -> impl IntoView {
    let ChartState { samples, cross, hidden, .. } = state;
    let when = move || {
        let window = samples.with(Samples::window);
        cross.get().map_or_else(|| "last".to_owned(), |time| browser::stamp(time, window))
    };
    let rows = chart.series.iter().enumerate().map(|(index, series)| {
        let write = move |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), chart.write);
        let current = move || {
            samples.with(|samples| {
                let sample = cross.get().map_or_else(|| samples.last(), |time| samples.nearest(time));
                write(sample.and_then(series.read))
            })
        };
        let extreme = move |pick: fn(f64, f64) -> f64| {
            samples.with(|samples| write(samples.iter().filter_map(series.read).reduce(pick)))
        };
        let dash = ["", "6 3", "2 3"][index.min(2)];
        view! {
            <tr>
                <th scope="row">
                    <button
                        class="legend-switch"
                        type="button"
                        aria-pressed=move || (!hidden.get()[index]).to_string()
                        on:click=move |_| hidden.update(|hidden| hidden[index] = !hidden[index])
                    >
                        <svg class=format!("series-{}", index + 1) viewBox="0 0 18 8" aria-hidden="true">
                            <line x1="1" x2="17" y1="4" y2="4" stroke-width="2.5" stroke-dasharray=dash></line>
                        </svg>
                        {series.name}
                    </button>
                </th>
                <td>{current}</td>
                <td>{move || extreme(f64::min)}</td>
                <td>{move || extreme(f64::max)}</td>
            </tr>
        }
    });
    view! {
        <table class="legend">
            <thead>
                <tr>
                    <th scope="col"><span class="visually-hidden">"Series"</span></th>
                    <th scope="col">{when}</th>
                    <th scope="col">"min"</th>
                    <th scope="col">"max"</th>
                </tr>
            </thead>
            <tbody>{rows.collect::<Vec<_>>()}</tbody>
        </table>
    }
}
