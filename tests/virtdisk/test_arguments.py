"""What is passed to Windows: texts end, numbers fit, and structures hold what was asked for. No Windows is needed."""

import ctypes
import gc
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.virtdisk.facts import FACTS
from vhdx.errors import Error
from vhdx.virtdisk import attaching, changes, merging, resizing, settings
from vhdx.virtdisk.constants import AccessMask, Device, OpenFlag
from vhdx.virtdisk.creating import NewDisk, create_parameters
from vhdx.virtdisk.disk import VirtualDisk
from vhdx.virtdisk.library import Library
from vhdx.virtdisk.opening import ByMask, ByPurpose, open_chain, open_parameters
from vhdx.virtdisk.text import narrow, wide

ONE, TWO, THREE = (UUID(int=number * 0x0123456789ABCDEF) for number in (1, 3, 5))


def member(structure: Any, name: str) -> bytes:
    """The bytes of a member, found by Microsoft's metadata and not by ctypes."""
    offset, size, _ = FACTS["structures"][type(structure).__name__]["members"][name]
    return bytes(structure)[offset : offset + size]


def number(structure: Any, name: str) -> int:
    return int.from_bytes(member(structure, name), "little")


def text(structure: Any, name: str) -> str:
    address = number(structure, name)
    units = []
    while unit := ctypes.c_uint16.from_address(address + 2 * len(units)).value:
        units.append(unit)
    return b"".join(one.to_bytes(2, "little") for one in units).decode("utf-16-le", "surrogatepass")


def test_a_new_disk_in_full() -> None:
    new = NewDisk(
        size=5 << 40, block_size=32 << 20, sector_size=4096, physical_sector_size=4096, identifier=ONE,
        parent="C:\\disks\\Grün 😀.vhdx", parent_device=Device.VHDX, parent_flags=OpenFlag.CACHED_IO,
        source="\\\\.\\PhysicalDrive3", source_device=Device.VHD, resiliency=TWO,
    )  # fmt: skip
    built = create_parameters(new)
    gc.collect()  # the texts are kept by the structure alone
    assert number(built, "Version") == FACTS["enumerations"]["CREATE_VIRTUAL_DISK_VERSION"][
        "CREATE_VIRTUAL_DISK_VERSION_2"
    ]  # fmt: skip
    assert number(built, "Version2.MaximumSize") == 5 << 40
    assert number(built, "Version2.BlockSizeInBytes") == 32 << 20
    assert number(built, "Version2.SectorSizeInBytes") == 4096
    assert number(built, "Version2.PhysicalSectorSizeInBytes") == 4096
    assert member(built, "Version2.UniqueId") == ONE.bytes_le
    assert text(built, "Version2.ParentPath") == "C:\\disks\\Grün 😀.vhdx"
    assert text(built, "Version2.SourcePath") == "\\\\.\\PhysicalDrive3"
    assert number(built, "Version2.OpenFlags") == FACTS["enumerations"]["OPEN_VIRTUAL_DISK_FLAG"][
        "OPEN_VIRTUAL_DISK_FLAG_CACHED_IO"
    ]  # fmt: skip
    assert number(built, "Version2.ParentVirtualStorageType.DeviceId") == 3
    assert number(built, "Version2.SourceVirtualStorageType.DeviceId") == 2
    vendor = UUID(FACTS["constants"]["VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT"])
    assert member(built, "Version2.ParentVirtualStorageType.VendorId") == vendor.bytes_le
    assert member(built, "Version2.ResiliencyGuid") == TWO.bytes_le


def test_what_is_left_to_windows_is_zero() -> None:
    built = create_parameters(NewDisk())
    assert bytes(built)[4:] == bytes(ctypes.sizeof(built) - 4)


def test_opening_by_a_mask_is_version_1() -> None:
    built = open_parameters(ByMask(AccessMask.METAOPS, rw_depth=7))
    assert number(built, "Version") == 1
    assert number(built, "Version1.RWDepth") == 7


@pytest.mark.parametrize("snapshot", [None, THREE])
def test_opening_by_purpose_is_version_2_or_3_with_a_snapshot(snapshot: UUID | None) -> None:
    built = open_parameters(ByPurpose(read_only=True, resiliency=ONE, snapshot=snapshot))
    version = 2 if snapshot is None else 3
    assert number(built, "Version") == version
    assert number(built, f"Version{version}.ReadOnly") == 1
    assert number(built, f"Version{version}.GetInfoOnly") == 0
    assert member(built, f"Version{version}.ResiliencyGuid") == ONE.bytes_le
    assert member(built, "Version3.SnapshotId") == (bytes(16) if snapshot is None else THREE.bytes_le)


