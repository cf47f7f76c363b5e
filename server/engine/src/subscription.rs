//! One subscription's cursor: what makes delivery gapless. Pure: no clock, no lock, no socket.
//!
//! ```text
//!   subscribe ──► Recovering ──page reaches the top, held messages follow──► Live
//!                     ▲                                                        │
//!                     └──────────── a number was skipped, or the client is slow ┘
//! ```
//!
//! *Live*: the next number passes, known ones are dropped, a skipped one means that something was missed and sends the
//! subscription back to reading. *Recovering*: pushes are held, bounded; pages of history are passed on; when a page
//! reaches the top of the log, what was held and is newer follows, and the subscription is live. A hold that would
//! overflow is dropped: the messages stand in the log and are read again.

use std::sync::Arc;

use fanfare_core::{Message, Position};

use crate::broker::Page;

/// Messages held while a page is read. What is more is read again.
pub const HELD_MAX: usize = 256;
/// Bytes held while a page is read.
pub const HELD_BYTES_MAX: usize = 256 * 1024;

/// Anything that carries a message: the hub's deliveries, or a bare message in tests.
pub trait Carries: Clone {
    /// The message.
    fn message(&self) -> &Message;
}

impl Carries for Arc<Message> {
    fn message(&self) -> &Message {
        self
    }
}

/// Where a subscription stands.
#[derive(Debug)]
pub struct Subscription<D> {
    position: Position,
    state: State<D>,
}

#[derive(Debug)]
enum State<D> {
    Live,
    Recovering(Box<Held<D>>),
}

#[derive(Debug)]
struct Held<D> {
    messages: Vec<D>,
    bytes: usize,
    /// Something was let go since the last page was asked for: the next page may not be the last.
    dropped: bool,
}

/// What to do with a pushed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// Write it.
    Deliver,
    /// It was delivered before, or is of a log left behind.
    Drop,
    /// It waits for a page; nothing to do.
    Held,
    /// Something was missed: read from the position.
    Gap,
}

/// Why a subscription could not go on where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The channel's log is another one: nothing is known of the old.
    EpochChanged,
    /// The log was rewound, or the position lies ahead of it.
    Diverged,
    /// The messages after the position are no longer kept.
    Truncated,
}

impl Loss {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EpochChanged => "epoch_changed",
            Self::Diverged => "diverged",
            Self::Truncated => "truncated",
        }
    }
}

/// What became of a page.
#[derive(Debug, PartialEq)]
pub struct Turned<D> {
    /// Set when continuity ended: the reason, and where the subscription stood. It now stands at the new position, and
    /// what `deliver` holds follows that.
    pub lost: Option<(Loss, Position)>,
    /// The log goes on under another lineage, and nothing is missing: the client has to know it, to come back.
    pub moved: bool,
    /// The position after which `deliver` follows without a hole.
    pub from: Position,
    /// To be written, in order.
    pub deliver: Vec<D>,
    /// Whether another page must be read.
    pub again: bool,
}

impl<D: Carries> Subscription<D> {
    /// A subscription that stands at `position` and reads from there.
    #[must_use]
    pub fn recovering(position: Position) -> Self {
        Self { position, state: State::Recovering(Box::new(Held::new())) }
    }

    /// Says where a subscription stands whose place was not known before its first page.
    pub const fn place(&mut self, position: Position) {
        self.position = position;
    }

    /// The position up to which everything was handed out.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Whether pushes pass.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    /// A message was pushed. `Deliver` has moved the position past it.
    pub fn push(&mut self, delivery: &D) -> Push {
        let next = delivery.message().position;
        match &mut self.state {
            State::Recovering(held) => {
                held.hold(delivery);
                Push::Held
            }
            State::Live if next.lineage == self.position.lineage && next.seq == self.position.seq + 1 => {
                self.position = next;
                Push::Deliver
            }
            State::Live if is_behind(next, self.position) => Push::Drop,
            State::Live => {
                let mut held = Held::new();
                held.hold(delivery);
                self.state = State::Recovering(Box::new(held));
                Push::Gap
            }
        }
    }

