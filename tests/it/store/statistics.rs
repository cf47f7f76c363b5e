//! Kept figures: counted once, added up exactly, let go in time.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use fanfare_core::Histogram;
use fanfare_core::id::{AppId, NodeId};
use fanfare_core::measures::{Counts, Flow, Measures, Metric, Stage};
use fanfare_store::{AppStore, Figure, Figures, FiguresQuery, KeptSpan, Span};
use harness::store::{Home, home};

/// A full hour, before the clock of these tests.
const START_S: u64 = 1_799_996_400;

fn at(second: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(second.cast_signed(), 0).expect("a time")
}

fn measured(scale: u64) -> Measures {
    let mut latency: [Histogram; Stage::ALL.len()] = Default::default();
    latency[Stage::Delivery as usize].record(1_000 * scale, 10 * scale);
    Measures {
        connections: scale,
        flow: Flow { messages_in: scale, messages_out: 10 * scale, bytes_out: 1_000 * scale, ..Flow::default() },
        errors: Counts::from([("rate_limited", scale)]),
        latency,
        ..Measures::default()
    }
}

fn node(number: u128) -> NodeId {
    NodeId::new(1, number)
}

/// Where a row goes: its process, app, span and first second.
type Place = (NodeId, AppId, Span, u64);

async fn keep(home: &Home, (node, app, span, start_s): Place, revision: u64, scale: u64) -> Result<()> {
    let measures = measured(scale);
    let kept = KeptSpan { app, span, start_s, revision, measures: &measures };
    home.store.feed().keep(node, &[(span, start_s)], &[kept]).await?;
    Ok(())
}

async fn figures(app: &AppStore, metric: Metric, span: Span) -> Result<Figures> {
    let query = FiguresQuery { metric, span, from: at(START_S), to: at(START_S + 3_600) };
    Ok(app.figures(&query).await?)
}

async fn number(app: &AppStore, metric: Metric) -> Result<u64> {
    let figures = figures(app, metric, Span::Minute).await?;
    match figures.get(&at(START_S)).context("the span is there")? {
        Figure::Number(number) => Ok(*number),
        other => anyhow::bail!("{other:?} is no number"),
    }
}

#[tokio::test]
async fn what_is_told_twice_counts_once_and_what_is_old_changes_nothing() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let app = ann.app.id();
    for (revision, scale, counted) in [(1, 2, 2), (1, 2, 2), (2, 5, 5), (1, 2, 5), (2, 9, 5)] {
        keep(&home, (node(1), app, Span::Minute, START_S), revision, scale).await?;
        assert_eq!(number(&ann.app, Metric::MessagesIn).await?, counted, "revision {revision}");
    }
    // Another process, also one that is the same machine started anew, has rows of its own.
    keep(&home, (node(2), app, Span::Minute, START_S), 1, 100).await?;
    assert_eq!(number(&ann.app, Metric::MessagesIn).await?, 105);
    assert_eq!(number(&ann.app, Metric::Connections).await?, 105);
    Ok(())
}

#[tokio::test]
async fn processes_add_up_and_histograms_merge_exactly() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let mut whole = Histogram::default();
    for scale in 1..=5 {
        keep(&home, (node(scale.into()), ann.app.id(), Span::Minute, START_S), 1, scale).await?;
        whole.record(1_000 * scale, 10 * scale);
    }
    let latency = figures(&ann.app, Metric::Delivery, Span::Minute).await?;
    assert_eq!(latency, Figures::from([(at(START_S), Figure::Latency(whole))]));
    let words = figures(&ann.app, Metric::Errors, Span::Minute).await?;
    assert_eq!(words[&at(START_S)], Figure::Words([("rate_limited".to_owned(), 15)].into()));
    let other = figures(&ann.app, Metric::Connect, Span::Minute).await?;
    assert_eq!(other[&at(START_S)], Figure::Latency(Histogram::default()), "a stage that did not happen");
    let usage = ann.app.usage(at(START_S), at(START_S + 3_600)).await?;
    assert!(usage.is_empty(), "usage is made of hours alone");
    Ok(())
}

#[tokio::test]
async fn idle_is_zero_and_not_measured_is_a_gap() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    keep(&home, (node(1), ann.app.id(), Span::Minute, START_S), 1, 1).await?;
    home.store.feed().keep(node(1), &[(Span::Minute, START_S + 120)], &[]).await?;
    let idle = figures(&bob.app, Metric::MessagesIn, Span::Minute).await?;
    assert_eq!(idle, Figures::from([(at(START_S), Figure::Number(0)), (at(START_S + 120), Figure::Number(0))]));
    Ok(())
}

#[tokio::test]
async fn an_app_that_is_gone_takes_no_other_with_it() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let (here, gone, measures) = (ann.app.id(), AppId::new(1, 1), measured(3));
    let row = |app| KeptSpan { app, span: Span::Minute, start_s: START_S, revision: 1, measures: &measures };
    home.store.feed().keep(node(1), &[(Span::Minute, START_S)], &[row(gone), row(here)]).await?;
    assert_eq!(number(&ann.app, Metric::MessagesIn).await?, 3);
    Ok(())
}

#[tokio::test]
async fn usage_is_the_sum_of_hours_by_day() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    for (hour, scale) in [(0, 1), (1, 2), (24, 4)] {
        keep(&home, (node(1), ann.app.id(), Span::Hour, START_S + hour * 3_600), 1, scale).await?;
    }
    keep(&home, (node(2), ann.app.id(), Span::Hour, START_S), 1, 8).await?;
    let days = ann.app.usage(at(START_S), at(START_S + 100 * 3_600)).await?;
    let seen: Vec<_> = days.iter().map(|day| (day.messages_in, day.connections_peak)).collect();
    // 1,799,996,400 is seven in the morning of a day.
    assert_eq!(seen, [(11, 9), (4, 4)]);
    Ok(())
}

#[tokio::test]
async fn spans_are_let_go_when_their_time_is_over() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let left = async || -> Result<Vec<i32>> {
        home.store.feed().trim_statistics().await?;
        let pool = home.behind().await?;
        let spans = "SELECT span FROM statistics ORDER BY span";
        let of_rows: Vec<i32> = sqlx::query_scalar(spans).fetch_all(&pool).await?;
        let of_spans: Vec<i32> =
            sqlx::query_scalar("SELECT span FROM measured_spans ORDER BY span").fetch_all(&pool).await?;
        assert_eq!(of_rows, of_spans);
        Ok(of_rows)
    };
    for span in Span::ALL {
        keep(&home, (node(1), ann.app.id(), span, span.start_of(START_S + 3_000)), 1, 1).await?;
    }
    assert_eq!(left().await?, [10, 60, 3_600]);
    for (days, rest) in [(1, vec![60, 3_600]), (30, vec![3_600]), (701, vec![])] {
        home.clock.advance(Duration::from_secs(days * 86_400));
        assert_eq!(left().await?, rest, "{days} days later");
    }
    Ok(())
}
