"""Logs in, lists, copies and is refused, by smbprotocol. Arguments: host, port, share, read-only share, user, password."""

import errno
import io
import sys
import uuid

import smbclient
from smbprotocol.connection import Connection
from smbprotocol.create_contexts import CreateContextName, SMB2CreateContextRequest
from smbprotocol.exceptions import (
    AccessDenied,
    BadNetworkName,
    LogonFailure,
    SMBException,
    SMBOSError,
)
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FileAttributes,
    ImpersonationLevel,
    Open,
)
from smbprotocol.security_descriptor import (
    AccessAllowedAce,
    AclPacket,
    SDControl,
    SIDPacket,
    SMB2CreateSDBuffer,
)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

HOST, PORT, SHARE, READ_ONLY, USER, PASSWORD = sys.argv[1:7]
PORT = int(PORT)
ROOT = rf"\\{HOST}\{SHARE}"
WHERE = {"port": PORT}
CONTENT = bytes(range(256)) * 5000
STATUS_ACCESS_DENIED = 0xC0000022


def refused(what, kinds, action):
    """Fails unless the action raises one of these."""
    try:
        action()
    except kinds as error:
        print(f"refused, {what}: {type(error).__name__}")
        return error
    raise AssertionError(f"not refused: {what}")


def copy_tree():
    """Makes, writes, reads, renames, lists, removes."""
    directory = ROOT + r"\protocol"
    smbclient.mkdir(directory, **WHERE)
    with smbclient.open_file(directory + r"\one.bin", mode="wb", **WHERE) as file:
        file.write(CONTENT)
    with smbclient.open_file(directory + r"\one.bin", mode="rb", **WHERE) as file:
        assert file.read() == CONTENT
        file.seek(-10, io.SEEK_END)
        assert file.read() == CONTENT[-10:]
    with smbclient.open_file(directory + "\\größe.txt", mode="w", encoding="utf-8", **WHERE) as file:
        file.write("Grüße\n")
    smbclient.rename(directory + r"\one.bin", directory + r"\two.bin", **WHERE)
    assert sorted(smbclient.listdir(directory, **WHERE)) == ["größe.txt", "two.bin"]
    assert smbclient.stat(directory + r"\two.bin", **WHERE).st_size == len(CONTENT)
    sizes = {entry.name: entry.smb_info.end_of_file for entry in smbclient.scandir(directory, **WHERE)}
    assert sizes["two.bin"] == len(CONTENT)
    error = refused("a directory that is not empty", SMBOSError, lambda: smbclient.rmdir(directory, **WHERE))
    assert error.errno == errno.ENOTEMPTY
    for name in smbclient.listdir(directory, **WHERE):
        smbclient.remove(directory + "\\" + name, **WHERE)
    smbclient.rmdir(directory, **WHERE)
    error = refused("a directory that is gone", SMBOSError, lambda: smbclient.listdir(directory, **WHERE))
    assert error.errno == errno.ENOENT


def write_read_only():
    """Tries to make a file where nothing can be made."""
    with smbclient.open_file(rf"\\{HOST}\{READ_ONLY}\no.txt", mode="w", **WHERE) as file:
        file.write("no")


def private_file():
    """A file that only administrators may touch, and what somebody else is told who tries."""
    everybody, private = {}, {"username": "second", "password": PASSWORD, "port": PORT}
    administrators = SIDPacket()
    administrators.from_string("S-1-5-32-544")
    allow = AccessAllowedAce()
    allow["mask"] = 0x001F01FF
    allow["sid"] = administrators
    allowed = AclPacket()
    allowed["aces"] = [allow]
    descriptor = SMB2CreateSDBuffer()
    descriptor["control"].set_flag(SDControl.SELF_RELATIVE)
    descriptor.set_dacl(allowed)
    context = SMB2CreateContextRequest()
    context["buffer_name"] = CreateContextName.SMB2_CREATE_SD_BUFFER
    context["buffer_data"] = descriptor
    connection = Connection(uuid.uuid4(), HOST, PORT)
    connection.connect()
    session = Session(connection, USER, PASSWORD)
    session.connect()
    tree = TreeConnect(session, ROOT)
    tree.connect()
    file = Open(tree, "private.txt")
    file.create(
        ImpersonationLevel.Impersonation,
        0x001F01FF,
        FileAttributes.FILE_ATTRIBUTE_NORMAL,
        0,
        CreateDisposition.FILE_CREATE,
        CreateOptions.FILE_NON_DIRECTORY_FILE,
        create_contexts=[context],
    )
    file.write(b"mine", 0)
    file.close()
    connection.disconnect()
    smbclient.register_session(HOST, connection_cache=everybody, **private)

    def read():
        with smbclient.open_file(ROOT + r"\private.txt", mode="rb", connection_cache=everybody, port=PORT):
            pass

    assert "private.txt" in smbclient.listdir(ROOT, connection_cache=everybody, port=PORT)
    for what, action in (("reading another's file", read), ("writing to it", lambda: write(everybody))):
        error = refused(what, SMBOSError, action)
        assert error.ntstatus == STATUS_ACCESS_DENIED, error
    smbclient.reset_connection_cache(connection_cache=everybody)


def write(cache):
    with smbclient.open_file(ROOT + r"\private.txt", mode="r+b", connection_cache=cache, port=PORT) as file:
        file.write(b"yours")


def log_on(user, password, **more):
    """One logon on a connection of its own."""
    cache = {}
    smbclient.register_session(HOST, username=user, password=password, port=PORT, connection_cache=cache, **more)
    smbclient.reset_connection_cache(connection_cache=cache)


def main():
    refused("a wrong password", LogonFailure, lambda: log_on(USER, PASSWORD + "x"))
    refused("an unknown user", LogonFailure, lambda: log_on("nobody-here", PASSWORD))
    log_on(USER, PASSWORD, encrypt=True)
    smbclient.register_session(HOST, username=USER, password=PASSWORD, **WHERE)
    copy_tree()
    private_file()
    refused("a share that is not there", (BadNetworkName, SMBOSError), lambda: smbclient.listdir(rf"\\{HOST}\absent", **WHERE))
    refused("writing to a read-only share", (AccessDenied, SMBOSError, SMBException), write_read_only)
    smbclient.reset_connection_cache()
    print("done")


main()
