//! DCE/RPC over named pipes (MS-RPCE).
