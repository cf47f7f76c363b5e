use std::collections::BTreeMap;

use fanfare_core::id::ConnectionId;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

const LISTED_MAX: u64 = 5;

fn id(number: u8) -> MemberId {
    MemberId::Connection(ConnectionId::new(u64::from(number), 0))
}

fn member(number: u8, data: u8) -> Arc<Member> {
    let data = RawValue::from_string(data.to_string()).expect("a number");
    Arc::new(Member { id: id(number), user: None, info: None, data: Some(data), since_ms: 0 })
}

/// The channel as it is.
#[derive(Default)]
struct Truth {
    version: u64,
    members: BTreeMap<MemberId, Arc<Member>>,
}

impl Truth {
    fn change(&mut self, what: What) -> Change {
        match &what {
            What::Here(member) => drop(self.members.insert(member.id.clone(), Arc::clone(member))),
            What::Gone(id) => drop(self.members.remove(id)),
        }
        self.version += 1;
        Change { version: self.version, count: self.members.len() as u64, what }
    }

    fn page(&self) -> Page {
        let (version, count) = (self.version, self.members.len() as u64);
        let members = (count <= LISTED_MAX).then(|| self.members.values().cloned().collect());
        Page { version, count, members, next: None }
    }
}

/// A client that follows the rules of `PROTOCOL.md` to the letter.
#[derive(Default)]
struct Client {
    version: u64,
    count: u64,
    /// `None` while the channel is crowded.
    members: Option<BTreeMap<MemberId, Arc<Member>>>,
    /// Who is there and who is not, as diffs told it: each comes before it goes.
    told: BTreeMap<MemberId, bool>,
}

impl Client {
    fn page(&mut self, page: Page) {
        (self.version, self.count) = (page.version, page.count);
        self.members = page.members.map(|members| members.into_iter().map(|one| (one.id.clone(), one)).collect());
        self.told = self.members.iter().flatten().map(|(id, _)| (id.clone(), true)).collect();
    }

    fn diff(&mut self, diff: &PresenceDiff) -> Result<(), TestCaseError> {
        prop_assert!(diff.from < diff.version, "a diff goes on");
        if self.version >= diff.version {
            return Ok(());
        }
        prop_assert!(self.version >= diff.from, "a client at {} was told from {}", self.version, diff.from);
        let Some(members) = &mut self.members else { return Err(TestCaseError::fail("a diff of a crowded channel")) };
        for one in diff.entered.iter().chain(&diff.updated) {
            members.insert(one.id.clone(), Arc::clone(one));
        }
        diff.left.iter().for_each(|id| drop(members.remove(id)));
        // For whoever has read nothing in between, coming and going alternate.
        let alternates = self.version == diff.from;
        let comes = diff.entered.iter().map(|one| (&one.id, false, true));
        let stays = diff.updated.iter().map(|one| (&one.id, true, true));
        for (id, was, is) in comes.chain(stays) {
            let before = self.told.insert(id.clone(), is).unwrap_or(false);
            prop_assert!(!alternates || before == was, "{id} was told to come when it was there, or to stay when not");
        }
        for id in &diff.left {
            self.told.insert(id.clone(), false);
        }
        (self.version, self.count) = (diff.version, diff.count);
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Leave(u8),
    /// The next change gets lost on its way.
    Lose,
    /// The page that is awaited arrives.
    Read,
    Tell,
    /// A client comes.
    Join,
    /// A client reads a page of its own.
    Get(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..8_u8, 0..3_u8).prop_map(|(who, data)| Step::Put(who, data)),
        6 => (0..8_u8).prop_map(Step::Leave),
        1 => Just(Step::Lose),
        3 => Just(Step::Read),
        4 => Just(Step::Tell),
        2 => Just(Step::Join),
        2 => (0..4_usize).prop_map(Step::Get),
    ]
}

struct World {
    truth: Truth,
    roster: Roster,
    lose: bool,
    clients: Vec<Client>,
}

impl World {
    fn change(&mut self, what: What) {
        let change = self.truth.change(what);
        if !std::mem::take(&mut self.lose) {
            self.roster.hear(&change, LISTED_MAX);
        }
    }

    fn read(&mut self) {
        if self.roster.is_reading() {
            self.roster.read(self.truth.page(), LISTED_MAX);
        }
    }