def unopened() -> VirtualDisk:
    """A disk that no call may reach: without Windows there is none."""
    disk = object.__new__(VirtualDisk)
    disk.library, disk.file = Library(), "a.vhdx"
    return disk


TOO_LARGE: dict[str, Callable[[int], Any]] = {
    "NewDisk.size": lambda number: create_parameters(NewDisk(size=number << 32)),
    "NewDisk.block_size": lambda number: create_parameters(NewDisk(block_size=number)),
    "NewDisk.sector_size": lambda number: create_parameters(NewDisk(sector_size=number)),
    "NewDisk.physical_sector_size": lambda number: create_parameters(NewDisk(physical_sector_size=number)),
    "ByMask.rw_depth": lambda number: open_parameters(ByMask(rw_depth=number)),
    "merge": lambda number: merging.merge(unopened(), number),
    "merge_layers": lambda number: merging.merge_layers(unopened(), 1, number),
    "resize": lambda number: resizing.resize(unopened(), number << 32),
    "expand": lambda number: resizing.expand(unopened(), number << 32),
    "set_physical_sector_size": lambda number: settings.set_physical_sector_size(unopened(), number),
    "set_parent_path_with_depth": lambda number: settings.set_parent_path_with_depth(unopened(), number, "a"),
    "attach, offset": lambda number: attaching.attach(unopened(), part=(number << 32, 1)),
    "attach, length": lambda number: attaching.attach(unopened(), part=(1, number << 32)),
    "changed_ranges, offset": lambda number: list(changes.changed_ranges(unopened(), "id", number << 32, 0)),
    "changed_ranges, length": lambda number: list(changes.changed_ranges(unopened(), "id", 0, number << 32)),
}


@pytest.mark.parametrize("call", TOO_LARGE)
@pytest.mark.parametrize("wrong", [1 << 32, -1])
def test_a_number_that_does_not_fit_is_refused_and_not_cut_off(call: str, wrong: int) -> None:
    with pytest.raises(Error, match=rf"is {wrong}|is {wrong << 32}|target {wrong}"):
        TOO_LARGE[call](wrong)


WITH_TEXT: dict[str, Callable[[str], Any]] = {
    "parent": lambda text: create_parameters(NewDisk(parent=text)),
    "source": lambda text: create_parameters(NewDisk(source=text)),
    "set_parent_path": lambda text: settings.set_parent_path(unopened(), text),
    "set_parent_path_with_depth": lambda text: settings.set_parent_path_with_depth(unopened(), 1, text),
    "set_parent_locator": lambda text: settings.set_parent_locator(unopened(), ONE, text),
    "changed_ranges": lambda text: list(changes.changed_ranges(unopened(), text, 0, 1)),
    "open_chain": lambda text: open_chain(Library(), [text]),
}


@pytest.mark.parametrize("call", WITH_TEXT)
def test_a_text_that_windows_would_cut_off_is_refused(call: str) -> None:
    with pytest.raises(Error, match="zero character"):
        WITH_TEXT[call]("C:\\a.vhdx\0.txt")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: merging.merge(unopened(), 0), "at least one layer"),
        (lambda: merging.merge_layers(unopened(), 2, 2), "deeper"),
        (lambda: merging.merge_layers(unopened(), 0, 2), "first layer is 1"),
        (lambda: resizing.resize(unopened(), 0), "size is 0"),
        (lambda: open_chain(Library(), []), "paths is empty"),
        (lambda: next(changes.changed_ranges(unopened(), "x" * 257, 0, 1)), "257 characters"),
    ],
)
def test_what_makes_no_sense_never_reaches_windows(call: Callable[[], Any], reason: str) -> None:
    with pytest.raises(Error, match=reason):
        call()


@pytest.mark.parametrize("said", ["", "a", "Grün", "😀", "\udc80 alone", "C:\\" + "x" * 4000])
def test_a_text_goes_there_and_back(said: str) -> None:
    encoded = bytes(wide("text", said))
    assert encoded.endswith(b"\0\0")
    assert narrow(encoded) == ((said,) if said else ())


@pytest.mark.parametrize(
    ("encoded", "texts"),
    [
        ("a\0b\0\0", ("a", "b")),
        ("a\0b\0\0left over", ("a", "b")),
        ("a\0b", ("a", "b")),
        ("a", ("a",)),
        ("\0a\0\0", ()),
        ("", ()),
    ],
)
def test_a_list_of_texts_ends_with_an_empty_one_or_with_the_buffer(encoded: str, texts: tuple[str, ...]) -> None:
    assert narrow(encoded.encode("utf-16-le")) == texts
    assert narrow(encoded.encode("utf-16-le") + b"\x61") == texts  # half a character is none
