"""Persistent handles over the death of the server, by smbprotocol.

Arguments: host, port, share, user, password, phase (hold, or back), a file that one phase leaves to the next.
`hold` opens, writes and locks, and goes without closing anything; then the server is killed and started again, and `back`
finds everything as it was.
"""

import json
import os
import sys
import uuid

from smbprotocol.connection import Capabilities, Connection
from smbprotocol.create_contexts import (
    CreateContextName,
    DurableHandleFlags,
    SMB2CreateContextRequest,
    SMB2CreateDurableHandleReconnectV2,
    SMB2CreateDurableHandleRequestV2,
    SMB2CreateDurableHandleResponseV2,
)
from smbprotocol.exceptions import SMBResponseException
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FileAttributes,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    LockFlags,
    Open,
    RequestedOplockLevel,
    ShareAccess,
    SMB2LockElement,
)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

HOST, PORT, SHARE, USER, PASSWORD, PHASE, STATE = sys.argv[1:8]
ACCESS = (
    FilePipePrinterAccessMask.FILE_READ_DATA
    | FilePipePrinterAccessMask.FILE_WRITE_DATA
    | FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES
)
CONTENT = bytes(range(256)) * 1000
STATUS_LOCK_NOT_GRANTED = 0xC0000055
STATUS_SHARING_VIOLATION = 0xC0000043
STATUS_FILE_NOT_AVAILABLE = 0xC0000467
STATUS_OBJECT_NAME_NOT_FOUND = 0xC0000034
CLIENT = uuid.UUID(int=0x5EED)


def connect(client):
    """One tree connect on a connection of its own."""
    connection = Connection(client, HOST, int(PORT))
    connection.client_capabilities |= Capabilities.SMB2_GLOBAL_CAP_PERSISTENT_HANDLES
    connection.connect(timeout=30)
    session = Session(connection, USER, PASSWORD)
    session.connect()
    tree = TreeConnect(session, rf"\\{HOST}\{SHARE}")
    tree.connect()
    return tree


def context(name, data):
    request = SMB2CreateContextRequest()
    request["buffer_name"] = name
    request["buffer_data"] = data
    return request


def create(tree, name, contexts=(), share=0, disposition=CreateDisposition.FILE_OPEN_IF):
    """Opens, and gives the answer's contexts as well."""
    opened = Open(tree, name)
    answers = opened.create(
        ImpersonationLevel.Impersonation,
        ACCESS,
        FileAttributes.FILE_ATTRIBUTE_NORMAL,
        share,
        disposition,
        CreateOptions.FILE_NON_DIRECTORY_FILE,
        create_contexts=list(contexts),
        oplock_level=RequestedOplockLevel.SMB2_OPLOCK_LEVEL_NONE,
    )
    return opened, answers or []


def refused(what, status, action):
    try:
        action()
    except SMBResponseException as error:
        assert error.status == status, f"{what}: {error}"
        print(f"refused, {what}: {error.status:#x}")
        return
    raise AssertionError(f"not refused: {what}")


def lock(opened, offset, flags, number):
    element = SMB2LockElement()
    element["offset"] = offset
    element["length"] = 100
    element["flags"] = flags
    # Index 1. The package puts the two numbers together the wrong way round, so both go in as one.
    opened.lock([element], lsn=0, lsi=1 << 4 | number)


EXCLUSIVE = LockFlags.SMB2_LOCKFLAG_EXCLUSIVE_LOCK | LockFlags.SMB2_LOCKFLAG_FAIL_IMMEDIATELY


def hold():
    tree = connect(CLIENT)
    assert tree.is_ca_share, "the share is not announced as continuously available"
    kept = {}
    for name, share in (("alone", 0), ("shared", ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE)):
        guid = uuid.uuid4()
        wish = SMB2CreateDurableHandleRequestV2()
        wish["flags"] = DurableHandleFlags.SMB2_DHANDLE_FLAG_PERSISTENT
        wish["create_guid"] = guid
        durable = context(CreateContextName.SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2, wish)
        opened, answers = create(tree, name, [durable], share)
        granted = [one for one in answers if isinstance(one, SMB2CreateDurableHandleResponseV2)]
        assert granted and granted[0]["flags"].get_value() == 2, f"{name} is not persistent: {answers}"
        opened.write(CONTENT, 0)
        lock(opened, 500, EXCLUSIVE, 3)
        kept[name] = {"id": opened.file_id.hex(), "guid": str(guid)}
    with open(STATE, "w", encoding="utf-8") as file:
        json.dump(kept, file)


def reopen(tree, name, kept):
    back = SMB2CreateDurableHandleReconnectV2()
    back["file_id"] = bytes.fromhex(kept["id"])
    back["create_guid"] = uuid.UUID(kept["guid"])
    back["flags"] = DurableHandleFlags.SMB2_DHANDLE_FLAG_PERSISTENT
    wish = context(CreateContextName.SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2, back)
    return create(tree, name, [wish], disposition=CreateDisposition.FILE_OPEN)[0]


def come_back():
    with open(STATE, encoding="utf-8") as file:
        kept = json.load(file)
    everything = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE
    stranger = connect(uuid.uuid4())
    refused("an open while its holder is away", STATUS_FILE_NOT_AVAILABLE, lambda: create(stranger, "alone", (), everything))
    tree = connect(CLIENT)
    wrong = {**kept["alone"], "guid": str(uuid.uuid4())}
    refused("a handle by a wrong name", STATUS_OBJECT_NAME_NOT_FOUND, lambda: reopen(tree, "alone", wrong))
    for name in ("alone", "shared"):
        opened = reopen(tree, name, kept[name])
        assert opened.read(0, len(CONTENT)) == CONTENT, name
        # The request that may have been lost with its answer, and one that is new.
        lock(opened, 500, EXCLUSIVE, 3)
        refused(f"a lock that is held ({name})", STATUS_LOCK_NOT_GRANTED, lambda: lock(opened, 550, EXCLUSIVE, 4))
        if name == "alone":
            refused("an open beside it", STATUS_SHARING_VIOLATION, lambda: create(stranger, name, (), everything))
            opened.close()
            create(stranger, name, (), everything)
        else:
            beside, _ = create(stranger, name, (), everything)
            refused("a lock of another", STATUS_LOCK_NOT_GRANTED, lambda: lock(beside, 500, EXCLUSIVE, 1))
            lock(opened, 500, LockFlags.SMB2_LOCKFLAG_UNLOCK, 5)
            lock(beside, 500, EXCLUSIVE, 2)


if PHASE == "hold":
    hold()
else:
    come_back()
print("done", flush=True)
# Neither closes what is open nor says goodbye.
os._exit(0)
