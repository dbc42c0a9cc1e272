//! Whole conversations on a pipe.
