use strongroom_device::sim::Rng;
use strongroom_pool::{Address, SegmentId};

use super::{Entry, Layer, Load, Piece};
use crate::SessionId;

const SIZE: usize = 400;
const SESSION: SessionId = SessionId(1);

fn entry(start: u64, bytes: Vec<u8>) -> (u64, Entry) {
    let end = start + bytes.len() as u64;
    (
        start,
        Entry {
            end,
            session: SESSION,
            piece: Piece::Buffer {
                data: bytes,
                logged: 0,
            },
        },
    )
}

/// What a layer says of every byte: written, a hole, or nothing.
fn image(layer: &Layer) -> Vec<Option<u8>> {
    let mut image = vec![None; SIZE];
    let mut reach = 0;
    for (start, entry) in layer.iter() {
        assert!(
            start >= reach && entry.end > start,
            "ranges are disjoint and in order"
        );
        reach = entry.end;
        for at in start..entry.end.min(SIZE as u64) {
            let index = usize::try_from(at - start).unwrap();
            let byte = match &entry.piece {
                Piece::Buffer { data, .. } => data[index],
                Piece::Frozen(data) => data[index],
                Piece::Hole => 0,
                Piece::Extent { start, .. } => u8::try_from(*start as usize + index).unwrap(),
            };
            image[usize::try_from(at).unwrap()] = Some(byte);
        }
    }
    image
}

#[test]
fn any_sequence_of_changes_gives_what_a_plain_array_gives() {
    let mut rng = Rng::new(3);
    for _ in 0..200 {
        let (mut layer, mut model) = (Layer::default(), vec![None; SIZE]);
        for _ in 0..30 {
            change(&mut layer, &mut model, &mut rng);
            assert_eq!(image(&layer), model);
            let buffered: usize = layer.iter().map(|(_, entry)| entry.piece.buffered()).sum();
            assert_eq!(layer.buffered(), buffered);
            let mut load = Load::default();
            layer.iter().for_each(|(_, entry)| load += entry.load());
            assert_eq!(layer.load(), load);
        }
    }
}

fn change(layer: &mut Layer, model: &mut [Option<u8>], rng: &mut Rng) {
    let start = rng.below(SIZE - 1);
    let len = 1 + rng.below((SIZE - start).min(100));
    let (from, to) = (start as u64, (start + len) as u64);
    let byte = u8::try_from(rng.below(256)).unwrap();
    let mut dropped = Vec::new();
    match rng.below(6) {
        0 => {
            let piece = Piece::Hole;
            layer.insert(
                from,
                Entry {
                    end: to,
                    session: SESSION,
                    piece,
                },
                &mut dropped,
            );
            model[start..start + len].fill(Some(0));
        }
        1 => {
            layer.carve(from, to, &mut dropped);
            model[start..start + len].fill(None);
        }
        2 => {
            let address = Address {
                segment: SegmentId(1),
                stripe: 0,
                offset: 0,
            };
            let piece = Piece::Extent {
                address,
                start: 0,
                whole: 100,
                packing: None,
            };
            layer.insert(
                from,
                Entry {
                    end: to,
                    session: SESSION,
                    piece,
                },
                &mut dropped,
            );
            for (index, at) in model[start..start + len].iter_mut().enumerate() {
                *at = Some(u8::try_from(index).unwrap());
            }
        }
        3 => layer.freeze(),
        _ => {
            if !layer.overwrite(from, &vec![byte; len], SESSION) {
                let (at, entry) = entry(from, vec![byte; len]);
                layer.insert(at, entry, &mut dropped);
            }
            model[start..start + len].fill(Some(byte));
        }
    }
}

#[test]
fn a_newer_layer_covers_an_older_one() {
    let (mut older, mut newer) = (Layer::default(), Layer::default());
    let mut dropped = Vec::new();
    for (layer, start, byte) in [(&mut older, 10, 1), (&mut newer, 50, 2)] {
        let (at, entry) = entry(start, vec![byte; 60]);
        layer.insert(at, entry, &mut dropped);
    }
    older.cover(newer, &mut dropped);
    let image = image(&older);
    assert_eq!(
        (image[49], image[50], image[109], image[110]),
        (Some(1), Some(2), Some(2), None)
    );
    assert_eq!(older.buffered(), 100);
}

#[test]
fn what_was_logged_is_not_logged_again_unless_it_changes() {
    let mut layer = Layer::default();
    let (at, first) = entry(0, vec![1; 100]);
    layer.insert(at, first, &mut Vec::new());
    let object = crate::ObjectId::data(crate::Inode(9));
    let logged = |layer: &mut Layer| {
        let mut record = Vec::new();
        layer.log_all(&mut record, object);
        record.len()
    };
    assert!(logged(&mut layer) > 100);
    assert_eq!(logged(&mut layer), 0);
    layer.extend(0, &[2; 10]);
    let grown = logged(&mut layer);
    assert!(grown > 10 && grown < 40);
    assert!(layer.overwrite(90, &[3; 5], SESSION));
    let changed = logged(&mut layer);
    assert!(changed > 20 && changed < 50, "{changed}");
}
