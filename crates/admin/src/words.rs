//! Figures and states in words that people read.

use crate::types::{Disk, Pool, Space};

/// Bytes, in the largest unit that leaves a whole number.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit < UNITS.len() - 1 {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{amount:.digits$} {}", UNITS[unit])
}

/// "500G", "2 TiB": with or without the B, in powers of 1024; a number alone is bytes.
///
/// Errors: what is wrong, in words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    let wrong = || format!("{text:?} is no size; it is written as 500G or 2T");
    let text = text.trim().to_ascii_uppercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim_start();
    let power = match unit.chars().next() {
        None | Some('B') if unit.len() <= 1 => 0,
        Some(letter) if ["", "B", "IB"].contains(&unit.get(1..).unwrap_or("?")) => {
            let at = UNITS.iter().position(|known| *known == letter);
            at.ok_or_else(wrong)? + 1
        }
        _ => return Err(wrong()),
    };
    let power = u32::try_from(power).unwrap_or(u32::MAX);
    let bytes = 1024_u64
        .checked_pow(power)
        .and_then(|unit| unit.checked_mul(number));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

pub fn period(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// What compression saves; nothing where it saves nothing.
pub fn saving(space: &Space) -> String {
    if space.uncompressed <= space.stored {
        return String::new();
    }
    let percent = space.stored as f64 * 100.0 / space.uncompressed as f64;
    format!(
        "        compressed to {percent:.0}%: {} of files in {}\n",
        size(space.uncompressed),
        size(space.stored)
    )
}

/// One of them, or many.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The disks that are a part of the pool, in service or not.
fn present(pool: &Pool) -> impl Iterator<Item = &Disk> {
    pool.disks.iter().filter(|disk| disk.state != "retired")
}

/// How file data lies on the disks.
pub fn layout(pool: &Pool) -> String {
    let disks = count(present(pool).count(), "disk", "disks");
    let (data, parity) = (pool.data, usize::from(pool.parity));
    let how = match (data, parity) {
        (1, 0) => "everything is kept once".to_owned(),
        (1, 1) => "everything is kept twice, on two disks".to_owned(),
        (1, copies) => format!("everything is kept {} times, on as many disks", copies + 1),
        (parts, 0) => {
            format!("files are spread in parts over {parts} disks, and no part is kept twice")
        }
        (parts, more) => format!(
            "files are cut into rows of {parts} parts and {} more, each on a disk of its own; any {parts} of them \
             give the file back",
            count(more, "part", "parts"),
        ),
    };
    format!("{} on {disks}: {how}", pool.layout)
}

/// How many disks may fail now.
pub fn survival(pool: &Pool) -> String {
    let away = present(pool).filter(|disk| disk.state != "member").count();
    let lost = if away == 0 {
        String::new()
    } else {
        format!(", beside {} lost now", count(away, "disk", "disks"))
    };
    match pool.survives {
        0 if pool.shared.is_empty() => format!("NO DISK FAILURE IS SURVIVED{lost}"),
        0 => format!(
            "NO DISK FAILURE IS SURVIVED{lost}: on one block device lie {}",
            groups(&pool.shared)
        ),
        survived => {
            let shared = if pool.shared.is_empty() {
                String::new()
            } else {
                format!(
                    " (as one disk count, being on one block device: {})",
                    groups(&pool.shared)
                )
            };
            let more = count(survived, "disk", "disks");
            format!("any {more} may fail and nothing is lost{lost}{shared}")
        }
    }
}

fn groups(shared: &[Vec<String>]) -> String {
    let groups: Vec<String> = shared.iter().map(|names| names.join(", ")).collect();
    groups.join("; ")
}

/// How much of the disks holds files, and why it is not all.
pub fn usable(pool: &Pool) -> Vec<String> {
    let raw: u64 = pool.disks.iter().map(|disk| disk.total).sum();
    let total = size(pool.usable_total);
    let width = usize::from(pool.data) + usize::from(pool.parity);
    let share = if pool.parity == 0 {
        "all of it".to_owned()
    } else {
        format!("{} of {width} parts are data", pool.data)
    };
    let mut lines = vec![format!(
        "{total} of the disks' {} hold files ({share})",
        size(raw)
    )];
    let narrow = pool
        .disks
        .iter()
        .filter(|disk| disk.state == "member" && disk.usable < disk.total);
    lines.extend(narrow.map(|disk| {
        format!(
            "{}: only {} of {} can be used, as the other disks are smaller",
            disk.name,
            size(disk.usable),
            size(disk.total)
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [
            ("1", 1),
            ("7B", 7),
            ("3k", 3 << 10),
            ("500G", 500 << 30),
            ("2 TiB", 2 * TIB),
            ("1mb", 1 << 20),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "G",
            "0",
            "5X",
            "5GG",
            "-1",
            "1.5T",
            "99999999P",
            "5BB",
            "é",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    fn pool(layout: (u8, u8), totals: &[u64], usable: &[u64], survives: usize) -> Pool {
        let disk = |(number, (total, usable)): (usize, (&u64, &u64))| Disk {
            name: format!("/mnt/{number}"),
            state: "member".into(),
            total: *total,
            usable: *usable,
            ..Disk::default()
        };
        let disks = totals.iter().zip(usable).enumerate().map(disk).collect();
        let used: u64 = usable.iter().sum();
        Pool {
            layout: format!("{}+{}", layout.0, layout.1),
            data: layout.0,
            parity: layout.1,
            survives,
            usable_total: used * u64::from(layout.0) / u64::from(layout.0 + layout.1),
            disks,
            ..Pool::default()
        }
    }

    #[test]
    fn sizes_and_periods_are_for_people() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 40), "3.0 TiB");
        assert_eq!(period(59), "59 s");
        assert_eq!(period(3700), "1 h 1 min");
        assert_eq!(period(90_000), "1 d 1 h");
    }

    #[test]
    fn a_layout_is_told_in_plain_words() {
        let single = pool((1, 0), &[TIB], &[TIB], 0);
        assert_eq!(layout(&single), "1+0 on 1 disk: everything is kept once");
        assert_eq!(survival(&single), "NO DISK FAILURE IS SURVIVED");
        let wide = pool((4, 2), &[TIB; 6], &[TIB; 6], 2);
        let told = layout(&wide);
        assert!(
            told.contains("4 parts and 2 parts more") || told.contains("any 4 of them"),
            "{told}"
        );
        assert_eq!(survival(&wide), "any 2 disks may fail and nothing is lost");
        assert_eq!(
            usable(&wide),
            ["4.0 TiB of the disks' 6.0 TiB hold files (4 of 6 parts are data)"]
        );
    }

    #[test]
    fn a_disk_that_is_larger_than_the_others_is_told() {
        let uneven = pool((1, 1), &[4 * TIB, TIB], &[TIB, TIB], 1);
        let told = usable(&uneven);
        assert_eq!(
            told[1],
            "/mnt/0: only 1.0 TiB of 4.0 TiB can be used, as the other disks are smaller"
        );
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn disks_on_one_device_are_told_apart_from_redundancy() {
        let mut shared = pool((1, 1), &[TIB; 2], &[TIB; 2], 0);
        shared.shared = vec![vec!["/mnt/0".into(), "/mnt/1".into()]];
        assert_eq!(
            survival(&shared),
            "NO DISK FAILURE IS SURVIVED: on one block device lie /mnt/0, /mnt/1"
        );
        shared.disks[1].state = "missing".into();
        assert!(survival(&shared).contains("beside 1 disk lost now"));
        shared.disks[1].state = "retired".into();
        assert!(!survival(&shared).contains("beside"));
        assert!(layout(&shared).starts_with("1+1 on 1 disk:"));
    }
}
