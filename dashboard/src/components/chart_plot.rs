//! The picture of a chart, in SVG. The newest second stands at the right edge, so that lines grow without jumping.

use leptos::html;
use leptos::prelude::*;

use super::chart::{Chart, ChartState};
use super::chart_heat::cells;
use super::chart_layout::{BOTTOM, HEIGHT, HEIGHT_TALL, LEFT, Layout, RIGHT, TOP, measured_width};
use crate::samples::Samples;
use crate::scale::{Axis, line};
use crate::{browser, format};

/// Draws the lines, the axes and the crosshair.
#[component]
pub(crate) fn Plot(chart: Chart, state: ChartState) -> impl IntoView {
    let area = NodeRef::<html::Div>::new();
    let width = measured_width(area);
    let ChartState { samples, heat, cross, hidden } = state;
    let layout = Memo::new(move |_| {
        samples.with(|samples| Layout {
            width: width.get(),
            height: if heat.with(Vec::is_empty) { HEIGHT } else { HEIGHT_TALL },
            end: samples.last().map_or(0.0, |last| last.time),
            window: samples.window(),
            axis: heat.with(|heat| {
                let cells = heat.iter().flat_map(|column| &column.rows).flat_map(|(low, high, _)| [*low, *high]);
                Axis::holding(chart.kind, figures(chart, samples, hidden.get()).chain(cells))
            }),
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
    let wait = move || match samples.with(|samples| samples.is_live()) {
        true => "Waiting for the first second",
        false => "Nothing was measured in this time",
    };
    let cross_x = move || cross.get().map(|time| layout.with(|layout| layout.x(time))).filter(|x| *x >= LEFT);
    view! {
        <div class="chart-plot" node_ref=area on:pointermove=point on:pointerleave=move |_| cross.set(None)>
            <svg role="img" aria-label=move || described(chart, samples)>
                {move || layout.with(y_ticks)}
                {move || layout.with(x_ticks)}
                {cells(heat, layout)}
                {lines.collect::<Vec<_>>()}
                {move || cross_x().map(|x| view! {
                    <line class="chart-cross" x1=x x2=x y1=TOP y2=layout.with(|layout| layout.height) - BOTTOM></line>
                })}
            </svg>
            <Show when=move || samples.with(|samples| samples.last().is_none())>
                <p class="chart-wait">{wait}</p>
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

/// Milliseconds between ticks, for windows up to the first number.
const TICKS: [(f64, f64); 7] = [
    (2.0 * MINUTE_MS, 0.25 * MINUTE_MS),
    (10.0 * MINUTE_MS, MINUTE_MS),
    (90.0 * MINUTE_MS, 10.0 * MINUTE_MS),
    (8.0 * 60.0 * MINUTE_MS, 60.0 * MINUTE_MS),
    (30.0 * 60.0 * MINUTE_MS, 180.0 * MINUTE_MS),
    (8.0 * DAY_MS, DAY_MS),
    (f64::MAX, 5.0 * DAY_MS),
];
const MINUTE_MS: f64 = 60_000.0;
const DAY_MS: f64 = 1_440.0 * MINUTE_MS;

fn x_ticks(layout: &Layout) -> impl IntoView + use<> {
    let bottom = layout.height;
    let step = TICKS.iter().find(|(window, _)| layout.window <= *window).map_or(DAY_MS, |(_, step)| *step);
    // Days begin where the reader is.
    let zone = browser::zone_ms(layout.end);
    let first = ((layout.end - layout.window - zone) / step).ceil() as i64;
    let last = ((layout.end - zone) / step).floor() as i64;
    let ticks = (first..=last).filter(|_| layout.end > 0.0).map(|index| {
        let time = index as f64 * step + zone;
        let x = layout.x(time);
        let label = match step {
            fine if fine < MINUTE_MS => browser::clock_time(time),
            some if some < DAY_MS => browser::clock_time(time)[..5].to_owned(),
            _ => browser::day(time),
        };
        let fits = x > LEFT + 14.0 && x < layout.width - 24.0;
        fits.then(|| {
            view! {
                <line class="chart-axis" x1=x x2=x y1=bottom - BOTTOM y2=bottom - BOTTOM + 4.0></line>
                <text x=x y=bottom - 4.0 text-anchor="middle">{label}</text>
            }
        })
    });
    ticks.collect::<Vec<_>>()
}

fn described(chart: Chart, samples: Signal<Samples>) -> String {
    let now = samples.with(|samples| {
        let last = samples.last();
        let say = |series: &super::chart::Series| {
            let figure = last.and_then(series.read).map_or_else(|| "none".to_owned(), chart.write);
            format!("{} {figure}", series.name)
        };
        chart.series.iter().map(say).collect::<Vec<_>>().join(", ")
    });
    let span = browser::span(samples.with(Samples::window));
    format!("{}, {}, the last {span}. Last: {now}.", chart.title, chart.unit)
}
