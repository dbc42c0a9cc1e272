//! A world and its disks in memory, run from a seed.
