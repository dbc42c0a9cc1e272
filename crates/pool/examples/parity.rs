//! Prints how fast parity is made and lost shards are rebuilt, in bytes of data a second on one core.
//!
//! `cargo run --release -p strongroom-pool --example parity`

use std::time::Instant;

use strongroom_pool::Layout;
use strongroom_pool::reed_solomon::Code;

const STRIPE: usize = 256 * 1024;
const ROUNDS: usize = 4000;

fn main() {
    println!(
        "{}, stripes of {STRIPE} bytes, GB/s of data",
        Code::kernel()
    );
    println!(
        "{:>6} {:>8} {:>10} {:>10}",
        "layout", "encode", "rebuild 1", "rebuild 2"
    );
    for (data, parity) in [(1, 1), (2, 1), (4, 1), (4, 2), (8, 2), (8, 3), (16, 4)] {
        let layout = Layout { data, parity };
        let encode = encode(layout);
        let one = rebuild(layout, &[0]);
        let two = if parity > 1 {
            rebuild(layout, &[0, 1])
        } else {
            f64::NAN
        };
        println!(
            "{:>6} {encode:>8.1} {one:>10.1} {two:>10.1}",
            layout.to_string()
        );
    }
}

fn shards(layout: Layout) -> Vec<Vec<u8>> {
    let len = STRIPE / usize::from(layout.data);
    let byte = |index: usize| u8::try_from(index * 31 % 251).unwrap_or(0);
    (0..layout.width())
        .map(|shard| (0..len).map(|index| byte(index + shard)).collect())
        .collect()
}

/// The median of several runs.
fn measure(mut work: impl FnMut()) -> f64 {
    let mut speeds: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            (0..ROUNDS / 7).for_each(|_| work());
            (ROUNDS / 7 * STRIPE) as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    speeds.sort_by(f64::total_cmp);
    speeds[speeds.len() / 2]
}

fn encode(layout: Layout) -> f64 {
    let code = Code::new(layout);
    let mut all = shards(layout);
    let (data, parity) = all.split_at_mut(usize::from(layout.data));
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    measure(|| code.encode(&data, &mut parity))
}

fn rebuild(layout: Layout, lost: &[u8]) -> f64 {
    let code = Code::new(layout);
    let all = shards(layout);
    let width = u8::try_from(layout.width()).unwrap_or(u8::MAX);
    let mut present: Vec<u8> = (0..width).filter(|shard| !lost.contains(shard)).collect();
    present.truncate(usize::from(layout.data));
    let sources: Vec<&[u8]> = present
        .iter()
        .map(|shard| all[usize::from(*shard)].as_slice())
        .collect();
    let mut targets = vec![vec![0; all[0].len()]; lost.len()];
    let mut targets: Vec<&mut [u8]> = targets.iter_mut().map(Vec::as_mut_slice).collect();
    measure(|| code.plan(&present, lost).apply(&sources, &mut targets))
}
