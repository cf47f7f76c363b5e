//! Commands drawn at random, answered over Redis as in memory.

use anyhow::{Result, ensure};
use fanfare_core::ChannelKey;
use fanfare_core::settings::History;
use fanfare_engine::MemoryOptions;
use fanfare_engine::broker::{Append, Page, Read, Remove, Start};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{Form, channel, memory, over_redis, with_id};

/// A command that is drawn at random.
#[derive(Debug)]
enum Drawn {
    Publish(Box<Append>),
    Read(Read),
    Remove { number: usize, all: bool, now_ms: u64 },
}

/// What a channel keeps for a while: few messages, or as many as are dropped several at once.
fn settings(chance: &mut StdRng) -> History {
    if chance.random_bool(0.5) {
        return History {
            messages: chance.random_range(0..12),
            bytes: chance.random_range(0..4_000),
            ttl_ms: chance.random_range(1_000..60_000),
        };
    }
    History {
        messages: chance.random_range(16..100),
        bytes: chance.random_range(4_000..60_000),
        ttl_ms: chance.random_range(20_000..400_000),
    }
}

fn draw(chance: &mut StdRng, history: History, time_ms: u64) -> Drawn {
    match chance.random_range(0..10) {
        0..6 => {
            let data = "x".repeat(chance.random_range(0..400));
            let id = chance.random_range(0..40).to_string();
            let idempotent = chance.random_bool(0.5);
            let append = Append { time_ms, history, idempotent, idempotency_ms: 20_000, ..with_id(&id, &data) };
            Drawn::Publish(Box::new(append))
        }
        6..9 => {
            let number = chance.random_range(0..600);
            let start = match chance.random_range(0..6) {
                0 => Start::Top,
                1 => Start::After(number),
                2 => Start::Before(Some(number)),
                3 => Start::Before(None),
                4 => Start::Last(chance.random_range(0..100)),
                _ => Start::Since(time_ms.saturating_sub(chance.random_range(0..200_000))),
            };
            let (messages_max, bytes_max) = (chance.random_range(0..100), chance.random_range(0..20_000));
            Drawn::Read(Read { start, messages_max, bytes_max, now_ms: time_ms })
        }
        _ => Drawn::Remove { number: chance.random_range(0..60), all: chance.random_bool(0.05), now_ms: time_ms },
    }
}

/// What a form answers, but for what it may draw itself.
async fn answered(form: &Form, key: &ChannelKey, drawn: &Drawn) -> Result<String> {
    let read = async |read: Read| form.broker.read(key, read).wait().await;
    Ok(match drawn {
        Drawn::Publish(append) => {
            let appended = form.broker.publish(key, Append::clone(append)).wait().await;
            format!("{:?}", appended.map(|appended| (appended.position.seq, appended.duplicate)))
        }
        Drawn::Read(bounds) => {
            let Page { top, first, messages, .. } = read(*bounds).await?;
            let shown = messages.iter().map(|message| (message.position.seq, &message.id, &message.draft.data));
            format!("{top} {first} {:?}", shown.collect::<Vec<_>>())
        }
        Drawn::Remove { number, all, now_ms } => {
            let bounds = Read { start: Start::Last(100), messages_max: 100, bytes_max: 1 << 20, now_ms: *now_ms };
            let position = read(bounds).await?.messages.get(*number).map(|message| message.position);
            let remove = position.map_or(Remove::All, Remove::Message);
            let remove = if *all { Remove::All } else { remove };
            format!("{:?}", form.broker.remove(key, remove).wait().await)
        }
    })
}

/// The same commands, drawn at random, give the same answers as in memory.
#[tokio::test]
async fn random_commands_are_answered_as_in_memory() -> Result<()> {
    let seed = super::drawn_seed();
    let mut chance = StdRng::seed_from_u64(seed);
    let [one, other] = [memory(MemoryOptions::default()), over_redis().await];
    let channels: Vec<_> = (0..4).map(|number| channel(1, &format!("c:{number}"))).collect();
    for (form, key) in [&one, &other].into_iter().flat_map(|form| channels[..2].iter().map(move |key| (form, key))) {
        form.broker.attach(key).wait().await?;
    }
    let (mut time_ms, mut kept) = (10_000, [History::default(); 4]);
    for step in 0..3_000 {
        time_ms += chance.random_range(0..2_000);
        let number = chance.random_range(0..channels.len());
        let key = &channels[number];
        if step == 0 || chance.random_bool(0.02) {
            kept[number] = settings(&mut chance);
        }
        let drawn = draw(&mut chance, kept[number], time_ms);
        let (left, right) = (answered(&one, key, &drawn).await?, answered(&other, key, &drawn).await?);
        ensure!(left == right, "seed {seed}, step {step}, {key:?}, {drawn:?}: {left} in memory, {right} over Redis");
    }
    for key in &channels[..2] {
        other.heard(key, &one.ear.seqs(key)).await;
    }
    Ok(())
}
