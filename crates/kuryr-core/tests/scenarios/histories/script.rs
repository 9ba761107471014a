//! What a history is made of, and how one is made up.

use std::fmt;
use std::time::Duration;

use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble as Plugging;
use proptest::prelude::*;
use proptest::sample::select;

/// Two networks and some containers, and what happens to them.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// Ports are made before they are needed.
    pub(super) warm: bool,
    pub(super) networks: Vec<Kind>,
    pub(super) containers: Vec<Wish>,
    pub(super) steps: Vec<Step>,
}

/// What a network is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Subnet,
    BothFamilies,
    /// `--ip-range` and `--aux-address`.
    Part,
    Default,
    DefaultOfBothFamilies,
    /// A network that was there before.
    Theirs,
    TheirsOfBothFamilies,
}

/// What a container is to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) network: usize,
    pub(super) ip: Ip,
    pub(super) mac: bool,
    pub(super) exposes: bool,
}

/// `--ip`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ip {
    Any,
    /// One that others may want, too.
    This(u8),
    /// Of a port that was there before and waits for somebody.
    OfTheirPort,
    /// Of a virtual machine.
    OfTheirMachine,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) act: Act,
    /// How often each call is made.
    pub(super) times: usize,
    pub(super) trouble: Trouble,
    pub(super) pause: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Network(usize, Go),
    Container(usize, Go),
    /// Side by side.
    Two((usize, Go), (usize, Go)),
    /// Kuryr is killed between two calls.
    Restart,
    /// Two minutes in which nothing goes wrong.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Go {
    /// One call further.
    On,
    /// One call back.
    Back,
    Start,
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trouble {
    None,
    /// The exchange with Neutron of this number meets this.
    Exchange(usize, Fate),
    /// Plugging is refused.
    Refusal,
    /// dockerd is killed in the middle of a call, or before it, and forgets what it was about.
    HangUp {
        /// So many calls go well before.
        after: usize,
        sent: bool,
    },
    /// Kuryr is killed, and maybe dockerd with it.
    Kill {
        at: Point,
        forgets: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Point {
    Exchange(usize, Fate),
    Plugging(Plugging),
}

pub(super) const CONTAINERS: usize = 4;

pub(super) fn histories() -> impl Strategy<Value = History> {
    let kinds = select(vec![
        Kind::Subnet,
        Kind::BothFamilies,
        Kind::Part,
        Kind::Default,
        Kind::DefaultOfBothFamilies,
        Kind::Theirs,
        Kind::TheirsOfBothFamilies,
    ]);
    let ips = prop_oneof![
        4 => Just(Ip::Any),
        3 => (0_u8..2).prop_map(Ip::This),
        3 => Just(Ip::OfTheirPort),
        1 => Just(Ip::OfTheirMachine),
    ];
    let wishes = (
        0_usize..2,
        ips,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
    );
    let wishes = wishes.prop_map(|(network, ip, mac, exposes)| Wish {
        network,
        ip,
        mac,
        exposes,
    });
    (
        prop::bool::weighted(0.4),
        prop::collection::vec(kinds, 2),
        prop::collection::vec(wishes, CONTAINERS),
        prop::collection::vec(steps(), 1..24),
    )
        .prop_map(|(warm, networks, containers, steps)| History {
            warm,
            networks,
            containers,
            steps,
        })
}

fn steps() -> impl Strategy<Value = Step> {
    let go = || prop_oneof![2 => Just(Go::Start), 2 => Just(Go::On), 2 => Just(Go::Stop), 1 => Just(Go::Back)];
    let two = ((0..CONTAINERS), go(), (1..CONTAINERS), go());
    let act = prop_oneof![
        4 => (0_usize..2, go()).prop_map(|(network, go)| Act::Network(network, go)),
        10 => (0..CONTAINERS, go()).prop_map(|(container, go)| Act::Container(container, go)),
        3 => two.prop_map(|(one, go, further, other)| {
            Act::Two((one, go), ((one + further) % CONTAINERS, other))
        }),
        1 => Just(Act::Restart),
        2 => Just(Act::Rest),
    ];
    let times = prop_oneof![6 => Just(1_usize), 1 => Just(2), 1 => Just(3)];
    let pause = prop_oneof![4 => Just(0_u64), 2 => Just(80), 2 => Just(2_000), 1 => Just(12_000)];
    (act, times, trouble(), pause.prop_map(Duration::from_millis)).prop_map(
        |(act, times, trouble, pause)| Step {
            act,
            times,
            trouble,
            pause,
        },
    )
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let fates = select(vec![
        Fate::LoseRequest,
        Fate::LoseReply,
        Fate::Answer(500),
        Fate::Answer(503),
        Fate::Answer(409),
        Fate::Answer(403),
        Fate::Take(Duration::from_secs(3)),
        Fate::CarryOutLater(Duration::from_secs(4)),
    ]);
    let exchange = (0_usize..8, fates).prop_map(|(k, fate)| Trouble::Exchange(k, fate));
    let stuck = select(vec![Fate::Take(FOR_EVER), Fate::KeepReply]);
    let at = prop_oneof![
        5 => (0_usize..8, stuck).prop_map(|(k, fate)| Point::Exchange(k, fate)),
        1 => select(vec![Plugging::StuckBefore, Plugging::StuckAfter]).prop_map(Point::Plugging),
    ];
    let kill = (at, any::<bool>()).prop_map(|(at, forgets)| Trouble::Kill { at, forgets });
    prop_oneof![
        10 => Just(Trouble::None),
        4 => exchange,
        1 => Just(Trouble::Refusal),
        2 => (0_usize..5, any::<bool>()).prop_map(|(after, sent)| Trouble::HangUp { after, sent }),
        4 => kill,
    ]
}

const FOR_EVER: Duration = Duration::from_secs(86_400);

impl Trouble {
    /// Whether nobody may notice it.
    pub(super) fn is_passing(self) -> bool {
        match self {
            Self::None => true,
            Self::Exchange(_, fate) => matches!(
                fate,
                Fate::LoseRequest | Fate::LoseReply | Fate::Answer(500 | 503) | Fate::Take(_)
            ),
            Self::Refusal | Self::HangUp { .. } | Self::Kill { .. } => false,
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warm = if self.warm { "warm" } else { "no warm" };
        writeln!(f, "with {warm} ports; networks {:?}", self.networks)?;
        for (i, wish) in self.containers.iter().enumerate() {
            writeln!(f, "container {i}: {wish:?}")?;
        }
        for (i, step) in self.steps.iter().enumerate() {
            writeln!(f, "{i:2}. {step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.act {
            Act::Network(i, go) => write!(f, "network {i} {go:?}")?,
            Act::Container(i, go) => write!(f, "container {i} {go:?}")?,
            Act::Two((one, go), (other, also)) => {
                write!(f, "container {one} {go:?} and container {other} {also:?}")?;
            }
            Act::Restart => write!(f, "Kuryr is killed between two calls")?,
            Act::Rest => write!(f, "two minutes pass")?,
        }
        if self.times > 1 {
            write!(f, ", each call {} times", self.times)?;
        }
        match self.trouble {
            Trouble::None => {}
            Trouble::Exchange(k, fate) => write!(f, ", exchange {k} meets {fate:?}")?,
            Trouble::Refusal => write!(f, ", plugging is refused")?,
            Trouble::HangUp { after, sent } => {
                let place = if sent { "in" } else { "before" };
                write!(f, ", dockerd is killed {place} its call {after}")?;
            }
            Trouble::Kill { at, forgets } => {
                let with = if forgets { " with dockerd" } else { "" };
                write!(f, ", Kuryr is killed{with} at {at:?}")?;
            }
        }
        if !self.pause.is_zero() {
            write!(f, ", then {:?}", self.pause)?;
        }
        Ok(())
    }
}
