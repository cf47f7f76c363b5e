//! The picture of a chart, in SVG. The newest second stands at the right edge, so that lines grow without jumping.

use leptos::html;
use leptos::prelude::*;

use super::chart::{Chart, ChartState};
use super::chart_layout::{BOTTOM, HEIGHT, LEFT, Layout, RIGHT, TOP, measured_width};
use crate::samples::{Samples, WINDOW_MS, WINDOW_MS_MIN};
use crate::scale::{Axis, line};
use crate::{browser, format};

/// Draws the lines, the axes and the crosshair.
#[component]
pub(crate) fn Plot(chart: Chart, state: ChartState) -> impl IntoView {
    let area = NodeRef::<html::Div>::new();
    let width = measured_width(area);
    let ChartState { samples, cross, hidden } = state;
    let layout = Memo::new(move |_| {
        samples.with(|samples| Layout {
            width: width.get(),
            end: samples.last().map_or(0.0, |last| last.time),
            window: samples.span().clamp(WINDOW_MS_MIN, WINDOW_MS),
            axis: Axis::holding(chart.kind, figures(chart, samples, hidden.get())),
        })
    });
    let lines = chart.series.iter().enumerate().map(|(index, series)| {
        let path = move || {
            let layout = layout.get();
            samples.with(|samples| {
                line(samples.with_gaps().map(|sample| {
                    let sample = sample?;
                    let figure = (series.read)(sample)?;
                    let x = layout.x(sample.time);
                    (x >= LEFT).then(|| (x, layout.y(figure)))
                }))
            })
        };
        let off = move || hidden.get()[index];
        view! { <path class=format!("chart-line series-{}", index + 1) class:off=off d=path></path> }
    });
    let point = move |event: leptos::ev::PointerEvent| {
        let x = f64::from(event.offset_x());
        let time = layout.with_untracked(|layout| layout.time_at(x.max(LEFT)));
        let nearest = samples.with_untracked(|samples| samples.nearest(time).map(|sample| sample.time));
        cross.set(nearest);
    };
    let cross_x = move || cross.get().map(|time| layout.with(|layout| layout.x(time))).filter(|x| *x >= LEFT);
    view! {
        <div class="chart-plot" node_ref=area on:pointermove=point on:pointerleave=move |_| cross.set(None)>
            <svg role="img" aria-label=move || described(chart, samples)>
                {move || layout.with(y_ticks)}
                {move || layout.with(x_ticks)}
                {lines.collect::<Vec<_>>()}
                {move || cross_x().map(|x| view! {
                    <line class="chart-cross" x1=x x2=x y1=TOP y2=HEIGHT - BOTTOM></line>
                })}
            </svg>
            <Show when=move || samples.with(|samples| samples.last().is_none())>
                <p class="chart-wait">"Waiting for the first second"</p>
            </Show>
        </div>
    }
}

fn figures(chart: Chart, samples: &Samples, hidden: [bool; 3]) -> impl Iterator<Item = f64> {
    let shown = chart.series.iter().enumerate().filter(move |(index, _)| !hidden[*index]);
    shown.flat_map(move |(_, series)| samples.iter().filter_map(|sample| (series.read)(sample)))
}

fn y_ticks(layout: &Layout) -> impl IntoView + use<> {
    let right = layout.width - RIGHT;
    let ticks = layout.axis.ticks.iter().enumerate().map(|(index, tick)| {
        let y = layout.y(*tick).round();
        let class = if index == 0 { "chart-axis" } else { "chart-grid" };
        view! {
            <line class=class x1=LEFT x2=right y1=y y2=y></line>
            <text x=LEFT - 8.0 y=y + 4.0 text-anchor="end">{format::short(*tick)}</text>
        }
    });
    ticks.collect::<Vec<_>>()
}

fn x_ticks(layout: &Layout) -> impl IntoView + use<> {
    let step = if layout.window <= 2.0 * WINDOW_MS_MIN { 15_000.0 } else { 60_000.0 };
    let first = ((layout.end - layout.window) / step).ceil() as i64;
    let last = (layout.end / step).floor() as i64;
    let ticks = (first..=last).filter(|_| layout.end > 0.0).map(|index| {
        let time = index as f64 * step;
        let x = layout.x(time);
        let label = browser::clock_time(time);
        let fits = x > LEFT + 14.0 && x < layout.width - 24.0;
        fits.then(|| {
            view! {
                <line class="chart-axis" x1=x x2=x y1=HEIGHT - BOTTOM y2=HEIGHT - BOTTOM + 4.0></line>
                <text x=x y=HEIGHT - 4.0 text-anchor="middle">{label[..if step < 60_000.0 { 8 } else { 5 }].to_owned()}</text>
            }
        })
    });
    ticks.collect::<Vec<_>>()
}

fn described(chart: Chart, samples: ReadSignal<Samples>) -> String {
    let now = samples.with(|samples| {
        let last = samples.last();
        let say = |series: &super::chart::Series| {
            let figure = last.and_then(series.read).map_or_else(|| "none".to_owned(), chart.write);
            format!("{} {figure}", series.name)
        };
        chart.series.iter().map(say).collect::<Vec<_>>().join(", ")
    });
    format!("{}, {}, the last minutes. Now: {now}.", chart.title, chart.unit)
}
