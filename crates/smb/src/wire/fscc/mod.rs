//! MS-FSCC.
