//! What a seed means: the machine, the clients, and the faults that they meet.

use std::time::Duration;

use strongroom_device::sim::{Fault, Moment, Operation, Rng};
use strongroom_pool::Layout;
use strongroom_store::Compression;

/// A planted bug that the simulator must find, or it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canary {
    /// Commits are acknowledged without a sync of the log.
    SkipLogSync,
    /// Extents are named whose segments were not synced.
    SkipSegmentSync,
    /// Damage at or below the log's watermark is taken for a torn tail.
    CutBelowWatermark,
    /// The last transaction group is applied in half after a crash.
    HalfGroup,
    /// A stripe is given back while some of its extents are in use.
    FreeEarly,
    /// Stripes are written without their parity.
    ForgetParity,
    /// Data is taken for good whatever its checksum says.
    TrustChecksums,
}

impl Canary {
    pub const ALL: [Self; 7] = [
        Self::SkipLogSync,
        Self::SkipSegmentSync,
        Self::CutBelowWatermark,
        Self::HalfGroup,
        Self::FreeEarly,
        Self::ForgetParity,
        Self::TrustChecksums,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::SkipLogSync => "skip-log-sync",
            Self::SkipSegmentSync => "skip-segment-sync",
            Self::CutBelowWatermark => "cut-below-watermark",
            Self::HalfGroup => "half-group",
            Self::FreeEarly => "free-early",
            Self::ForgetParity => "forget-parity",
            Self::TrustChecksums => "trust-checksums",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|canary| canary.name() == name)
    }
}

/// What may be demanded back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Budget {
    /// Everything that was acknowledged.
    Whole,
    /// File data may be reported as damaged, as it has one copy only and that was damaged; all else as above.
    Data,
    /// More than was promised to be survived: what is shown must have existed, and damage must be reported.
    Beyond,
}

/// How a life of the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Close,
    /// The program dies, the machine lives on.
    Kill,
    Cut,
    /// The power fails so many syncs after the clients began.
    CutAtSync(u64, Moment),
    /// As above, in operations of the disks.
    CutAtOperation(u64),
}

/// One fault of one disk.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Met by `times` operations after `skip` others.
    Inject {
        operation: Operation,
        path: &'static str,
        skip: u64,
        times: u64,
        fault: Fault,
    },
    /// The disk is not there when the machine starts.
    Absent,
    /// Bytes flip while the machine is off, in files whose path has this part.
    Rot {
        path: &'static str,
        flips: usize,
    },
    /// Only so many bytes more can be written.
    Full {
        left: u64,
    },
    Lying,
}

#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) end: End,
    pub(crate) troubles: Vec<Trouble>,
    /// The power fails again so many operations into the recovery.
    pub(crate) cut_recovery: Option<u64>,
    /// What is demanded when this life is over.
    pub(crate) budget: Budget,
    /// Clients leave their files open at the end.
    pub(crate) leaves_open: bool,
}

/// All that follows from a seed before the first step.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) layout: Layout,
    pub(crate) disks: usize,
    /// The disk that all troubles are about.
    pub(crate) victim: usize,
    pub(crate) clients: usize,
    pub(crate) steps: usize,
    pub(crate) quotas: bool,
    pub(crate) history: bool,
    pub(crate) compression: Compression,
    pub(crate) encrypted: bool,
    pub(crate) inline_max: usize,
    /// Little memory, so that clients are made to wait.
    pub(crate) tight: bool,
    pub(crate) lives: Vec<Life>,
}

const TWO_AND_ONE: Layout = Layout { data: 2, parity: 1 };
const FOUR_AND_TWO: Layout = Layout { data: 4, parity: 2 };

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x7369_6d75_6c61_746f);
        let (layout, disks) = match rng.below(20) {
            0..=6 => (Layout::SINGLE, 1),
            7..=11 => (Layout::MIRROR, 2),
            12 | 13 => (Layout::MIRROR, 3),
            14..=16 => (TWO_AND_ONE, 3),
            17 => (TWO_AND_ONE, 4),
            _ => (FOUR_AND_TWO, 6),
        };
        let mut plan = Self {
            layout,
            disks,
            victim: rng.below(disks),
            clients: 1 + rng.below(4),
            steps: [15, 40, 80][rng.below(3)],
            quotas: rng.chance(40),
            history: rng.chance(70),
            encrypted: seed % 4 == 1,
            compression: [Compression::Off, Compression::Lz4, Compression::Zstd]
                [usize::try_from(seed % 3).unwrap_or(0)],
            inline_max: [0, 2048, 2048][rng.below(3)],
            tight: rng.chance(30),
            lives: Vec::new(),
        };
        for _ in 0..2 + rng.below(2) {
            let life = plan.life(&mut rng);
            let last = life.budget == Budget::Beyond;
            plan.lives.push(life);
            if last {
                break;
            }
        }
        plan
    }

    fn life(&self, rng: &mut Rng) -> Life {
        let end = match rng.below(10) {
            0 | 1 => End::Close,
            2 => End::Kill,
            3 => End::Cut,
            4..=6 => {
                let moment = [Moment::Before, Moment::During, Moment::After][rng.below(3)];
                End::CutAtSync(rng.below(400) as u64, moment)
            }
            _ => End::CutAtOperation(rng.below(1500) as u64),
        };
        let mut life = Life {
            end,
            troubles: Vec::new(),
            cut_recovery: rng.chance(25).then(|| rng.below(300) as u64),
            budget: Budget::Whole,
            leaves_open: rng.chance(50),
        };
        for _ in 0..[0, 0, 1, 1, 2][rng.below(5)] {
            let (trouble, budget) = self.trouble(rng);
            life.troubles.push(trouble);
            life.budget = life.budget.max(budget);
        }
        life
    }

    fn trouble(&self, rng: &mut Rng) -> (Trouble, Budget) {
        if self.layout.parity == 0 {
            single_trouble(rng)
        } else {
            (mirror_trouble(rng), Budget::Whole)
        }
    }
}