    /// The client takes nothing more for now: pushes are let go until pages are read again.
    pub fn fall_behind(&mut self) {
        if self.is_live() {
            let mut held = Held::new();
            held.dropped = true;
            self.state = State::Recovering(Box::new(held));
        }
    }

    /// Forgets what was held, because a page is asked for that will contain it or tell.
    pub fn reading(&mut self) {
        if let State::Recovering(held) = &mut self.state {
            **held = Held::new();
        }
    }

    /// A page that was asked for after the position, after [`Subscription::reading`].
    pub fn page(&mut self, page: &Page, wrap: impl Fn(&Arc<Message>) -> D) -> Turned<D> {
        let State::Recovering(held) = &mut self.state else {
            // A page nobody waits for any more changes nothing.
            return Turned { lost: None, moved: false, from: self.position, deliver: Vec::new(), again: false };
        };
        let held = std::mem::replace(&mut **held, Held::new());
        let lost = judge(self.position, page).map(|loss| (loss, self.position));
        if lost.is_some() {
            // What is kept is handed out even so: less is missing to whoever is told.
            self.position = Position { lineage: page.lineage, seq: page.first - 1 };
        }
        let moved = self.position.lineage != page.lineage;
        self.position.lineage = page.lineage;
        let from = self.position;
        let mut deliver = Vec::new();
        // After a loss the page may begin further on than asked: only what follows without a hole counts.
        for message in &page.messages {
            if self.follows(message.position) {
                self.position = message.position;
                deliver.push(wrap(message));
            }
        }
        let complete = self.position.seq >= page.top;
        let mut again = !complete || held.dropped;
        if !again {
            for delivery in held.messages {
                let next = delivery.message().position;
                if self.follows(next) {
                    self.position = next;
                    deliver.push(delivery);
                } else if !is_behind(next, self.position) {
                    again = true;
                    break;
                }
            }
        }
        if !again {
            self.state = State::Live;
        }
        Turned { lost, moved, from, deliver, again }
    }

    fn follows(&self, next: Position) -> bool {
        next.lineage == self.position.lineage && next.seq == self.position.seq + 1
    }
}

impl<D: Carries> Held<D> {
    const fn new() -> Self {
        Self { messages: Vec::new(), bytes: 0, dropped: false }
    }

    fn hold(&mut self, delivery: &D) {
        if self.dropped {
            return;
        }
        self.bytes += delivery.message().draft.weight();
        if self.messages.len() >= HELD_MAX || self.bytes > HELD_BYTES_MAX {
            *self = Self { dropped: true, ..Self::new() };
            return;
        }
        self.messages.push(delivery.clone());
    }
}

/// Whether `next` is of the same log and not newer, or of a log that was left behind.
const fn is_behind(next: Position, position: Position) -> bool {
    let (new, old) = (next.lineage, position.lineage);
    if new.epoch != old.epoch {
        // Terms of two epochs say nothing about each other: a read must tell.
        false
    } else if new.term == old.term && new.nonce == old.nonce {
        next.seq <= position.seq
    } else {
        new.term < old.term
    }
}

