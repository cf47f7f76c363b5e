//! How long messages and connections take: percentiles over a heat map, and the stages they are made of.

mod stages;

use fanfare_core::measures::Stage;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

use crate::api::Member;
use crate::components::chart::{Chart, LineChart, Series};
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::ranges::Ranges;
use crate::format;
use crate::latency::{CHANNEL, Latencies};
use crate::live::{Listening, Live};
use crate::scale::Kind;
use crate::session::Here;
use stages::{StageTable, words};

/// Everything the page shows, in the words of the API.
const METRICS: &str = "delivery,ingest,append,fan_out,write,acknowledged,connect,round_trip";
/// How often what is kept is read again.
const AGAIN_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

const SERIES: &[Series] = &[
    Series { name: "p50", read: |sample| sample.latency_ms.map(|latency| latency.p50) },
    Series { name: "p95", read: |sample| sample.latency_ms.map(|latency| latency.p95) },
    Series { name: "p99", read: |sample| sample.latency_ms.map(|latency| latency.p99) },
];

/// A range of time: its name, and what is read of what was kept, in seconds and seconds a step. The first is live.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    name: &'static str,
    kept: Option<(u32, u32)>,
}

const RANGES: [Range; 5] = [
    Range { name: "5 min", kept: None },
    Range { name: "1 h", kept: Some((3_600, 10)) },
    Range { name: "24 h", kept: Some((86_400, 300)) },
    Range { name: "7 d", kept: Some((7 * 86_400, 3_600)) },
    Range { name: "30 d", kept: Some((30 * 86_400, 3_600)) },
];

impl Range {
    /// As it stands in the URL.
    fn slug(self) -> String {
        self.name.replace(' ', "")
    }
}

/// The page.
#[component]
pub(crate) fn LatencyPage(here: Here) -> impl IntoView {
    let app = here.app.id;
    let member = expect_context::<Member>();
    let live = expect_context::<Live>();
    let query = use_query_map();
    let range = Memo::new(move |_| {
        let slug = query.with(|query| query.get("range")).unwrap_or_default();
        RANGES.into_iter().find(|range| range.slug() == slug).unwrap_or(RANGES[0])
    });
    let stage = Memo::new(move |_| {
        let slug = query.with(|query| query.get("stage")).unwrap_or_default();
        Stage::ALL.into_iter().find(|stage| stage.as_str() == slug).unwrap_or(Stage::Delivery)
    });
    let href = move |range: Range, stage: Stage| {
        format!("/apps/{app}/latency?range={}&stage={}", range.slug(), stage.as_str())
    };
    let seconds = RwSignal::new(Latencies::default());
    let listening = live.listen(CHANNEL, move |arrival| {
        // A second of a newer server that cannot be read is left out; the gap shows.
        if let Ok(second) = serde_json::from_value(arrival.message.data) {
            seconds.update(|seconds| seconds.push(second));
        }
    });
    let kept = Load::new(move || {
        let range = range.get();
        async move {
            let Some((span_s, step_s)) = range.kept else { return Ok(None) };
            let statistics = member.statistics(app, METRICS, span_s, Some(step_s)).await?;
            Ok(Some((range, Latencies::kept(&statistics))))
        }
    });
    if let Ok(timer) = set_interval_with_handle(move || kept.again(), AGAIN_EVERY) {
        on_cleanup(move || timer.clear());
    }
    let is_live = move || range.get().kept.is_none();
    let shown = Memo::new(move |_| match is_live() {
        true => Some(seconds.get()),
        false => kept.get().flatten().filter(|(of, _)| *of == range.get()).map(|(_, latencies)| latencies),
    });
    let links = move || RANGES.map(|range| (range.name, href(range, stage.get()))).to_vec();
    let stage_href = Callback::new(move |stage| href(range.get(), stage));
    view! {
        <PageHead title="Latency" about="How long messages take to their subscribers, by stage.">
            <Ranges label="Range of time" links=Signal::derive(links) chosen=Signal::derive(move || range.get().name)/>
        </PageHead>
        {move || listening_refused(&listening.get())}
        {move || (!is_live()).then(|| kept.show("Seeing latencies", |_| ()))}
        <Show when=move || shown.with(Option::is_some)>
            <div class="stack" class:stale=move || is_live() && live.is_stale()>
                <Picture latencies=Signal::derive(move || shown.get().unwrap_or_default()) stage=stage/>
                <StageTable
                    latencies=Signal::derive(move || shown.get().unwrap_or_default())
                    chosen=stage
                    href=stage_href
                />
            </div>
        </Show>
    }
}

fn listening_refused(listening: &Listening) -> Option<impl IntoView + use<>> {
    match listening {
        Listening::Refused(problem) => Some(
            view! { <p class="note note-bad" role="alert">{format!("Live figures are refused: {}", problem.detail)}</p> },
        ),
        Listening::Waiting | Listening::On(_) => None,
    }
}

/// The chart of the chosen stage.
#[component]
fn Picture(latencies: Signal<Latencies>, stage: Memo<Stage>) -> impl IntoView {
    let cross = RwSignal::new(None::<f64>);
    move || {
        let stage = stage.get();
        let chart =
            Chart { title: words(stage).0, unit: "ms, log", kind: Kind::Log, series: SERIES, write: format::millis };
        let samples = Memo::new(move |_| latencies.with(|latencies| latencies.samples(stage)));
        let heat = Memo::new(move |_| latencies.with(|latencies| latencies.columns(stage)));
        view! {
            <LineChart chart=chart samples=samples heat=heat.into() cross=cross/>
            <p class="muted small">
                "Lines are percentiles of each column, never better than what happened. A darker cell holds more: each
                shade several times more than the one before. Where nothing was measured there is a gap."
            </p>
        }
    }
}
