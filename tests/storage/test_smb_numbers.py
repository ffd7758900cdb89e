"""The DiskFileId in a CREATE response: used where there is one, queried where there is not."""

import struct
from pathlib import Path

import pytest

from vhdx.storage.base import Access
from vhdx.storage.smb import SmbFileSystem, messages
from vhdx.storage.smb.messages import HEADER_LENGTH, Response, create_response

QFID = b"QFid"


def context(name: bytes, data: bytes, following: int = 0) -> bytes:
    return struct.pack("<IHHHHI4s4x", following, 16, len(name), 0, 24, len(data), name) + data


def answer(contexts: bytes, *, offset: int | None = None, length: int | None = None) -> Response:
    fixed = struct.pack("<HBBIQQQQQQI4x16s", 89, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80, b"f" * 16)
    at = HEADER_LENGTH + len(fixed) + 8 if offset is None else offset
    body = fixed + struct.pack("<II", at, len(contexts) if length is None else length) + contexts
    return Response(1, memoryview(body))


@pytest.mark.parametrize(
    ("contexts", "disk_file_id"),
    [
        (b"", None),
        (context(QFID, struct.pack("<QQ16x", 77, 5)), 77),
        (context(b"MxAc", bytes(8), 32) + context(QFID, struct.pack("<QQ16x", 77, 5)), 77),
        (context(b"MxAc", bytes(8)), None),
        (context(QFID, b""), None),
        (context(QFID, bytes(32)), None),
        (context(QFID, b"\xff" * 32), None),
    ],
)
def test_the_disk_file_id_in_a_response(contexts: bytes, disk_file_id: int | None) -> None:
    assert create_response(answer(contexts)).disk_file_id == disk_file_id


@pytest.mark.parametrize(
    "wrong",
    [
        answer(context(QFID, bytes(4))),
        answer(context(QFID, bytes(32)), length=1000),
        answer(context(QFID, bytes(32)), offset=3),
        answer(b"\1\2\3"),
    ],
)
def test_nonsense_is_a_malformed_response(wrong: Response) -> None:
    with pytest.raises(struct.error):
        create_response(wrong)


@pytest.mark.smb
def test_a_server_without_disk_file_ids_is_queried(
    smb_files: SmbFileSystem, share_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (share_directory / name).write_bytes(b"x")
    told = smb_files.stat("one").identity
    known = messages.create_response
    monkeypatch.setattr(messages, "create_response", lambda response: known(response)._replace(disk_file_id=None))
    assert smb_files.stat("one").identity == told
    one, two = (smb_files.open(name, Access.READ) for name in ("one", "two"))
    assert one.identity() == told != two.identity()
    one.close()
    two.close()
