//! One shard carries out a request while another one does so between two of its steps, whichever these are: what both
//! are answered, and what is there in the end, is as if one had come after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mm_base::gap;
use mm_memcached::{Memcached, NoHost, Settings, Shared};
use mm_server::Start;
use mm_server::harness::{ClientId, Harness};
use mm_store::{Config, StoreHandles};

/// What `~` stands for in a request: two of them are more than what is awaited before it is stored, and four more than
/// a record holds.
const PART_BYTES: usize = 1_500;

/// A client of one of the shards.
struct Speaker {
    harness: Harness<Memcached<mm_store::Shared>>,
    id: ClientId,
}

impl Speaker {
    /// Sends bytes; `|` in them ends what arrives at once. Returns the answer.
    fn ask(&mut self, input: &[u8]) -> Vec<u8> {
        let pieces = input.split(|&byte| byte == b'|');
        pieces.flat_map(|piece| self.harness.exchange(self.id, piece)).collect()
    }
}

/// Two shards of one server, and the clients of both.
struct Pair {
    own: Speaker,
    other: Rc<RefCell<Speaker>>,
    /// Runs so far: each has a key of its own.
    runs: usize,
}

/// What one asks for and what another does, and what is there before.
#[derive(Clone, Copy)]
struct Requests<'a> {
    before: &'a str,
    own: &'a str,
    other: &'a str,
}

/// When the other request comes.
#[derive(Clone, Copy)]
enum When {
    Before,
    After,
    /// In this gap.
    In(usize),
}

/// What both were answered, and what is there then.
type Seen = [String; 3];

impl Pair {
    fn new() -> Self {
        let handles = StoreHandles::open(&Config::new(16 << 20, 1), 2).unwrap();
        let shared = Shared::new(Settings::default(), 2, Box::new(NoHost));
        let [own, other] = [0, 1].map(|shard| {
            let store = handles.take().unwrap();
            let mut harness = Harness::new(|start| {
                Memcached::new(&Start { shard, shards: 2, ..start.clone() }, &shared, store)
            });
            let id = harness.connect();
            Speaker { harness, id }
        });
        Self { own, other: Rc::new(RefCell::new(other)), runs: 0 }
    }

    /// Carries both requests out. Nothing where there is no such gap.
    fn run(&mut self, requests: Requests<'_>, when: When) -> Option<Seen> {
        self.runs += 1;
        let name = format!("k{:07}", self.runs);
        let part = "v".repeat(PART_BYTES);
        let bytes =
            |text: &str| text.replace('$', &name).replace('~', &part).replace('\n', "\r\n").into_bytes();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&name, "$").replace(&part, "~");
        self.own.ask(&bytes(requests.before));
        let answer = Rc::new(RefCell::new(None));
        let act = {
            let (other, answer, asked) = (Rc::clone(&self.other), Rc::clone(&answer), bytes(requests.other));
            move || *answer.borrow_mut() = Some(other.borrow_mut().ask(&asked))
        };
        if matches!(when, When::Before) {
            act();
        }
        if let When::In(number) = when {
            let (act, passed) = (act.clone(), Cell::new(0));
            gap::set(Some(Box::new(move || {
                if passed.replace(passed.get() + 1) == number {
                    act();
                }
            })));
        }
        let own = self.own.ask(&bytes(requests.own));
        gap::set(None);
        if matches!(when, When::After) {
            act();
        }
        let other = answer.take()?;
        let left = self.own.ask(&bytes("mg $ s f t v\n"));
        Some([text(own), text(other), text(left)])
    }

    /// Has the other request come in each gap of the own one. Returns how many these are.
    fn check(&mut self, requests: Requests<'_>) -> usize {
        let orders = [When::Before, When::After].map(|when| self.run(requests, when));
        let mut gaps = 0;
        while let Some(seen) = self.run(requests, When::In(gaps)) {
            let Requests { before, own, other } = requests;
            assert!(
                orders.iter().flatten().any(|order| *order == seen),
                "{own:?} with {other:?} in gap {gaps}, after {before:?}: {seen:?}, and in order {orders:?}"
            );
            gaps += 1;
        }
        gaps
    }

    fn check_all(&mut self, own: &[&str]) {
        for own in own {
            let mut gaps = 0;
            for before in BEFORE {
                for other in OTHERS {
                    gaps += self.check(Requests { before, own, other });
                }
            }
            assert!(gaps >= BEFORE.len() * OTHERS.len(), "{own:?} has gaps");
        }
    }
}

/// What may be there before.
const BEFORE: [&str; 5] = [
    "",
    "set $ 1 0 1\n5\n",
    "set $ 0 1000 3\nabc\n",
    "set $ 0 1000 1\n8\nmd $ I T100\n",
    "set $ 0 0 1\n5\ntouch $ 30\n",
];

