//! From a command to the module that carries it out.

use super::answer::Step;
use super::operations::{
    change_notify, close, create, echo, flush, ioctl, lock, logoff, negotiate, oplock_break,
    query_directory, query_info, read, session_setup, set_info, tree_connect, tree_disconnect,
    write,
};
use super::request::Request;
use crate::wire::{Command, NtStatus};

/// Carries a request out as far as it goes at once. `out` ends with the response's header; only [`Step::Now`] leaves
/// more there.
pub(crate) fn dispatch(request: Request, out: &mut Vec<u8>) -> Step {
    match request.header.command {
        Command::Negotiate => negotiate::run(&request),
        Command::SessionSetup => session_setup::run(request),
        Command::Logoff => logoff::run(request),
        Command::TreeConnect => tree_connect::run(&request),
        Command::TreeDisconnect => tree_disconnect::run(request),
        Command::Create => create::run(request),
        Command::Close => close::run(request),
        Command::Flush => flush::run(request),
        Command::Read => read::run(&request, out),
        Command::Write => write::run(request),
        Command::Lock => lock::run(request),
        Command::Ioctl => ioctl::run(request),
        Command::Echo => echo::run(&request),
        Command::QueryDirectory => query_directory::run(&request, out),
        Command::ChangeNotify => change_notify::run(request),
        Command::QueryInfo => query_info::run(&request, out),
        Command::SetInfo => set_info::run(request),
        Command::OplockBreak => oplock_break::run(&request),
        Command::Cancel | Command::ServerToClientNotification | Command::Unknown(_) => {
            Step::Answer(Err(NtStatus::INVALID_PARAMETER.into()))
        }
    }
}
