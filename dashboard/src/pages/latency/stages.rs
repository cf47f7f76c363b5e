//! The table of stages: what each is, how often it happened, how long it took; a click shows it in the chart.

use fanfare_core::measures::Stage;
use leptos::prelude::*;

use crate::format;
use crate::latency::{Latencies, percentiles};

/// A stage's name and what it is, for people.
pub(super) const fn words(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Delivery => {
            ("Published to delivered", "From a publish accepted to its message written to a subscriber.")
        }
        Stage::Ingest => ("Ingest", "Rights, limits and settings of a publish."),
        Stage::Append => ("Append", "Until the message is in the channel's log."),
        Stage::FanOut => ("Fan-out", "From there until a subscriber's turn comes."),
        Stage::Write => ("Write", "Encoding, and writing to the sockets of one turn."),
        Stage::Acknowledged => ("Publish acknowledged", "From a publish accepted until its answer is ready."),
        Stage::Connect => ("Connect", "From a handshake answered to its hello, the client's time included."),
        Stage::RoundTrip => ("Client round trip", "From a heartbeat's ping to the client's answer."),
    }
}

/// Whether it is a part of the delivery.
const fn is_part(stage: Stage) -> bool {
    matches!(stage, Stage::Ingest | Stage::Append | Stage::FanOut | Stage::Write)
}

/// The table.
#[component]
pub(super) fn StageTable(
    /// The figures.
    latencies: Signal<Latencies>,
    /// What the chart shows.
    chosen: Memo<Stage>,
    /// Where a stage's chart is.
    href: Callback<Stage, String>,
) -> impl IntoView {
    let row = move |stage: Stage| {
        let (name, about) = words(stage);
        let total = Memo::new(move |_| latencies.with(|latencies| latencies.total(stage)));
        let figure = move |read: fn(&crate::samples::Latency) -> f64| {
            let figure = total.with(percentiles).map(|latency| format::millis(read(&latency)));
            figure.unwrap_or_else(|| "–".to_owned())
        };
        let count = move || total.with(|total| total.count() as f64);
        let current = move || (chosen.get() == stage).then_some("true");
        view! {
            <tr class:row-part=is_part(stage)>
                <th scope="row" class="stage-name">
                    <a href=move || href.run(stage) aria-current=current>{name}</a>
                    <span class="muted small">{about}</span>
                </th>
                <td class="number" data-label="Count" title=move || format::exact(count())>{move || format::short(count())}</td>
                <td class="number" data-label="p50, ms">{move || figure(|latency| latency.p50)}</td>
                <td class="number" data-label="p95, ms">{move || figure(|latency| latency.p95)}</td>
                <td class="number" data-label="p99, ms">{move || figure(|latency| latency.p99)}</td>
            </tr>
        }
    };
    let is_empty = move || latencies.with(|latencies| Stage::ALL.into_iter().all(|stage| latencies.is_empty(stage)));
    view! {
        <section class="card" aria-label="Stages">
            <div class="table-wrap" tabindex="0" role="group" aria-label="Stages as a table">
                <table class="table">
                    <thead>
                        <tr>
                            <th scope="col">"Stage"</th>
                            <th scope="col" class="number">"Count"</th>
                            <th scope="col" class="number">"p50, ms"</th>
                            <th scope="col" class="number">"p95, ms"</th>
                            <th scope="col" class="number">"p99, ms"</th>
                        </tr>
                    </thead>
                    <tbody>{Stage::ALL.map(row).to_vec()}</tbody>
                </table>
            </div>
        </section>
        <Show when=is_empty>
            <p class="muted">"Nothing happened in this time: no message was delivered and nobody connected."</p>
        </Show>
    }
}