/// What another shard may be asked for.
const OTHERS: [&str; 10] = [
    "get $\n",
    "set $ 2 0 1\n7\n",
    "set $ 0 200 2\n12\n",
    "add $ 0 300 1\n3\n",
    "delete $\n",
    "touch $ 400\n",
    "touch $ 0\n",
    "append $ 0 0 1\n1\n",
    "incr $ 10\n",
    "md $ I T500\n",
];

#[test]
fn values_are_stored_in_one_go() {
    Pair::new().check_all(&[
        "set $ 0 50 1\n9\n",
        "add $ 0 50 1\n9\n",
        "replace $ 0 50 1\n9\n",
        "append $ 0 0 1\n9\n",
        "prepend $ 0 0 1\n9\n",
        "ms $ 1 s\n9\n",
        "ms $ 1 ME s\n9\n",
        "ms $ 1 MA N60 s\n9\n",
        "ms $ 1 MP N0 s\n9\n",
    ]);
}

#[test]
fn values_in_pieces_are_stored_in_one_go() {
    Pair::new().check_all(&[
        "set $ 0 50 3000\n~|~|\n",
        "add $ 0 50 3000\n~|~|\n",
        "append $ 0 0 3000\n~|~|\n",
        "append $ 0 0 6000\n~~|~~|\n",
        "ms $ 3000 s\n~|~|\n",
        "ms $ 3000 MA N60 s\n~|~|\n",
        "ms $ 6000 MA N60 s\n~~|~~|\n",
        "ms $ 3000 MP N60 s\n~|~|\n",
    ]);
}

#[test]
fn a_value_in_pieces_is_out_of_date_only_by_what_is_there_in_the_end() {
    let (mut pair, before) = (Pair::new(), "ms $ 1 E9\n5\n");
    for own in ["ms $ 3000 C5 I\n~|~|\n", "ms $ 6000 C5 I T60\n~~|~~|\n"] {
        for other in ["ms $ 1 E5\n7\n", "ms $ 1 E4\n7\n", "ms $ 1 E7\n7\n", "delete $\n", "touch $ 400\n"] {
            assert!(pair.check(Requests { before, own, other }) > 0, "{own:?} has gaps");
        }
    }
}

#[test]
fn numbers_are_counted_in_one_go() {
    Pair::new().check_all(&[
        "incr $ 4\n",
        "decr $ 4\n",
        "ma $ v t\n",
        "ma $ v t T60\n",
        "ma $ v t N70 J3\n",
        "ma $ v t T60 N70 J3 D2\n",
    ]);
}

#[test]
fn items_are_read_and_changed_in_one_go() {
    Pair::new().check_all(&[
        "get $\n",
        "gat 60 $\n",
        "touch $ 60\n",
        "delete $\n",
        "mg $ v t f\n",
        "mg $ v t T60\n",
        "mg $ v t u T60\n",
        "mg $ v t N60\n",
        "mg $ v t R500\n",
        "md $ I T60\n",
        "md $ x\n",
    ]);
}

/// A request of the binary protocol: increment by 1, or make the number 3 that never expires.
fn increment(key: &str) -> Vec<u8> {
    let key_len = u8::try_from(key.len()).unwrap();
    let numbers = [&1_u64.to_be_bytes()[..], &3_u64.to_be_bytes(), &0_u32.to_be_bytes()].concat();
    let head = [0x80, 0x05, 0, key_len, 20, 0, 0, 0, 0, 0, 0, 20 + key_len];
    [&head[..], &[0; 12], &numbers, key.as_bytes()].concat()
}

#[test]
fn a_number_that_may_be_created_is_never_missing() {
    let mut pair = Pair::new();
    let binary = pair.own.harness.connect();
    let mut asked = 0;
    for number in 0.. {
        let name = format!("n{number:07}");
        pair.own.ask(format!("set {name} 0 0 1\r\n5\r\n").as_bytes());
        let is_deleted = Rc::new(Cell::new(false));
        let (other, done, passed) = (Rc::clone(&pair.other), Rc::clone(&is_deleted), Cell::new(0));
        let deletion = format!("delete {name}\r\n");
        gap::set(Some(Box::new(move || {
            if passed.replace(passed.get() + 1) == number {
                done.set(true);
                assert_eq!(other.borrow_mut().ask(deletion.as_bytes()), b"DELETED\r\n");
            }
        })));
        let answer = pair.own.harness.exchange(binary, &increment(&name));
        gap::set(None);
        assert_eq!(answer.len(), 32, "gap {number}");
        let counted = u64::from_be_bytes(answer[24..].try_into().unwrap());
        assert!(counted == 3 || counted == 6, "gap {number}: {counted}");
        asked += usize::from(counted == 3);
        if !is_deleted.get() {
            break;
        }
    }
    assert!(asked > 0, "it was made");
}