fn inject(rng: &mut Rng, operation: Operation, path: &'static str, fault: Fault) -> Trouble {
    let skip = match operation {
        Operation::Sync => rng.below(60),
        Operation::Any | Operation::Write | Operation::Read => rng.below(400),
        Operation::Create
        | Operation::Open
        | Operation::Delete
        | Operation::Rename
        | Operation::List => rng.below(10),
    };
    Trouble::Inject {
        operation,
        path,
        skip: skip as u64,
        times: 1 + rng.below(3) as u64,
        fault,
    }
}

fn some_operation(rng: &mut Rng) -> Operation {
    use Operation::{Any, Create, Delete, List, Open, Read, Sync, Write};
    [
        Any, Create, Open, Delete, List, Read, Write, Write, Sync, Sync,
    ][rng.below(10)]
}

fn slow(rng: &mut Rng) -> Fault {
    Fault::Slow(Duration::from_millis([5, 400, 3000][rng.below(3)]))
}

/// Parts of paths of the second copy of what even one disk holds twice.
const SECOND: [&str; 4] = ["log/1", "index/1", "label.1", "epochs.1"];

/// The only disk: what it holds once may be lost with it, what it holds twice not.
fn single_trouble(rng: &mut Rng) -> (Trouble, Budget) {
    let operation = some_operation(rng);
    let second = SECOND[rng.below(4)];
    let second_written = SECOND[rng.below(2)];
    let flips = 1 + rng.below(6);
    match rng.below(12) {
        0 | 1 => {
            let fault = slow(rng);
            (inject(rng, operation, "", fault), Budget::Whole)
        }
        2 => (inject(rng, Operation::Write, "", Fault::Io), Budget::Whole),
        3 => (inject(rng, Operation::Sync, "", Fault::Io), Budget::Whole),
        4 => {
            let hang = Fault::Hang(Duration::from_secs(30));
            (inject(rng, Operation::Sync, "", hang), Budget::Whole)
        }
        5 | 6 => {
            let left = rng.below(16 << 20) as u64;
            (Trouble::Full { left }, Budget::Whole)
        }
        7 => (
            Trouble::Rot {
                path: second,
                flips,
            },
            Budget::Whole,
        ),
        8 => (
            inject(rng, Operation::Write, second_written, Fault::Lost),
            Budget::Whole,
        ),
        9 => {
            let path = "segments";
            (Trouble::Rot { path, flips }, Budget::Data)
        }
        10 => (
            inject(rng, Operation::Write, "segments", Fault::Lost),
            Budget::Data,
        ),
        _ => (Trouble::Lying, Budget::Beyond),
    }
}

/// One disk of several may do what it likes.
fn mirror_trouble(rng: &mut Rng) -> Trouble {
    let operation = some_operation(rng);
    match rng.below(14) {
        0 => {
            let fault = slow(rng);
            inject(rng, operation, "", fault)
        }
        1..=3 => inject(rng, operation, "", Fault::Io),
        4 => inject(rng, operation, "", Fault::Hang(Duration::from_secs(30))),
        5 | 6 => inject(rng, Operation::Write, "", Fault::Lost),
        7 => inject(rng, Operation::Write, "", Fault::Misdirected),
        8 => inject(rng, Operation::Read, "", Fault::Flip),
        9 => Trouble::Absent,
        10 | 11 => Trouble::Rot {
            path: "",
            flips: 1 + rng.below(30),
        },
        12 => Trouble::Full {
            left: rng.below(16 << 20) as u64,
        },
        _ => Trouble::Lying,
    }
}
