//! Whatever bytes come, every parser at a door answers in time, without a panic and within its bounds.
//!
//! A target is a function of bytes that asserts what must hold for any. It is given every seed of its corpus in
//! `tests/fuzz` (one a line, bytes outside of printable ASCII as `\xNN`), then seeds that were mutated, spliced and
//! repeated, from a fixed start: a failure prints the input as a line for the corpus. `FANFARE_FUZZ_S` says for how many
//! seconds each target runs; `FANFARE_FUZZ_SEED` where it begins.

mod targets;

use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

/// How long each target runs when nobody says.
const SECONDS: u64 = 2;
/// The longest input. Longer ones find nothing that repeated parts do not.
const BYTES_MAX: usize = 8 * 1024;
/// What no input may take, in a build without optimisation and on a busy machine.
const SLOW: Duration = Duration::from_secs(5);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs a target over its corpus and over what mutation makes of it.
fn fuzz(corpus: &str, target: impl Fn(&[u8])) {
    let corpus: Vec<Vec<u8>> = corpus.lines().filter(|line| !line.starts_with("##")).map(unescape).collect();
    assert!(corpus.len() > 5, "a corpus has something to begin with");
    let mut rng = StdRng::seed_from_u64(number("FANFARE_FUZZ_SEED", 1));
    let begun = Instant::now();
    let within = Duration::from_secs(number("FANFARE_FUZZ_S", SECONDS));
    for seed in &corpus {
        run(seed, &target);
    }
    let mut kept = corpus.clone();
    let mut count = corpus.len();
    while begun.elapsed() < within {
        let mut input = kept.choose(&mut rng).expect("is not empty").clone();
        for _ in 0..rng.random_range(1..6) {
            mutate(&mut input, &kept, &mut rng);
        }
        input.truncate(BYTES_MAX);
        run(&input, &target);
        count += 1;
        // A few mutants become seeds themselves, so that changes pile up.
        if rng.random_ratio(1, 64) {
            let index = rng.random_range(corpus.len()..=kept.len().clamp(corpus.len(), 4_095));
            kept.truncate(4_096);
            if index < kept.len() { kept[index] = input } else { kept.push(input) }
        }
    }
    assert!(count > 100, "only {count} inputs in {within:?}");
}

fn run(input: &[u8], target: &impl Fn(&[u8])) {
    let told = Told(input);
    let begun = Instant::now();
    target(input);
    let took = begun.elapsed();
    assert!(took < SLOW, "took {took:?}");
    std::mem::forget(told);
}

/// Says which input it was when a target panics.
struct Told<'a>(&'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        eprintln!("the input, as a line for the corpus:\n{}", escape(self.0));
    }
}

fn mutate(input: &mut Vec<u8>, kept: &[Vec<u8>], rng: &mut StdRng) {
    let at = rng.random_range(0..=input.len());
    let end = rng.random_range(at..=input.len()).min(at + 64);
    match rng.random_range(0..8) {
        0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        1 if at < input.len() => input[at] = rng.random(),
        2 => input.insert(at, rng.random()),
        3 => drop(input.drain(at..end)),
        4 => {
            let part = input[at..end].repeat(rng.random_range(1..32));
            input.splice(at..at, part);
        }
        5 => {
            let other = kept.choose(rng).expect("is not empty");
            let from = rng.random_range(0..=other.len());
            input.splice(at..end, other[from..].iter().copied());
        }
        6 => {
            let word =
                [&b"\0"[..], b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"null", b"[", b"{\"", b"\n"];
            input.splice(at..at, word.choose(rng).expect("is not empty").iter().copied());
        }
        _ => input.truncate(at),
    }
}

fn unescape(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.strip_prefix(b"x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &after[3..];
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'\\' => out.push(char::from(*byte)),
            _ => write!(out, "\\x{byte:02x}").expect("writing to a text does not fail"),
        }
    }
    out
}

#[test]
fn a_line_of_a_corpus_says_any_bytes() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(unescape(&escape(&all)), all);
}
