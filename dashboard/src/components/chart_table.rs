//! The figures of a chart as a table, for those who would rather read than look, and as a file.

use leptos::prelude::*;

use super::chart::Chart;
use crate::browser;
use crate::samples::{Sample, Samples};

/// The newest sixty figures of a chart as a table.
#[component]
pub(crate) fn Figures(chart: Chart, samples: Signal<Samples>) -> impl IntoView {
    let rows = move || {
        samples.with(|samples| {
            let row = |sample: &Sample| {
                let cells: Vec<_> = chart
                    .series
                    .iter()
                    .map(|series| {
                        let figure = (series.read)(sample).map_or_else(|| "–".to_owned(), chart.write);
                        view! { <td class="number">{figure}</td> }
                    })
                    .collect();
                view! { <tr><td>{browser::stamp(sample.time, samples.window())}</td>{cells}</tr> }
            };
            samples.iter().rev().take(60).map(row).collect::<Vec<_>>()
        })
    };
    let heads: Vec<_> =
        chart.series.iter().map(|series| view! { <th class="number" scope="col">{series.name}</th> }).collect();
    view! {
        <div class="figures chart-plot" tabindex="0" role="group" aria-label=format!("Figures of {}", chart.title)>
            <table class="table small">
                <thead><tr><th scope="col">"Time"</th>{heads}</tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

/// All figures of a chart as comma-separated values.
pub(crate) fn csv(chart: Chart, samples: &Samples) -> String {
    let names: Vec<&str> = chart.series.iter().map(|series| series.name).collect();
    let mut out = format!("time_unix_ms,{}\n", names.join(","));
    for sample in samples.iter() {
        let figures: Vec<String> = chart
            .series
            .iter()
            .map(|series| (series.read)(sample).map_or_else(String::new, |figure| figure.to_string()))
            .collect();
        out.push_str(&format!("{},{}\n", sample.time, figures.join(",")));
    }
    out
}
