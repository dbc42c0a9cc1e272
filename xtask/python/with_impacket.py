"""Logs in, lists, copies and is refused, by impacket. Arguments: host, port, share, read-only share, user, password."""

import io
import sys

from impacket import ntlm
from impacket.smb3structs import (
    SMB2_DIALECT_002,
    SMB2_DIALECT_21,
    SMB2_DIALECT_30,
    SMB2_DIALECT_311,
)
from impacket.smbconnection import SMB_DIALECT, SessionError, SMBConnection

HOST, PORT, SHARE, READ_ONLY, USER, PASSWORD = sys.argv[1:7]
CONTENT = bytes(range(256)) * 5000
STATUS_ACCESS_DENIED = 0xC0000022
STATUS_LOGON_FAILURE = 0xC000006D
STATUS_BAD_NETWORK_NAME = 0xC00000CC
STATUS_OBJECT_NAME_NOT_FOUND = 0xC0000034
STATUS_MEDIA_WRITE_PROTECTED = 0xC00000A2


def connect(dialect=None):
    return SMBConnection(HOST, HOST, sess_port=int(PORT), preferredDialect=dialect)


def refused(what, statuses, action):
    """Fails unless the server answers with one of these."""
    try:
        action()
    except SessionError as error:
        assert error.getErrorCode() in statuses, f"{what}: {error}"
        print(f"refused, {what}: {error.getErrorCode():#x}")
        return
    raise AssertionError(f"not refused: {what}")


def copy(connection):
    """Puts, lists, gets, renames, removes."""
    connection.createDirectory(SHARE, "packets")
    connection.putFile(SHARE, r"packets\one.bin", io.BytesIO(CONTENT).read)
    listed = {entry.get_longname(): entry.get_filesize() for entry in connection.listPath(SHARE, r"packets\*")}
    assert listed["one.bin"] == len(CONTENT), listed
    back = io.BytesIO()
    connection.getFile(SHARE, r"packets\one.bin", back.write)
    assert back.getvalue() == CONTENT
    connection.rename(SHARE, r"packets\one.bin", r"packets\two.bin")
    connection.deleteFile(SHARE, r"packets\two.bin")
    connection.deleteDirectory(SHARE, "packets")


def every_dialect():
    for dialect in (SMB2_DIALECT_002, SMB2_DIALECT_21, SMB2_DIALECT_30, SMB2_DIALECT_311):
        connection = connect(dialect)
        connection.login(USER, PASSWORD)
        assert connection.getDialect() == dialect
        copy(connection)
        names = [share["shi1_netname"][:-1] for share in connection.listShares()]
        assert SHARE in names and "IPC$" in names, names
        connection.logoff()
        print(f"copied with {dialect:#x}")


def old_logon():
    """NTLM of version 1, as clients spoke it before Windows Vista."""
    answer = ntlm.getNTLMSSPType3

    def answer_old(*arguments, **named):
        return answer(*arguments, **{**named, "use_ntlmv2": False})

    ntlm.getNTLMSSPType3 = answer_old
    try:
        connect().login(USER, PASSWORD)
    finally:
        ntlm.getNTLMSSPType3 = answer


def unsigned():
    """A request without a signature in a session whose requests must have one."""
    connection = connect()
    connection.login(USER, PASSWORD)
    session = connection.getSMBServer()._Session
    session["SigningActivated"] = False
    # It encrypts where it can, which stands for a signature.
    session["SessionFlags"] = 0
    connection.connectTree(SHARE)


def main():
    every_dialect()
    for what, user, password in (
        ("a wrong password", USER, PASSWORD + "x"),
        ("an unknown user", "nobody-here", PASSWORD),
    ):
        refused(what, [STATUS_LOGON_FAILURE], lambda: connect().login(user, password))
    refused("nobody at all", [STATUS_LOGON_FAILURE, STATUS_ACCESS_DENIED], lambda: connect().login("", ""))
    refused("a guest", [STATUS_LOGON_FAILURE], lambda: connect().login("guest", ""))
    refused("NTLM of version 1", [STATUS_LOGON_FAILURE], old_logon)
    refused("a request that is not signed", [STATUS_ACCESS_DENIED], unsigned)
    connection = connect()
    connection.login(USER, PASSWORD)
    refused("a share that is not there", [STATUS_BAD_NETWORK_NAME], lambda: connection.connectTree("absent"))
    refused("a file that is not there", [STATUS_OBJECT_NAME_NOT_FOUND], lambda: connection.deleteFile(SHARE, "absent"))
    refused(
        "writing to a read-only share",
        [STATUS_ACCESS_DENIED, STATUS_MEDIA_WRITE_PROTECTED],
        lambda: connection.createDirectory(READ_ONLY, "no"),
    )
    try:
        connect(SMB_DIALECT)
    except Exception as error:  # However it shows: the old protocol is not spoken.
        print(f"refused, SMB 1: {type(error).__name__}")
    else:
        raise AssertionError("SMB 1 is spoken")
    print("done")


main()
