//! An app at a glance: are clients connected, and do messages arrive in time.

use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_query_map;

use crate::api::Member;
use crate::components::chart::{Chart, LineChart, Series};
use crate::components::icon::{Icon, Shape};
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::ranges::Ranges;
use crate::figures::Figures;
use crate::live::{Link, Listening, Live};
use crate::samples::{Sample, Samples};
use crate::scale::Kind;
use crate::session::Here;
use crate::{browser, format};

/// What is read of the last hour, in the words of the API.
const METRICS: &str = "connections,subscriptions,channels,messages_in,messages_out,bytes_in,bytes_out,delivery";
/// How often.
const AGAIN_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// Percentiles above this are called slow.
const SLOW_MS: f64 = 250.0;

const CONNECTIONS: Chart = Chart {
    title: "Connections",
    unit: "open",
    kind: Kind::Linear,
    series: &[Series { name: "connections", read: |sample| Some(sample.connections) }],
    write: format::short,
};
const MESSAGES: Chart = Chart {
    title: "Messages",
    unit: "per second",
    kind: Kind::Linear,
    series: &[
        Series { name: "delivered", read: |sample| Some(sample.out.messages) },
        Series { name: "published", read: |sample| Some(sample.inbound.messages) },
    ],
    write: format::short,
};
const LATENCY: Chart = Chart {
    title: "Published to delivered",
    unit: "ms, log",
    kind: Kind::Log,
    series: &[
        Series { name: "p50", read: |sample| sample.latency_ms.map(|latency| latency.p50) },
        Series { name: "p95", read: |sample| sample.latency_ms.map(|latency| latency.p95) },
        Series { name: "p99", read: |sample| sample.latency_ms.map(|latency| latency.p99) },
    ],
    write: format::millis,
};
const BYTES: Chart = Chart {
    title: "Traffic",
    unit: "bytes per second",
    kind: Kind::Linear,
    series: &[
        Series { name: "out", read: |sample| Some(sample.out.bytes) },
        Series { name: "in", read: |sample| Some(sample.inbound.bytes) },
    ],
    write: format::short,
};

/// The page.
#[component]
pub(crate) fn Overview(here: Here) -> impl IntoView {
    let live = expect_context::<Live>();
    let member = expect_context::<Member>();
    let Figures { samples, listening } = expect_context::<Figures>();
    let cross = RwSignal::new(None::<f64>);
    let app = here.app.id;
    let first = format!("/apps/{app}/first-message");
    let query = use_query_map();
    let is_hour = Memo::new(move |_| query.with(|query| query.get("range")).as_deref() != Some("5min"));
    // What was kept of the last hour stands before what comes live, so that a first look is not an empty chart. Without
    // it (storage may be away) the live figures stand alone.
    let kept = Load::new(move || async move {
        member
            .statistics(app, METRICS, 3_600, Some(10))
            .await
            .map(|statistics| Samples::kept(&statistics, browser::now_ms()))
    });
    if let Ok(timer) = set_interval_with_handle(move || kept.again(), AGAIN_EVERY) {
        on_cleanup(move || timer.clear());
    }
    let shown = Memo::new(move |_| match kept.get().filter(|_| is_hour.get()) {
        Some(kept) => samples.with(|live| kept.and_live(live)),
        None => samples.get(),
    });
    let links = vec![("5 min", format!("/apps/{app}?range=5min")), ("1 h", format!("/apps/{app}?range=1h"))];
    let range = Signal::derive(move || if is_hour.get() { "1 h" } else { "5 min" });
    view! {
        <PageHead title="Overview" about=format!("{}, as it happens.", here.app.name)>
            <Ranges label="Range of time" links=Signal::stored(links) chosen=range/>
        </PageHead>
        <Verdict samples=samples listening=listening first=first/>
        <div class:stale=move || live.is_stale()>
            <Stats samples=samples/>
            <div class="charts">
                <LineChart chart=LATENCY samples=shown cross=cross/>
                <LineChart chart=CONNECTIONS samples=shown cross=cross/>
                <LineChart chart=MESSAGES samples=shown cross=cross/>
                <LineChart chart=BYTES samples=shown cross=cross/>
            </div>
        </div>
    }
}

