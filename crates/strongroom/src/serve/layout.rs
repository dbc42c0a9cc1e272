//! The layout of a new pool: given or chosen, and never one that promises more than its disks can keep.

use std::sync::Arc;

use strongroom_device::Device;
use strongroom_pool::{Layout, shared_devices, survived_failures};

use crate::cli::ServeOptions;
use crate::failure::{Failure, Kind, Result};

/// What a pool on these devices is made with.
///
/// # Errors
/// Too few disks for the layout that was given; disks that would fail together, unless that was allowed.
pub(crate) fn choose(options: &ServeOptions, devices: &[Arc<dyn Device>]) -> Result<Layout> {
    let layout = options
        .layout
        .unwrap_or_else(|| Layout::for_disks(devices.len()));
    if devices.len() < layout.width() {
        return Err(too_few(layout, devices.len()));
    }
    let shared = shared_devices(devices.iter().map(|device| &**device));
    let survived = survived(layout, devices.len(), &shared);
    if survived < usize::from(layout.parity) && !options.allow_shared_device {
        return Err(would_fail_together(layout, survived, &shared));
    }
    Ok(layout)
}

/// A layout that is given for a pool that has another one is a mistake.
pub(crate) fn refuse_another(options: &ServeOptions, layout: Layout) -> Result<()> {
    match options.layout {
        Some(given) if given != layout => Err(Failure::new(
            Kind::Storage,
            format!(
                "the pool has layout {layout} and --layout {given} was given: a layout is chosen when a pool is \
                 made; start without --layout"
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

fn survived(layout: Layout, disks: usize, shared: &[Vec<String>]) -> usize {
    let together: usize = shared.iter().map(Vec::len).sum();
    let alone = std::iter::repeat_n(1, disks.saturating_sub(together));
    let domains = shared.iter().map(Vec::len).chain(alone);
    survived_failures(domains, usize::from(layout.parity))
}

fn too_few(layout: Layout, disks: usize) -> Failure {
    let width = layout.width();
    Failure::new(
        Kind::Storage,
        format!(
            "layout {layout} needs at least {width} disks, {disks} were named: name more with --disk, or choose \
             another --layout (for {disks}: {})",
            Layout::for_disks(disks)
        ),
    )
}

fn would_fail_together(layout: Layout, survived: usize, shared: &[Vec<String>]) -> Failure {
    let groups: Vec<String> = shared.iter().map(|names| names.join(", ")).collect();
    let promised = layout.parity;
    Failure::new(
        Kind::Storage,
        format!(
            "these directories lie on one block device and would fail together: {}. Layout {layout} is to survive \
             {promised} failed disks, and would survive {survived}. Name directories on different disks; or, to try \
             things out, say --allow-shared-device. Nothing was written",
            groups.join("; ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use strongroom_device::sim::{SimDevice, SimEnv};

    use super::*;

    fn devices(domains: &[u64]) -> Vec<Arc<dyn Device>> {
        let env = SimEnv::new(1);
        let device = |(n, domain): (usize, &u64)| {
            SimDevice::new(&env, &format!("disk-{n}"), *domain) as Arc<dyn Device>
        };
        domains.iter().enumerate().map(device).collect()
    }

    fn chosen(
        layout: Option<&str>,
        allow: bool,
        domains: &[u64],
    ) -> std::result::Result<String, String> {
        let options = ServeOptions {
            layout: layout.map(|layout| layout.parse().unwrap()),
            allow_shared_device: allow,
            ..ServeOptions::default()
        };
        let layout = choose(&options, &devices(domains));
        layout
            .map(|layout| layout.to_string())
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_layout_follows_the_number_of_disks() {
        let apart: Vec<u64> = (0..12).collect();
        for (disks, layout) in [
            (1, "1+0"),
            (2, "1+1"),
            (3, "1+2"),
            (4, "2+2"),
            (6, "4+2"),
            (9, "6+2"),
            (12, "8+3"),
        ] {
            assert_eq!(chosen(None, false, &apart[..disks]).unwrap(), layout);
        }
        assert_eq!(chosen(Some("2+1"), false, &apart[..3]).unwrap(), "2+1");
    }

    #[test]
    fn disks_that_fail_together_are_refused_unless_allowed() {
        let refusal = chosen(None, false, &[7, 7]).unwrap_err();
        assert!(refusal.contains("disk-0, disk-1"), "{refusal}");
        assert!(refusal.contains("--allow-shared-device"), "{refusal}");
        assert_eq!(chosen(None, true, &[7, 7]).unwrap(), "1+1");
        // Two on one device are no loss to a layout that promises nothing.
        assert_eq!(chosen(Some("1+0"), false, &[7, 7]).unwrap(), "1+0");
        let refusal = chosen(Some("4+2"), false, &[1, 2, 3, 4, 5, 5]).unwrap_err();
        assert!(refusal.contains("would survive 1"), "{refusal}");
    }

    #[test]
    fn a_layout_wider_than_the_disks_is_refused() {
        let refusal = chosen(Some("4+2"), false, &[1, 2, 3]).unwrap_err();
        assert!(
            refusal.contains("needs at least 6 disks, 3 were named"),
            "{refusal}"
        );
    }
}
