//! A line chart: what and in which unit, the picture, a legend that is a table and switches series, and the same figures
//! as a table and as CSV. A heat map may lie under the lines.

use leptos::prelude::*;

use super::chart_legend::Legend;
use super::chart_plot::Plot;
use super::chart_table::{Figures, csv};
use crate::browser;
use crate::latency::Column;
use crate::samples::{Sample, Samples};
use crate::scale::Kind;

/// One line of a chart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series {
    /// Its name in the legend.
    pub(crate) name: &'static str,
    /// Its figure of a second; a second without one is a gap.
    pub(crate) read: fn(&Sample) -> Option<f64>,
}

/// What a chart shows. Copied into everything that draws a part of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chart {
    /// What is shown.
    pub(crate) title: &'static str,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// How height stands for figures.
    pub(crate) kind: Kind,
    /// Its lines, three at most.
    pub(crate) series: &'static [Series],
    /// How a figure is written.
    pub(crate) write: fn(f64) -> String,
}

/// The signals that a chart's parts share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChartState {
    /// The figures.
    pub(crate) samples: Signal<Samples>,
    /// What lies under the lines.
    pub(crate) heat: Signal<Vec<Column>>,
    /// The moment under the pointer, shared by all charts of a page.
    pub(crate) cross: RwSignal<Option<f64>>,
    /// Which series are switched off.
    pub(crate) hidden: RwSignal<[bool; 3]>,
}

/// Draws a chart.
#[component]
pub(crate) fn LineChart(
    /// What it shows.
    chart: Chart,
    /// The figures.
    #[prop(into)]
    samples: Signal<Samples>,
    /// A heat map under the lines; the picture is taller then.
    #[prop(optional)]
    heat: Option<Signal<Vec<Column>>>,
    /// The moment under the pointer, shared by all charts of a page.
    cross: RwSignal<Option<f64>>,
) -> impl IntoView {
    let is_tall = heat.is_some();
    let heat = heat.unwrap_or_else(|| Signal::stored(Vec::new()));
    let state = ChartState { samples, heat, cross, hidden: RwSignal::new([false; 3]) };
    let (as_table, show_table) = signal(false);
    view! {
        <section class="card chart" class:chart-tall=is_tall aria-label=chart.title>
            <div class="chart-head">
                <h2>{chart.title}" "<span class="chart-unit">{chart.unit}</span></h2>
                <div class="row row-tight">
                    <button
                        class="link-button small"
                        type="button"
                        aria-pressed=move || as_table.get().to_string()
                        aria-label=format!("{} as a table", chart.title)
                        on:click=move |_| show_table.update(|shown| *shown = !*shown)
                    >
                        "Table"
                    </button>
                    <button
                        class="link-button small"
                        type="button"
                        aria-label=format!("{} as CSV", chart.title)
                        on:click=move |_| browser::download("figures.csv", &csv(chart, &samples.get_untracked()))
                    >
                        "CSV"
                    </button>
                </div>
            </div>
            <Show when=move || as_table.get() fallback=move || view! { <Plot chart=chart state=state/> }>
                <Figures chart=chart samples=samples/>
            </Show>
            <Legend chart=chart state=state/>
        </section>
    }
}