/// How an app is doing, as a shape, a class and a sentence.
fn verdict(link: &Link, listening: &Listening, samples: &Samples) -> (Shape, &'static str, String) {
    let last = samples.last();
    let until = last.map_or_else(String::new, |last| format!(" Figures stand at {}.", browser::clock_time(last.time)));
    match (link, listening, last) {
        (Link::Refused(problem), ..) | (_, Listening::Refused(problem), _) => {
            (Shape::ALERT, "bad", format!("Live figures are refused: {}{until}", problem.detail))
        }
        (Link::Reconnecting { since_ms, why }, ..) => {
            (Shape::ALERT, "warn", format!("No figures since {}: {why}{until}", browser::clock_time(*since_ms)))
        }
        (Link::Paused, ..) => (Shape::CIRCLE, "muted", format!("Live figures are paused.{until}")),
        (Link::Connecting | Link::Live, _, None) => {
            (Shape::CIRCLE, "muted", "Waiting for the first second of figures.".to_owned())
        }
        (Link::Connecting | Link::Live, _, Some(last)) => {
            let connected = format::counted(last.connections, "connection");
            match last.latency_ms {
                Some(latency) if latency.p99 >= SLOW_MS => (
                    Shape::ALERT,
                    "warn",
                    format!(
                        "{connected}. Messages are slow: one in a hundred takes {} ms or more.",
                        format::millis(latency.p99)
                    ),
                ),
                Some(latency) => (
                    Shape::DONE,
                    "good",
                    format!(
                        "{connected}. Messages arrive in {} ms, 99 of 100 within {} ms.",
                        format::millis(latency.p50),
                        format::millis(latency.p99)
                    ),
                ),
                None => (Shape::DONE, "good", format!("{connected}. Nothing was delivered in the last seconds.")),
            }
        }
    }
}

#[component]
fn Verdict(samples: ReadSignal<Samples>, listening: ReadSignal<Listening>, first: String) -> impl IntoView {
    let live = expect_context::<Live>();
    let now = Memo::new(move |_| samples.with(|samples| verdict(&live.link(), &listening.get(), samples)));
    // This page itself is one connection.
    let alone = Memo::new(move |_| {
        live.link() == Link::Live && samples.with(|samples| samples.last().is_some_and(|last| last.connections <= 1.0))
    });
    view! {
        <div class="card verdict">
            <span class=move || now.get().1><Icon shape=Signal::derive(move || now.get().0)/></span>
            <p>
                {move || now.get().2}
                <Show when=move || alone.get()>
                    " Only this page is connected. "<A href=first.clone()>"Send a first message"</A>
                </Show>
            </p>
        </div>
    }
}

#[component]
fn Stats(samples: ReadSignal<Samples>) -> impl IntoView {
    let stat =
        move |name: &'static str, unit: &'static str, read: fn(&Sample) -> Option<f64>, write: fn(f64) -> String| {
            let figure = Memo::new(move |_| samples.with(|samples| samples.last().and_then(read)));
            let text = move || figure.get().map_or_else(|| "–".to_owned(), write);
            let exact = move || figure.get().map(format::exact).unwrap_or_default();
            view! {
                <div class="stat">
                    <dt>{name}</dt>
                    <dd class="figure" title=exact>{text}<small>{unit}</small></dd>
                </div>
            }
        };
    view! {
        <dl class="card stats">
            {stat("Connections", "", |sample| Some(sample.connections), format::short)}
            {stat("Subscriptions", "", |sample| Some(sample.subscriptions), format::short)}
            {stat("Channels in use", "", |sample| Some(sample.channels), format::short)}
            {stat("Published", " /s", |sample| Some(sample.inbound.messages), format::short)}
            {stat("Delivered", " /s", |sample| Some(sample.out.messages), format::short)}
            {stat("Delivered in, p99", " ms", |sample| sample.latency_ms.map(|latency| latency.p99), format::millis)}
        </dl>
    }
}
