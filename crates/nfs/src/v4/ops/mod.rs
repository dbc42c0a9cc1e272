//! The operations, one function each.

pub(crate) mod data;
pub(crate) mod delegation;
pub(crate) mod files;
pub(crate) mod lock;
pub(crate) mod minor_0;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod read_plus;
pub(crate) mod session;
pub(crate) mod xattr;

use super::compound::Compound;
use super::{Op, Status};
use crate::xdr::{Decoder, Encoder};

pub(crate) const SEQUENCE: u32 = 53;
pub(crate) const EXCHANGE_ID: u32 = 42;
pub(crate) const CREATE_SESSION: u32 = 43;
pub(crate) const BIND_CONN_TO_SESSION: u32 = 41;
pub(crate) const DESTROY_SESSION: u32 = 44;
pub(crate) const DESTROY_CLIENTID: u32 = 57;
pub(crate) const ILLEGAL: u32 = 10_044;

const FIRST: u32 = 3;
/// RELEASE_LOCKOWNER
const LAST_OF_0: u32 = 39;
/// RECLAIM_COMPLETE
const LAST_OF_1: u32 = 58;
/// REMOVEXATTR
const LAST_OF_2: u32 = 75;

/// Whether there is such an operation, done here or not.
pub(crate) fn is_known(number: u32, minor: u32) -> bool {
    let last = match minor {
        0 => LAST_OF_0,
        1 => LAST_OF_1,
        _ => LAST_OF_2,
    };
    (FIRST..=last).contains(&number)
}

pub(crate) async fn dispatch(
    c: &mut Compound<'_, '_>,
    number: u32,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    if c.minor > 0 {
        return dispatch_one(c, number, from, to).await;
    }
    match number {
        30 => minor_0::renew(c, from),
        35 => minor_0::set_client_id(c, from, to),
        36 => minor_0::confirm_client_id(c, from).await,
        39 => minor_0::release_lock_owner(c, from),
        number if minor_0::has_turn(number) => minor_0::in_turn(c, number, from, to).await,
        number => dispatch_one(c, number, from, to).await,
    }
}

async fn dispatch_one(
    c: &mut Compound<'_, '_>,
    number: u32,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Op {
    match number {
        3 => files::access(c, from, to),
        4 => open::close(c, from, to),
        5 => data::commit(c, from, to).await,
        6 => names::create(c, from, to).await,
        8 => delegation::give_back(c, from).await,
        9 => files::getattr(c, from, to).await,
        10 => files::getfh(c, to),
        11 => names::link(c, from, to).await,
        12 => lock::lock(c, from, to),
        13 => lock::lockt(c, from, to),
        14 => lock::locku(c, from, to),
        15 => files::lookup(c, from),
        16 => files::lookupp(c),
        17 => files::verify(c, from, false),
        18 => open::open(c, from, to).await,
        minor_0::OPEN_CONFIRM if c.minor == 0 => minor_0::confirm_open(c, from, to),
        21 => open::downgrade(c, from, to),
        22 => files::putfh(c, from),
        23 | 24 => files::putrootfh(c),
        25 => data::read(c, from, to).await,
        26 => names::readdir(c, from, to),
        27 => files::readlink(c, to),
        28 => names::remove(c, from, to).await,
        29 => names::rename(c, from, to).await,
        31 => files::restorefh(c),
        32 => files::savefh(c),
        33 => files::secinfo(c, from, to),
        34 => files::setattr(c, from, to).await,
        37 => files::verify(c, from, true),
        38 => data::write(c, from, to).await,
        40 => session::backchannel_ctl(c, from),
        BIND_CONN_TO_SESSION => session::bind_conn(c, from, to),
        EXCHANGE_ID => session::exchange_id(c, from, to),
        CREATE_SESSION => session::create(c, from, to),
        DESTROY_SESSION => session::destroy(c, from),
        45 => session::free_stateid(c, from),
        46 => delegation::get_dir(c, from, to),
        52 => files::secinfo_no_name(c, from, to),
        55 => session::test_stateid(c, from, to),
        DESTROY_CLIENTID => session::destroy_clientid(c, from),
        58 => session::reclaim_complete(c, from).await,
        59 => data::allocate(c, from).await,
        60 => data::copy(c, from, to).await,
        62 => data::deallocate(c, from).await,
        63 => data::io_advise(c, from, to),
        68 => read_plus::read_plus(c, from, to).await,
        69 => data::seek(c, from, to).await,
        71 => data::clone(c, from).await,
        72 => xattr::get(c, from, to).await,
        73 => xattr::set(c, from, to).await,
        74 => xattr::list(c, from, to).await,
        75 => xattr::remove(c, from, to).await,
        _ => Err(Status::NOTSUPP.into()),
    }
}