    fn tell(&mut self) -> Result<(), TestCaseError> {
        match self.roster.tell() {
            Telling::Nothing => {}
            Telling::Diffs(diffs) => {
                for client in &mut self.clients {
                    diffs.iter().try_for_each(|diff| client.diff(diff))?;
                }
            }
            Telling::Anew => {
                for client in &mut self.clients {
                    client.page(self.roster.first_page(100, usize::MAX));
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Put(who, data) => {
                let now = member(*who, *data);
                if self.truth.members.get(&now.id) != Some(&now) {
                    self.change(What::Here(now));
                }
            }
            Step::Leave(who) => {
                if self.truth.members.contains_key(&id(*who)) {
                    self.change(What::Gone(id(*who)));
                }
            }
            Step::Lose => self.lose = true,
            Step::Read => {
                self.read();
                // A channel that is few enough again is read anew, as a watch does.
                if self.roster.is_crowded() && self.roster.count() <= LISTED_MAX {
                    self.roster.read_anew();
                }
            }
            Step::Tell => self.tell()?,
            Step::Join => {
                if !self.roster.is_reading() {
                    let mut client = Client::default();
                    client.page(self.roster.first_page(100, usize::MAX));
                    self.clients.push(client);
                }
            }
            Step::Get(which) => {
                if let Some(client) = self.clients.get_mut(*which) {
                    self.roster.begin_peek();
                    let page = self.truth.page();
                    self.roster.end_peek(page.version);
                    client.page(page);
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_client_read_and_missed_it_knows_who_is_there(steps in proptest::collection::vec(step(), 1..100)) {
        let mut world = World { truth: Truth::default(), roster: Roster::new(), lose: false, clients: Vec::new() };
        for step in &steps {
            world.step(step)?;
        }
        // A last change shows whoever missed the one before that something is missing.
        world.lose = false;
        world.change(What::Here(member(9, 9)));
        for _ in 0..4 {
            for step in [Step::Read, Step::Tell] {
                world.step(&step)?;
            }
        }
        for client in &world.clients {
            prop_assert_eq!(client.count, world.truth.members.len() as u64);
            match &client.members {
                Some(members) => prop_assert_eq!(members, &world.truth.members),
                None => prop_assert!(client.count > LISTED_MAX),
            }
        }
    }
}

fn known(members: u8) -> (Truth, Roster) {
    let (mut truth, mut roster) = (Truth::default(), Roster::new());
    for number in 0..members {
        truth.change(What::Here(member(number, 0)));
    }
    let page = Page { members: Some(truth.members.values().cloned().collect()), ..truth.page() };
    assert!(!roster.read(page, 1_000));
    (truth, roster)
}

fn diffs(roster: &mut Roster) -> Vec<PresenceDiff> {
    match roster.tell() {
        Telling::Diffs(diffs) => diffs,
        Telling::Nothing => Vec::new(),
        Telling::Anew => panic!("only changes are told"),
    }
}

#[test]
fn whoever_came_and_went_in_one_batch_is_told_to_nobody_but_those_who_saw() {
    let (mut truth, mut roster) = known(1);
    let come_and_go = |truth: &mut Truth, roster: &mut Roster, peek: bool| {
        roster.hear(&truth.change(What::Here(member(5, 0))), 1_000);
        if peek {
            roster.first_page(10, usize::MAX);
        }
        roster.hear(&truth.change(What::Gone(id(5))), 1_000);
    };
    come_and_go(&mut truth, &mut roster, false);
    assert!(diffs(&mut roster).is_empty());
    come_and_go(&mut truth, &mut roster, true);
    let told = diffs(&mut roster);
    assert_eq!((told[0].from, told[0].version, told[0].left.as_slice()), (1, 5, &[id(5)][..]));
}

#[test]
fn several_changes_of_one_member_are_told_once() {
    let (mut truth, mut roster) = known(1);
    for data in 1..=9 {
        roster.hear(&truth.change(What::Here(member(0, data))), 1_000);
    }
    let told = diffs(&mut roster);
    let said: Vec<_> = told[0].updated.iter().filter_map(|member| member.data.as_deref()).map(RawValue::get).collect();
    assert_eq!((told.len(), said, told[0].version), (1, vec!["9"], 10));
}

#[test]
fn a_large_batch_is_told_in_parts_that_follow_each_other() {
    let (mut truth, mut roster) = known(0);
    for number in 0..1_200_u32 {
        let id = MemberId::Connection(ConnectionId::new(u64::from(number), 0));
        let one = Member { id, user: None, info: None, data: None, since_ms: 0 };
        roster.hear(&truth.change(What::Here(Arc::new(one))), 10_000);
    }
    let told = diffs(&mut roster);
    let places: Vec<_> = told.iter().map(|diff| (diff.from, diff.version, diff.entered.len())).collect();
    assert_eq!(places, [(0, 500, 500), (500, 1_000, 500), (1_000, 1_200, 200)]);
}