/// Whether the page continues at the position, and if not, why.
fn judge(position: Position, page: &Page) -> Option<Loss> {
    if position.lineage.epoch != page.lineage.epoch {
        Some(Loss::EpochChanged)
    } else if !page.continues(position) {
        Some(Loss::Diverged)
    } else if position.seq + 1 < page.first {
        Some(Loss::Truncated)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Earlier;
    use fanfare_core::{Data, Draft, Lineage, Seq};
    use proptest::prelude::*;

    const LINEAGE: Lineage = Lineage { epoch: 1, term: 1, nonce: 1 };

    fn message(lineage: Lineage, seq: Seq) -> Arc<Message> {
        Arc::new(Message {
            id: "".into(),
            position: Position { lineage, seq },
            time_ms: 0,
            publisher: None,
            origin: None,
            draft: Arc::new(Draft::new(Data::Bytes([0; 8].into()))),
        })
    }

    fn page(lineage: Lineage, kept: std::ops::Range<Seq>, after: Seq, count: usize) -> Page {
        let messages = kept.clone().filter(|seq| *seq > after).take(count).map(|seq| message(lineage, seq)).collect();
        Page { lineage, top: kept.end - 1, first: kept.start, messages, earlier: Vec::new() }
    }

    fn at(seq: Seq) -> Position {
        Position { lineage: LINEAGE, seq }
    }

    #[test]
    fn held_messages_follow_the_page_that_reaches_them() {
        let mut one = Subscription::recovering(at(2));
        for seq in [4, 5, 6] {
            assert_eq!(one.push(&message(LINEAGE, seq)), Push::Held);
        }
        let turned = one.page(&page(LINEAGE, 1..5, 2, 10), Arc::clone);
        let seqs: Vec<Seq> = turned.deliver.iter().map(|message| message.position.seq).collect();
        assert_eq!((seqs, turned.lost, turned.again), (vec![3, 4, 5, 6], None, false));
        assert!(one.is_live());
        assert_eq!(one.push(&message(LINEAGE, 6)), Push::Drop);
        assert_eq!(one.push(&message(LINEAGE, 8)), Push::Gap);
    }

    #[test]
    fn a_log_that_goes_on_under_another_lineage_is_continued_up_to_where_it_went_on() {
        let later = Lineage { term: 9, nonce: 7, ..LINEAGE };
        let continued = |after| Page {
            earlier: vec![Earlier { term: LINEAGE.term, nonce: LINEAGE.nonce, top: 5 }],
            ..page(later, 1..9, after, 10)
        };
        for (seq, moved, lost) in [(3, true, None), (5, true, None), (6, false, Some(Loss::Diverged))] {
            let stood = Position { lineage: LINEAGE, seq };
            let mut one = Subscription::recovering(stood);
            one.reading();
            let turned = one.page(&continued(seq), Arc::clone);
            assert_eq!((turned.moved, turned.lost), (moved, lost.map(|loss| (loss, stood))), "after {seq}");
            let from = if moved { seq } else { 0 };
            assert_eq!(turned.from, Position { lineage: later, seq: from }, "after {seq}");
            if moved {
                let seqs: Vec<Seq> = turned.deliver.iter().map(|message| message.position.seq).collect();
                assert_eq!((seqs, one.position().seq, one.is_live()), ((seq + 1..9).collect(), 8, true));
            }
        }
        // Another data set with the same term, or another epoch, is none of it.
        for lineage in
            [Lineage { nonce: 8, ..LINEAGE }, Lineage { epoch: 2, ..LINEAGE }, Lineage { term: 2, ..LINEAGE }]
        {
            assert!(!continued(0).continues(Position { lineage, seq: 1 }), "{lineage:?}");
        }
    }

    #[test]
    fn a_hold_that_overflows_is_dropped_and_read_again() {
        let mut one = Subscription::recovering(at(0));
        one.reading();
        let page = page(LINEAGE, 1..2, 0, 10);
        for seq in 2..=HELD_MAX as Seq + 3 {
            assert_eq!(one.push(&message(LINEAGE, seq)), Push::Held);
        }
        let turned = one.page(&page, Arc::clone);
        assert!(turned.again && !one.is_live(), "what was let go must be read, though the page reached its top");
    }

    #[test]
    fn every_break_is_told_with_its_reason() {
        let other = |epoch, term, nonce| Lineage { epoch, term, nonce };
        let table = [
            (page(other(2, 1, 1), 1..4, 0, 9), Loss::EpochChanged, 3),
            (page(other(1, 2, 1), 1..9, 5, 9), Loss::Diverged, 8),
            (page(other(1, 1, 2), 1..9, 5, 9), Loss::Diverged, 8),
            (page(LINEAGE, 1..3, 5, 9), Loss::Diverged, 0),
            (page(LINEAGE, 8..12, 5, 9), Loss::Truncated, 11),
            (page(LINEAGE, 12..12, 5, 9), Loss::Truncated, 11),
        ];
        for (page, loss, _) in table {
            let mut one = Subscription::recovering(at(5));
            let turned = one.page(&page, Arc::clone);
            assert_eq!(turned.lost, Some((loss, at(5))), "{page:?}");
            assert_eq!(turned.from, Position { lineage: page.lineage, seq: page.first - 1 });
        }
    }

    /// What happens to a channel and to one subscriber of it.
    #[derive(Debug, Clone)]
    enum Step {
        Publish,
        /// The last published messages reach the node, so many of them lost on the way.
        Arrive {
            lost: usize,
        },
        /// The page that was asked for arrives, cut after so many messages.
        Page {
            count: usize,
        },
        Trim {
            keep: u64,
        },
        Slow,
        Rewind,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => Just(Step::Publish),
            5 => (0_usize..3).prop_map(|lost| Step::Arrive { lost }),
            4 => (1_usize..6).prop_map(|count| Step::Page { count }),
            1 => (0_u64..6).prop_map(|keep| Step::Trim { keep }),
            1 => Just(Step::Slow),
            1 => Just(Step::Rewind),
        ]
    }

    /// The log, what is on its way, and what the subscriber was given.
    struct World {
        lineage: Lineage,
        top: Seq,
        first: Seq,
        travelling: Vec<Arc<Message>>,
        one: Subscription<Arc<Message>>,
        /// A page as it was when read; pushes since then race with it.
        read: Option<Page>,
        expected: Position,
    }

    impl World {
        fn page_now(&self, count: usize) -> Page {
            let after = if self.one.position().lineage == self.lineage { self.one.position().seq } else { 0 };
            page(self.lineage, self.first..self.top + 1, after, count)
        }

        fn given(&mut self, message: &Message) -> Result<(), TestCaseError> {
            let next = Position { lineage: self.expected.lineage, seq: self.expected.seq + 1 };
            prop_assert_eq!(message.position, next, "a message was lost, doubled or reordered unsaid");
            self.expected = next;
            Ok(())
        }

        fn turn(&mut self, page: &Page) -> Result<(), TestCaseError> {
            let stood = self.one.position();
            let turned = self.one.page(page, Arc::clone);
            if let Some((loss, from)) = turned.lost {
                prop_assert_eq!(from, stood);
                let justified = match loss {
                    Loss::EpochChanged => stood.lineage.epoch != page.lineage.epoch,
                    Loss::Diverged => stood.lineage != page.lineage || stood.seq > page.top,
                    Loss::Truncated => stood.seq + 1 < page.first,
                };
                prop_assert!(justified, "told of a loss that was none: {:?}", loss);
                self.expected = turned.from;
            }
            for message in &turned.deliver {
                self.given(message)?;
            }
            prop_assert_eq!(self.one.is_live(), !turned.again);
            Ok(())
        }

        fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
            match step {
                Step::Publish => {
                    self.top += 1;
                    self.travelling.push(message(self.lineage, self.top));
                }
                Step::Arrive { lost } => {
                    for message in std::mem::take(&mut self.travelling).into_iter().skip(*lost) {
                        if self.one.push(&message) == Push::Deliver {
                            self.given(&message)?;
                        }
                    }
                }
                Step::Page { count } => match self.read.take() {
                    Some(page) => self.turn(&page)?,
                    None if self.one.is_live() => {}
                    None => {
                        self.one.reading();
                        self.read = Some(self.page_now(*count));
                    }
                },
                Step::Trim { keep } => self.first = self.first.max((self.top + 1).saturating_sub(*keep)),
                Step::Slow => self.one.fall_behind(),
                Step::Rewind => {
                    self.lineage.term += 1;
                    self.top = self.top.saturating_sub(1);
                    self.first = self.first.min(self.top + 1).max(1);
                    self.travelling.clear();
                }
            }
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_schedule_loses_doubles_or_reorders_unsaid(steps in proptest::collection::vec(step(), 1..120)) {
            let mut world = World {
                lineage: LINEAGE, top: 0, first: 1, travelling: Vec::new(),
                one: Subscription::recovering(at(0)), read: None, expected: at(0),
            };
            for step in &steps {
                world.step(step)?;
            }
            // Let everything settle: a last message makes a lost tail visible, as the audit does on a node.
            world.read = None;
            for step in [Step::Publish, Step::Arrive { lost: 0 }] {
                world.step(&step)?;
            }
            for _ in 0..400 {
                if world.one.is_live() { break; }
                world.step(&Step::Page { count: 50 })?;
            }
            prop_assert_eq!(world.one.position(), Position { lineage: world.lineage, seq: world.top });
        }
    }
}
