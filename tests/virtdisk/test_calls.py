"""Calls of the binding, as the stand-in for virtdisk.dll of tests/wine sees them: on Windows only, or under Wine.

It proves that arguments arrive where a 64-bit Windows expects them and that answers, pending calls, progress,
cancelling and failures are handled. It does not prove what Microsoft's library does.
"""

import ctypes
import gc
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.virtdisk.facts import FACTS
from vhdx.errors import (
    Cancelled,
    Error,
    FormatError,
    OutOfSpace,
    ParentNotFound,
    UnsupportedFeature,
    WouldLoseData,
)
from vhdx.virtdisk import attaching, changes, compacting, information, merging, mirroring, operation, resizing, settings
from vhdx.virtdisk.constants import AccessMask, AttachFlag, CompactFlag, CreateFlag, Device, MirrorFlag, OpenFlag
from vhdx.virtdisk.creating import NewDisk, create, create_fixed
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.failures import refusal
from vhdx.virtdisk.library import Library, last_error
from vhdx.virtdisk.opening import ByMask, ByPurpose, open_chain, open_disk

STANDIN = os.environ.get("VHDX_STANDIN", "")
if sys.platform != "win32" or not STANDIN:
    pytest.skip("the stand-in for virtdisk.dll needs Windows or Wine: nox -s wine", allow_module_level=True)

MIB = 1 << 20
ONE, TWO, THREE = (UUID(int=number * 0x0123456789ABCDEF0123456789ABCD) for number in (1, 3, 5))
CODES: dict[str, int] = FACTS["codes"]
Trace = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def library() -> Library:
    gc.collect()
    ctypes.WinDLL(STANDIN).StandInForget()  # type: ignore[attr-defined]
    return Library(STANDIN)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trace:
    """The calls that the stand-in has seen since it was asked last."""
    path = tmp_path / "trace"
    monkeypatch.setenv("STANDIN_TRACE", str(path))

    def calls() -> list[dict[str, Any]]:
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    return calls


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "a disk, grün.vhdx")


@pytest.fixture
def disk(library: Library, file: str) -> Iterator[VirtualDisk]:
    with create(library, file, Device.VHDX, NewDisk(size=64 * MIB, block_size=MIB, identifier=ONE)) as disk:
        yield disk


def answers(monkeypatch: pytest.MonkeyPatch, function: str, code: str | int, *, ends: bool = False) -> None:
    """Have a function answer with a code, or, if it *ends* so, give it as the result of a pending call."""
    number = CODES[code] if isinstance(code, str) else code
    monkeypatch.setenv(f"STANDIN_{'RESULT' if ends else 'ANSWER'}_{function}", str(number))


def test_all_that_a_new_disk_is_given_arrives(library: Library, file: str, trace: Trace) -> None:
    new = NewDisk(
        size=5 << 40, block_size=32 * MIB, sector_size=4096, physical_sector_size=512, identifier=TWO,
        source="\\\\.\\PhysicalDrive3", source_device=Device.VHD, resiliency=THREE,
    )  # fmt: skip
    flags = CreateFlag.PREVENT_WRITES_TO_SOURCE_DISK | CreateFlag.SPARSE_FILE
    with create_fixed(library, file, Device.VHDX, new, flags=flags) as disk:
        assert information.subtype(disk) == 2
    assert trace()[0] == {
        "function": "CreateVirtualDisk", "device": 3, "path": file, "mask": 0, "flags": 0x83, "UniqueId": str(TWO),
        "MaximumSize": 5 << 40, "BlockSizeInBytes": 32 * MIB, "SectorSizeInBytes": 4096,
        "PhysicalSectorSizeInBytes": 512, "ParentPath": None, "SourcePath": "\\\\.\\PhysicalDrive3", "OpenFlags": 0,
        "parent device": 0, "source device": 2, "ResiliencyGuid": str(THREE), "overlapped": 1,
    }  # fmt: skip


def test_a_child_is_given_its_parent(library: Library, disk: VirtualDisk, tmp_path: Path, trace: Trace) -> None:
    new = NewDisk(parent=disk.file, parent_device=Device.VHDX, parent_flags=OpenFlag.CACHED_IO)
    with create(library, str(tmp_path / "child.vhdx"), Device.VHDX, new) as child:
        [call] = trace()
        assert (call["ParentPath"], call["parent device"], call["OpenFlags"]) == (disk.file, 3, 8)
        assert information.sizes(child).virtual == 64 * MIB
        assert information.parent_identifier(child) == ONE
        assert information.parent_location(child) == information.ParentLocation(True, (disk.file,))


