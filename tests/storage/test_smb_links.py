"""Links on a share: what the server shows of them is not followed out of a directory."""

import os
import struct
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from vhdx.errors import Error, HasChildren, LeadsOutside, ParentNotFound
from vhdx.image.base import CreateOptions, ImageFormat, ParentLink
from vhdx.image.open import open_image
from vhdx.storage.base import Access
from vhdx.storage.smb import SmbFileSystem, messages
from vhdx.storage.smb.handle import Handle
from vhdx.storage.smb.messages import CreateResponse, Response
from vhdx.storage.smb.status import Refused, failure
from vhdx.storage.transfer import pread, pwrite
from vhdx.verbs.engine import NativeEngine

pytestmark = pytest.mark.smb

SYMLINK, JUNCTION, DEDUPLICATED = 0xA000000C, 0xA0000003, 0x80000013


def put(files: SmbFileSystem, path: str, content: bytes) -> None:
    storage = files.create(path)
    pwrite(storage, 0, content)
    storage.close()


def show(monkeypatch: pytest.MonkeyPatch, name: str, tag: int) -> None:
    """Let the server say of *name* that it is a reparse point with *tag*: Samba has none, Windows shows all it has."""
    init, query = Handle.__init__, Handle.query

    def opened(self: Handle, connection: Any, tree: Any, path: str, *rest: Any, **options: Any) -> None:
        created = messages.create_response

        def answered(response: Response) -> CreateResponse:
            found = created(response)
            return found._replace(file_attributes=found.file_attributes | 0x400) if path == name else found

        monkeypatch.setattr(messages, "create_response", answered)
        try:
            init(self, connection, tree, path, *rest, **options)
        finally:
            monkeypatch.setattr(messages, "create_response", created)

    def asked(self: Handle, information: int, place: struct.Struct, **options: Any) -> tuple[int, ...]:
        return (0x400, tag) if information == 35 else query(self, information, place, **options)

    monkeypatch.setattr(Handle, "__init__", opened)
    monkeypatch.setattr(Handle, "query", asked)


@pytest.mark.parametrize(("name", "tag"), [("a/b/file", SYMLINK), ("a/b", JUNCTION), ("a", SYMLINK)])
@pytest.mark.parametrize("access", Access)
def test_a_link_on_the_way_is_not_followed(
    name: str,
    tag: int,
    access: Access,
    smb_files: SmbFileSystem,
    share_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (share_directory / "a/b").mkdir(parents=True)
    put(smb_files, "a/b/file", b"content")
    show(monkeypatch, name, tag)
    with pytest.raises(LeadsOutside):
        smb_files.open("a/b/file", access, beneath="")
    smb_files.open("a/b/file", Access.WRITE).close()  # nothing was left open


def test_the_directory_itself_may_be_a_link(
    smb_files: SmbFileSystem, share_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (share_directory / "a").mkdir()
    put(smb_files, "a/file", b"content")
    show(monkeypatch, "a", JUNCTION)
    smb_files.open("a/file", Access.READ, beneath="a").close()


@pytest.mark.parametrize("access", Access)
def test_a_reparse_point_that_is_no_link_is_a_file(
    access: Access, smb_files: SmbFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(smb_files, "file", b"content")
    show(monkeypatch, "file", DEDUPLICATED)
    storage = smb_files.open("file", access, beneath="")
    assert pread(storage, 0, 7) == b"content"
    storage.close()
    smb_files.open("file", Access.WRITE).close()


def test_a_link_that_the_server_hands_over_is_an_error_that_says_so() -> None:
    error = failure(Refused(0x8000002D, Response(0, memoryview(b""))), "smb://server/share/link")
    assert isinstance(error, Error)
    assert "symbolic link" in str(error)


def test_a_link_of_samba_that_leads_out_of_the_share(
    smb_files: SmbFileSystem, share_directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (share_directory / "link").symlink_to(tmp_path / "secret")
    with pytest.raises((OSError, Error)):
        smb_files.open("link", Access.INSPECT, beneath="")


def test_hard_links_are_counted_and_protected(smb_files: SmbFileSystem, share_directory: Path) -> None:
    engine = NativeEngine()
    engine.create(smb_files, "disk", 1 << 20, CreateOptions(format=ImageFormat.VHD))
    os.link(share_directory / "disk", share_directory / "backup")
    assert smb_files.stat("disk").links == 2
    with pytest.raises(HasChildren, match="2 names"):
        engine.open_chain(smb_files, "disk", writable=1)
    (share_directory / "backup").unlink()
    engine.open_chain(smb_files, "disk", writable=1).close()


@pytest.mark.parametrize("recorded", [".\\child\\base", ".\\" + "x" * 300, ".\\none\\base"])
def test_a_recorded_path_that_no_file_can_have_is_skipped(recorded: str, smb_files: SmbFileSystem) -> None:
    engine = NativeEngine()
    engine.create(smb_files, "base", 1 << 20)
    engine.create_child(smb_files, "child", "base")
    with closing(open_image(smb_files.open("child", Access.WRITE), new_id=uuid4)) as child:
        link = child.info.parent
        assert link is not None
        child.set_parent(ParentLink(link.linkage, None, {"relative_path": recorded, "volume_path": "x\\base"}))
    assert engine.layers(smb_files, "child") == ["child", "base"]
    smb_files.remove("base")
    with pytest.raises(ParentNotFound):
        engine.layers(smb_files, "child")


@pytest.mark.parametrize("name", ["child", "n" * 250])
def test_a_parent_that_was_forced_on_a_share(name: str, smb_files: SmbFileSystem) -> None:
    """Also beside a name that leaves no room for the name of a note: that is shortened then."""
    engine = NativeEngine()
    for parent in ("base", "other"):
        engine.create(smb_files, parent, 1 << 20)
    engine.create_child(smb_files, "made", "base")
    smb_files.rename("made", name, replace=False)
    assert [one.code for one in engine.check(smb_files, name) if one.code == "chain-forced"] == []
    engine.relink(smb_files, name, "other", force=True)
    assert [one.code for one in engine.check(smb_files, name) if one.code == "chain-forced"] == ["chain-forced"]
    engine.undo_relink(smb_files, name)
    assert engine.layers(smb_files, name) == [name, "base"]
    assert smb_files.list("") == sorted(["base", name, "other"])