OPENED = {
    "by default": (
        None, {"mask": 0, "Version": 2, "GetInfoOnly": 0, "ReadOnly": 0, "ResiliencyGuid": str(UUID(int=0))},
    ),
    "read only": (ByPurpose(read_only=True), {"Version": 2, "GetInfoOnly": 0, "ReadOnly": 1}),
    "for information": (ByPurpose(info_only=True), {"Version": 2, "GetInfoOnly": 1, "ReadOnly": 0}),
    "resilient": (ByPurpose(resiliency=TWO), {"Version": 2, "ResiliencyGuid": str(TWO)}),
    "a snapshot": (
        ByPurpose(read_only=True, snapshot=THREE),
        {"mask": 0, "Version": 3, "SnapshotId": str(THREE), "ReadOnly": 1},
    ),
    "by a mask": (
        ByMask(AccessMask.METAOPS | AccessMask.GET_INFO, rw_depth=3),
        {"mask": 0x280000, "Version": 1, "RWDepth": 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", OPENED)
def test_a_disk_is_opened_as_asked(library: Library, disk: VirtualDisk, trace: Trace, way: str) -> None:
    access, seen = OPENED[way]
    with open_disk(library, disk.file, access, device=Device.VHDX, flags=OpenFlag.NO_PARENTS):
        [call] = trace()
    assert {"function": "OpenVirtualDisk", "path": disk.file, "device": 3, "flags": 1, **seen}.items() <= call.items()


def test_a_chain_is_opened_file_by_file(library: Library, disk: VirtualDisk, trace: Trace) -> None:
    paths = [disk.file] * 3
    with open_chain(library, paths, ByPurpose(read_only=True), flags=OpenFlag.CACHED_IO):
        first, *others = trace()
    assert first["flags"] == 0x18
    assert others == [{"function": "AddVirtualDiskParent", "path": disk.file}] * 2


def test_a_chain_whose_parent_is_missing_is_closed_again(library: Library, disk: VirtualDisk, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.vhdx")
    before = open_handles()
    with pytest.raises(FileNotFoundError) as caught:
        open_chain(library, [disk.file, missing])
    assert caught.value.filename == missing
    assert open_handles() == before


def open_handles() -> int:
    """Of disks and of events: what the stand-in has seen in this test and the caller has to close."""
    count: int = ctypes.WinDLL(STANDIN).StandInHandles()  # type: ignore[attr-defined]
    return count


def test_every_kind_of_information_is_read(disk: VirtualDisk) -> None:
    found = information.sizes(disk)
    assert (found.virtual, found.block, found.sector) == (64 * MIB, MIB, 0)
    assert information.identifier(disk) == ONE
    assert information.virtual_disk_id(disk) == UUID(int=0)
    assert information.parent_timestamp(disk) == 4_000_000_000
    assert information.storage_type(disk) == (3, UUID(FACTS["constants"]["VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT"]))
    assert information.subtype(disk) == 3
    assert information.is_4k_aligned(disk)
    assert not information.is_loaded(disk)
    assert information.physical_disk(disk) == information.PhysicalDisk(512, 4096, True)
    assert information.physical_sector_size(disk) == 0
    assert information.smallest_safe_size(disk) == 32 * MIB
    assert information.fragmentation(disk) == 17
    tracking = information.change_tracking(disk)
    assert tracking == information.ChangeTracking(False, True, "rctX:00112233:4455:6677:8899:aabbccddeef")


def test_paths_that_need_a_larger_buffer_are_read_in_full(
    library: Library, disk: VirtualDisk, tmp_path: Path, trace: Trace
) -> None:
    with create(library, str(tmp_path / "c.vhdx"), Device.VHDX, NewDisk(parent=disk.file)) as child:
        longest = "C:\\" + "\\".join(["a folder with a name"] * 90) + "\\😀.vhdx"
        settings.set_parent_locator(child, TWO, longest)
        trace()
        found = information.parent_location(child)
        assert found == information.ParentLocation(False, (longest, "?" + longest[1:]))
        assert information.parent_identifier(child) == TWO
        small, large = (call["size"] for call in trace() if call["Version"] == 3)
        assert small == 32
        assert large >= 4 * len(longest)


def test_a_buffer_that_is_never_large_enough_is_an_error(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "GetVirtualDiskInformation", "ERROR_INSUFFICIENT_BUFFER")
    with pytest.raises(Error, match="more than it can need"):
        information.sizes(disk)


SETTINGS: dict[str, tuple[Callable[[VirtualDisk, str], None], dict[str, Any]]] = {
    "identifier": (
        lambda disk, _: settings.set_identifier(disk, TWO), {"Version": 2, "UniqueIdentifier": str(TWO)},
    ),
    "virtual disk id": (
        lambda disk, _: settings.set_virtual_disk_id(disk, THREE), {"Version": 5, "VirtualDiskId": str(THREE)},
    ),
    "parent path": (settings.set_parent_path, {"Version": 1, "ParentFilePath": "PATH"}),
    "parent path with depth": (
        lambda disk, path: settings.set_parent_path_with_depth(disk, 2, path),
        {"Version": 3, "ChildDepth": 2, "ParentFilePath": "PATH"},
    ),
    "parent locator": (
        lambda disk, path: settings.set_parent_locator(disk, TWO, path),
        {"Version": 7, "LinkageId": str(TWO), "ParentFilePath": "PATH"},
    ),
    "physical sector size": (
        lambda disk, _: settings.set_physical_sector_size(disk, 4096), {"Version": 4, "VhdPhysicalSectorSize": 4096},
    ),
    "change tracking": (
        lambda disk, _: settings.set_change_tracking(disk, enabled=True), {"Version": 6, "ChangeTrackingEnabled": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_arrives(disk: VirtualDisk, trace: Trace, setting: str) -> None:
    change, seen = SETTINGS[setting]
    trace()
    change(disk, disk.file)
    expected = {key: disk.file if value == "PATH" else value for key, value in seen.items()}
    assert trace() == [{"function": "SetVirtualDiskInformation", **expected}]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_that_is_refused_is_an_error(
    disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    answers(monkeypatch, "SetVirtualDiskInformation", "ERROR_VHD_METADATA_FULL")
    with pytest.raises(Error, match="0xC03A0028 ERROR_VHD_METADATA_FULL"):
        SETTINGS[setting][0](disk, disk.file)


def test_what_was_set_is_read_back(disk: VirtualDisk) -> None:
    settings.set_identifier(disk, THREE)
    settings.set_virtual_disk_id(disk, TWO)
    settings.set_physical_sector_size(disk, 4096)
    settings.set_change_tracking(disk, enabled=True)
    assert information.identifier(disk) == THREE
    assert information.virtual_disk_id(disk) == TWO
    assert information.physical_sector_size(disk) == 4096
    assert information.change_tracking(disk).enabled


Long = Callable[[VirtualDisk, operation.Progress | None], None]
LONG: dict[str, tuple[Long, dict[str, Any]]] = {
    "merge": (
        lambda disk, told: merging.merge(disk, 3, on_progress=told),
        {"function": "MergeVirtualDisk", "flags": 0, "Version": 1, "MergeDepth": 3},
    ),
    "merge_layers": (
        lambda disk, told: merging.merge_layers(disk, 2, 5, on_progress=told),
        {"function": "MergeVirtualDisk", "flags": 0, "Version": 2, "MergeSourceDepth": 2, "MergeTargetDepth": 5},
    ),
    "compact": (
        lambda disk, told: compacting.compact(disk, flags=CompactFlag.NO_BLOCK_MOVES, on_progress=told),
        {"function": "CompactVirtualDisk", "flags": 2, "Version": 1, "Reserved": 0},
    ),
    "resize": (
        lambda disk, told: resizing.resize(disk, 5 << 40, on_progress=told),
        {"function": "ResizeVirtualDisk", "flags": 0, "Version": 1, "NewSize": 5 << 40},
    ),
    "resize, unsafe": (
        lambda disk, told: resizing.resize(disk, 512, unsafe=True, on_progress=told),
        {"function": "ResizeVirtualDisk", "flags": 1, "Version": 1, "NewSize": 512},
    ),
    "shrink": (
        lambda disk, told: resizing.shrink(disk, on_progress=told),
        {"function": "ResizeVirtualDisk", "flags": 2, "Version": 1, "NewSize": 0},
    ),
    "expand": (
        lambda disk, told: resizing.expand(disk, 1 << 40, on_progress=told),
        {"function": "ExpandVirtualDisk", "flags": 0, "Version": 1, "NewSize": 1 << 40},
    ),
}


@pytest.mark.parametrize("pace", ["now", "thread"])
@pytest.mark.parametrize("call", LONG)
def test_a_long_call_is_waited_for(
    disk: VirtualDisk, trace: Trace, monkeypatch: pytest.MonkeyPatch, call: str, pace: str
) -> None:
    monkeypatch.setenv("STANDIN_PACE", pace)
    trace()
    verb, seen = LONG[call]
    verb(disk, None)
    assert trace() == [seen]


@pytest.mark.parametrize("call", LONG)
def test_a_long_call_tells_its_progress(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """It does not fall, though Windows tells less the third time."""
    monkeypatch.setenv("STANDIN_PACE", "looks")
    told: list[tuple[int, int]] = []
    LONG[call][0](disk, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (2, 4), (4, 4)]


@pytest.mark.parametrize("call", LONG)
def test_whoever_is_told_may_stop_it(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """The call has ended when the error arrives: Windows, which may take a while, no longer writes into its memory."""
    monkeypatch.setenv("STANDIN_PACE", "never")
    seen: list[Any] = []
    stop, cancel = operation.Operation.stop, operation.Operation._cancel
    monkeypatch.setattr(operation.Operation, "_cancel", lambda self: threading.Timer(0.3, cancel, [self]).start())

    def watched(self: Any) -> None:
        stop(self)
        seen.append(self.ended(0))

    monkeypatch.setattr(operation.Operation, "stop", watched)

    def enough(done: int, total: int) -> None:
        raise Cancelled(f"at {done} of {total}")

    before = open_handles()
    with pytest.raises(Cancelled, match="at 1 of 4"):
        LONG[call][0](disk, enough)
    assert seen == [True]
    assert open_handles() == before


@pytest.mark.parametrize("call", LONG)
def test_a_key_that_interrupts_stops_it_too(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setenv("STANDIN_PACE", "never")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LONG[call][0](disk, interrupt)
    assert information.sizes(disk).virtual  # the handle still works


@pytest.mark.parametrize("ends", [False, True], ids=["at once", "in the end"])
@pytest.mark.parametrize("call", LONG)
def test_a_long_call_that_fails_is_an_error(
    disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch, call: str, ends: bool
) -> None:
    verb, seen = LONG[call]
    answers(monkeypatch, seen["function"], "ERROR_VHD_BLOCK_ALLOCATION_FAILURE", ends=ends)
    before = open_handles()
    with pytest.raises(OutOfSpace) as caught:
        verb(disk, None)
    found = refusal(caught.value)
    assert found is not None
    assert (found.function, found.symbol) == (seen["function"], "ERROR_VHD_BLOCK_ALLOCATION_FAILURE")
    assert open_handles() == before


def test_without_a_state_the_status_of_the_request_counts(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "GetVirtualDiskOperationProgress", "ERROR_NOT_SUPPORTED")
    told: list[tuple[int, int]] = []
    compacting.compact(disk, on_progress=lambda done, total: told.append((done, total)))
    assert not [one for one in told if one != (0, 1)]


def test_a_request_that_cannot_be_cancelled_is_kept(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows still writes into it: closing the disk ends the call, and crashes the process if it is not kept."""
    monkeypatch.setenv("STANDIN_PACE", "never")
    kept: list[object] = []
    keep = operation._keep_for_ever
    monkeypatch.setattr(operation, "_keep_for_ever", lambda one: (kept.append(type(one)), keep(one)))
    monkeypatch.setattr(operation.Operation, "_cancel", lambda self: (_ for _ in ()).throw(OSError("no")))

    def enough(done: int, total: int) -> None:
        raise Cancelled("stop")

    with pytest.raises(OSError, match="no"):
        compacting.compact(disk, on_progress=enough)
    assert kept == [operation.Operation]
    disk.close()
    gc.collect()
    assert [bytearray(64) for _ in range(10000)]


def test_a_creation_that_is_stopped_closes_the_handle(
    library: Library, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_PACE", "never")

    def enough(done: int, total: int) -> None:
        raise Cancelled("stop")

    before = open_handles()
    with pytest.raises(Cancelled, match="stop") as caught:  # which keeps what is not closed
        create(library, file, Device.VHDX, NewDisk(size=MIB), on_progress=enough)
    assert open_handles() == before
    assert caught


CREATED = {
    "at once": ("ERROR_VHD_INVALID_SIZE", False, Error),
    "in the end": ("ERROR_DISK_FULL", True, OutOfSpace),
}


@pytest.mark.parametrize("when", CREATED)
def test_a_creation_that_fails_is_an_error(
    library: Library, file: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    code, ends, kind = CREATED[when]
    answers(monkeypatch, "CreateVirtualDisk", code, ends=ends)
    before = open_handles()
    with pytest.raises(kind, match=code) as caught:  # which keeps what is not closed
        create(library, file, Device.VHDX, NewDisk(size=MIB))
    assert open_handles() == before
    assert caught


def test_windows_own_reasons_become_our_kinds(library: Library, disk: VirtualDisk, tmp_path: Path) -> None:
    other = tmp_path / "other.vhdx"
    other.write_bytes(bytes(10000))
    with pytest.raises(FileNotFoundError):
        open_disk(library, str(tmp_path / "missing.vhdx"))
    with pytest.raises(FileExistsError):
        create(library, str(other), Device.VHDX, NewDisk(size=MIB))
    with pytest.raises(FormatError):
        open_disk(library, str(other))
    with pytest.raises(UnsupportedFeature, match="ERROR_VIRTDISK_PROVIDER_NOT_FOUND"):
        open_disk(library, disk.file, device=Device.VHD)
    with pytest.raises(ParentNotFound):
        create(library, str(tmp_path / "c.vhdx"), Device.VHDX, NewDisk(parent=str(tmp_path / "missing.vhdx")))
    with pytest.raises(WouldLoseData):
        resizing.resize(disk, 512)
    with pytest.raises(Error, match="ERROR_VHD_INVALID_TYPE"):
        information.parent_location(disk)


def test_a_mirror_is_used(disk: VirtualDisk, trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_PACE", "never")
    trace()
    told: list[tuple[int, int]] = []
    with mirroring.Mirror(disk, "D:\\b.vhdx", flags=MirrorFlag.EXISTING_FILE) as mirror:
        mirror.synchronise(lambda done, total: told.append((done, total)))
        mirror.use()
    assert told == [(1, 4), (2, 4), (2, 4), (4, 4)]
    assert trace() == [
        {"function": "MirrorVirtualDisk", "flags": 1, "Version": 1, "MirrorVirtualDiskPath": "D:\\b.vhdx"},
        {"function": "BreakMirrorVirtualDisk"},
    ]


def test_a_mirror_that_is_left_is_given_up(disk: VirtualDisk, trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_PACE", "never")
    before = open_handles()
    with mirroring.Mirror(disk, "D:\\b.vhdx") as mirror:
        mirror.synchronise()
    assert "BreakMirrorVirtualDisk" not in [call["function"] for call in trace()]
    assert open_handles() == before


@pytest.mark.parametrize("synchronise", [True, False])
def test_a_mirror_that_fails_is_an_error(
    disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch, synchronise: bool
) -> None:
    answers(monkeypatch, "MirrorVirtualDisk", "ERROR_DISK_FULL", ends=True)
    monkeypatch.setenv("STANDIN_PACE", "thread")
    with pytest.raises(OutOfSpace), mirroring.Mirror(disk, "D:\\b.vhdx") as mirror:
        while synchronise or not mirror._operation.ended(1000):
            mirror.synchronise()


def test_a_mirror_that_cannot_be_used_is_given_up(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_PACE", "never")
    answers(monkeypatch, "BreakMirrorVirtualDisk", "ERROR_VHD_INVALID_STATE")
    with (
        pytest.raises(Error, match="ERROR_VHD_INVALID_STATE"),
        mirroring.Mirror(disk, "D:\\b.vhdx") as mirror,
    ):
        mirror.use()


def test_changes_are_asked_for_until_the_end(disk: VirtualDisk, trace: Trace) -> None:
    trace()
    found = list(changes.changed_ranges(disk, "rctX:1", MIB // 2, 8 * MIB))
    assert found == [(number * MIB, 65536) for number in range(1, 9)]
    calls = trace()
    assert [call["offset"] for call in calls] == [MIB // 2, 4 * MIB, 7 * MIB]
    assert {call["offset"] + call["length"] for call in calls} == {8 * MIB + MIB // 2}
    assert {call["since"] for call in calls} == {"rctX:1"}
    assert {(call["flags"], call["count"]) for call in calls} == {(0, changes.BATCH)}


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_small_part_is_asked_for_once(disk: VirtualDisk, length: int) -> None:
    assert list(changes.changed_ranges(disk, "rctX:1", 0, length)) == ([(0, length)] if length else [])


def test_changes_that_are_not_known_are_an_error(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "QueryChangesVirtualDisk", "ERROR_VHD_MISSING_CHANGE_TRACKING_INFORMATION")
    with pytest.raises(Error, match="full backup"):
        list(changes.changed_ranges(disk, "rctX:1", 0, MIB))


def test_changes_that_lead_nowhere_end(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "QueryChangesVirtualDisk", "ERROR_HANDLE_EOF")
    with pytest.raises(Error, match="from offset 7 on"):
        list(changes.changed_ranges(disk, "rctX:1", 7, MIB))


def test_a_disk_is_attached_and_detached(disk: VirtualDisk, trace: Trace) -> None:
    trace()
    attaching.attach(disk, flags=AttachFlag.READ_ONLY | AttachFlag.NO_DRIVE_LETTER)
    assert information.is_loaded(disk)
    assert attaching.physical_path(disk) == "\\\\.\\PhysicalDrive7"
    attaching.detach(disk)
    first, *_, last = trace()
    assert first == {"function": "AttachVirtualDisk", "flags": 3, "Version": 1}
    assert last == {"function": "DetachVirtualDisk", "flags": 0, "provider flags": 0}
    with pytest.raises(OSError, match="ERROR_NOT_READY"):
        attaching.physical_path(disk)


def test_a_part_of_a_disk_is_attached(disk: VirtualDisk, trace: Trace) -> None:
    trace()
    attaching.attach(disk, part=(MIB, 5 << 40))
    assert trace() == [
        {
            "function": "AttachVirtualDisk", "flags": 0x80, "Version": 2, "RestrictedOffset": MIB,
            "RestrictedLength": 5 << 40,
        },
    ]  # fmt: skip


@pytest.mark.parametrize(("needed", "tries"), [(38, 1), (1024, 2), (60000, 2)])
def test_a_long_path_of_a_device_is_read(
    disk: VirtualDisk, trace: Trace, monkeypatch: pytest.MonkeyPatch, needed: int, tries: int
) -> None:
    attaching.attach(disk)
    monkeypatch.setenv("STANDIN_SIZE_GetVirtualDiskPhysicalPath", str(needed))
    trace()
    assert attaching.physical_path(disk) == "\\\\.\\PhysicalDrive7"
    assert len(trace()) == tries


def test_a_path_of_a_device_that_never_fits_is_an_error(disk: VirtualDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    attaching.attach(disk)
    monkeypatch.setenv("STANDIN_SIZE_GetVirtualDiskPhysicalPath", str(1 << 20))
    with pytest.raises(OSError, match="122"):
        attaching.physical_path(disk)


def test_a_closed_disk_says_so(library: Library, disk: VirtualDisk) -> None:
    before = open_handles()
    disk.close()
    disk.close()
    assert open_handles() == before - 1
    with pytest.raises(Error, match="it is closed"):
        information.sizes(disk)


def test_a_disk_that_is_dropped_is_closed(library: Library, disk: VirtualDisk) -> None:
    assert open_handles() == 1
    other = open_disk(library, disk.file)
    assert open_handles() == 2
    del other
    assert open_handles() == 1


def test_a_handle_that_windows_does_not_know_is_an_error(library: Library) -> None:
    with pytest.raises(OSError, match="6"):
        information.sizes(VirtualDisk(library, "a.vhdx", 0x7FFFFFF0))


def test_a_library_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFeature, match=r"missing\.dll: it cannot be loaded"):
        open_disk(Library(str(tmp_path / "missing.dll")), "a.vhdx")


def test_a_function_that_an_old_windows_lacks_is_told() -> None:
    kernel = Library("kernel32.dll")
    with pytest.raises(UnsupportedFeature, match=r"kernel32\.dll: it has no OpenVirtualDisk; this needs a newer"):
        open_disk(kernel, "a.vhdx")


def test_the_last_error_is_that_of_our_own_calls(library: Library) -> None:
    assert library.kernel("CloseHandle", 0x7FFFFFF0) == 0
    ctypes.WinDLL("kernel32").GetTickCount()  # type: ignore[attr-defined]
    assert last_error() == CODES["ERROR_INVALID_HANDLE"]
