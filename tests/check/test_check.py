"""What a check promises whatever the file: nothing wrong in good images, an answer for any bytes, no writing."""

import errno
import gzip
import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.check import vhd_images
from tests.check.catalogue import BAT, DATA, Start, check, checked_chain, child, codes, dirty, fixed, good, plain
from tests.format.raw import BAT_REGION, MIB
from tests.image import forge
from tests.image.forge import Forge
from tests.interop import golden
from tests.interop.tools import QEMU_IMG, needs_qemu, qemu_img
from tests.support.disks import counting_ids
from tests.support.memory import MemoryFileSystem
from tests.support.wrappers import Tally, watched
from vhdx.chain.parents import ParentPolicy
from vhdx.check import CODES, Finding, Severity, check_chain, check_storage
from vhdx.image.base import ImageFormat
from vhdx.storage.base import Access, Storage
from vhdx.storage.forwarding import ForwardingStorage, Instead
from vhdx.storage.local import LocalFileSystem
from vhdx.storage.transfer import pread

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
KNOWN = golden.manifest()


def flawed(inner: Storage, *, broken: range = range(0), size: int | None = None) -> ForwardingStorage:
    """A storage of which reads at some places fail, or which has become shorter than it says."""

    def read(pieces: Sequence[tuple[int, memoryview]]) -> None:
        for offset, buffer in pieces:
            if offset < broken.stop and offset + len(buffer) > broken.start:
                raise OSError(errno.EIO, "a bad sector", inner.name)
        inner.read(pieces)

    return ForwardingStorage(inner, Instead(read=read, size=None if size is None else lambda: size))


def checked(storage: Storage, *, deep: bool = False, format: ImageFormat | None = None) -> list[Finding]:
    return list(check_storage(storage, deep=deep, format=format))


@pytest.mark.parametrize(
    ("start", "expected"),
    [(plain, []), (child, []), (fixed, ["blocks-all-zero"]), (dirty, ["log-dirty"])],
    ids=["plain", "child", "fixed", "dirty"],
)
def test_good_images(start: Start, expected: list[str]) -> None:
    assert codes(check(good(start), deep=True)) == expected


FOUND_IN_FIXTURES = {
    "base": [],
    "middle": [],
    "leaf-with-log": ["log-dirty", "space-unused"],
    "qemu-dynamic": ["region-not-required", "region-not-required", "space-unused"],
    "qemu-fixed": ["region-not-required", "region-not-required", "bat-fixed-unallocated", "space-unused"],
}


@pytest.mark.parametrize("name", FOUND_IN_FIXTURES)
def test_fixtures(name: str) -> None:
    files = MemoryFileSystem()
    storage = files.create(name)
    storage.write([(0, gzip.decompress((FIXTURES / f"{name}.vhdx.gz").read_bytes()))])
    storage.close()
    assert codes(check(files, name, deep=True)) == FOUND_IN_FIXTURES[name]


@pytest.mark.skipif(not KNOWN, reason=f"no golden images in {golden.DIRECTORY} (VHDX_GOLDEN says where)")
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_what_windows_wrote(name: str, tmp_path: Path) -> None:
    storage = LocalFileSystem(tmp_path).open(golden.unpack(name, tmp_path), Access.READ)
    findings = checked(storage, deep=True)
    storage.close()
    assert codes(findings) == ["log-dirty"] * KNOWN[name]["dirty"] + ["metadata-stale-entries"]


WRONG_CHECKSUMS = ["vhd-footer-checksum", "vhd-header-checksum", "vhd-bitmap-beyond-disk"]
FOUND_IN_VHDS = {
    "dfvfs-ext2.vhd.gz": [],
    "dfvfs-fat-differential.vhd.gz": [],
    "dfvfs-image-differential.vhd.gz": [*WRONG_CHECKSUMS[:2], "vhd-locator-no-path", *WRONG_CHECKSUMS[2:]],
    "dfvfs-image.vhd.gz": WRONG_CHECKSUMS[:1],
    "qemu-d2v-zerofilled.vhd.bz2": ["blocks-all-zero", "vhd-table-padding"],
    "qemu-hyperv2012r2-dynamic.vhd.bz2": [],
}


@pytest.mark.parametrize("name", sorted(FOUND_IN_VHDS))
def test_vhds_that_others_wrote(name: str, tmp_path: Path) -> None:
    if not (golden.DIRECTORY / name).exists():
        pytest.skip(f"no {name} in {golden.DIRECTORY} (VHDX_GOLDEN says where)")
    storage = LocalFileSystem(tmp_path).open(golden.unpack(name, tmp_path), Access.READ)
    findings = checked(storage, deep=True)
    storage.close()
    assert codes(findings) == FOUND_IN_VHDS[name]


@needs_qemu
@pytest.mark.parametrize("options", ["subformat=dynamic", "subformat=fixed", "subformat=fixed,force_size=on"])
def test_vhds_that_qemu_creates(options: str, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"x" * 5_000_192 + bytes(20 * MIB))
    qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", options, tmp_path / "raw", tmp_path / "disk.vhd")
    storage = LocalFileSystem(tmp_path).open("disk.vhd", Access.READ)
    findings = checked(storage, deep=True)
    storage.close()
    assert set(codes(findings)) <= {"blocks-all-zero", "vhd-not-azure"}, [str(finding) for finding in findings]


@needs_qemu
@pytest.mark.parametrize("options", ["subformat=dynamic", "subformat=fixed", "subformat=dynamic,block_size=1048576"])
def test_what_qemu_creates(options: str, tmp_path: Path) -> None:
    assert QEMU_IMG
    (tmp_path / "raw").write_bytes(b"x" * 5_000_192 + bytes(20 * MIB))
    qemu_img("convert", "-f", "raw", "-O", "vhdx", "-o", options, tmp_path / "raw", tmp_path / "disk.vhdx")
    storage = LocalFileSystem(tmp_path).open("disk.vhdx", Access.READ)
    findings = checked(storage, deep=True)
    storage.close()
    assert not [str(finding) for finding in findings if finding.severity is Severity.ERROR]


def test_a_check_changes_nothing_and_closes_nothing() -> None:
    for start in (plain, child, dirty):
        files = good(start)
        before = files.snapshot()["disk.vhdx"].fingerprint()
        storage = files.open("disk.vhdx", Access.READ)
        assert codes(checked(storage, deep=True)) == codes(checked(storage, deep=True))
        assert storage.size()
        assert files.snapshot()["disk.vhdx"].fingerprint() == before


def test_files_that_refuse_what_they_may_refuse() -> None:
    for start in (plain, child, dirty):
        files = MemoryFileSystem(good(start).snapshot(), optional=False)
        assert codes(check(files, deep=True)) == codes(check(good(start), deep=True))


def test_the_caller_may_say_what_a_file_is() -> None:
    files = good(plain)
    Forge(files).write(0, b"PK\3\4")
    findings = checked(files.open("disk.vhdx", Access.READ), format=ImageFormat.VHDX)
    assert [(found.code, found.offset) for found in findings] == [("file-identifier", 0)]
    assert "there is a VHDX header" in str(check(files)[0])
    assert checked(files.open("disk.vhdx", Access.READ), format=ImageFormat.RAW) == []


def test_a_vhd_by_its_name_alone() -> None:
    storage = good(plain).open("disk.vhdx", Access.READ)
    assert codes(checked(storage, format=ImageFormat.VHD)) == ["vhd-footer-none"]


@pytest.mark.parametrize("start", [vhd_images.dynamic, vhd_images.differencing, vhd_images.mapped, vhd_images.fixed])
def test_good_vhds(start: Start) -> None:
    assert codes(check(good(start), deep=True)) == []


def test_a_vhd_of_tomorrow_by_the_clock_that_is_given() -> None:
    storage = good(vhd_images.dynamic).open("disk.vhdx", Access.READ)
    made, day = 946684800 + 1000, 86400
    assert list(check_storage(storage, now=made - day)) == []
    findings = list(check_storage(storage, now=made - day - 1))
    assert [(found.code, found.offset) for found in findings] == [("vhd-timestamp-future", storage.size() - 512 + 24)]
    assert "2000-01-01" in findings[0].message
    chain = check_chain(good(vhd_images.dynamic), "disk.vhdx", new_id=counting_ids(), now=made - day - 1)
    assert codes(list(chain)) == ["vhd-timestamp-future"]
    assert list(check_storage(storage, now=0)) == [], "a clock that was never set tells nothing"


CREATORS = [b"vpc ", b"vs  ", b"win ", b"qemu", b"qem2", b"d2v\0", b"d2v ", b"tap\0", b"wa\0\0", b"vbox"]


@pytest.mark.parametrize("creator", CREATORS)
def test_vhds_of_known_programs(creator: bytes) -> None:
    files = good(vhd_images.dynamic)
    vhd_images.change_footers(Forge(files), 28, creator)
    assert set(codes(check(files))) <= {"vhd-size-by-geometry"}


@pytest.mark.parametrize("shape", [(150, 4, 17), (10, 16, 63), (5, 32, 63), (65535, 16, 255)])
def test_a_geometry_may_round_down_its_own_way_or_say_nothing(shape: tuple[int, int, int]) -> None:
    files = good(vhd_images.dynamic)
    vhd_images.change_footers(Forge(files), 56, struct.pack(">HBB", *shape))
    assert check(files) == []


def test_a_map_of_full_blocks_of_an_old_tapdisk() -> None:
    files = good(vhd_images.mapped)
    signed = ~(0xA0 - 256) & 0xFFFFFFFF
    Forge(files).write(2048 + 20, struct.pack(">II", 0x10001, signed))
    assert check(files) == []
    Forge(files).write(3072, bytes(512))
    assert codes(check(files)) == ["vhd-batmap-full"]


@pytest.mark.parametrize(("place", "data"), [(28, b"win "), (32, bytes(3) + b"\1")], ids=["windows", "first tapdisk"])
def test_what_looks_like_a_map_in_files_that_have_none(place: int, data: bytes) -> None:
    files = good(vhd_images.mapped)
    vhd_images.change_footers(Forge(files), place, data)
    Forge(files).write(2560, b"\xff" * 3)
    assert check(files) == []


def test_full_blocks_that_have_no_place_are_told() -> None:
    """vhd-util refuses such a file."""
    files = good(vhd_images.mapped)
    Forge(files).write(1536, b"\xff\xff\xff\xff")
    found = codes(check(files))
    assert found.count("vhd-batmap-full") == 1
    assert set(found) == {"vhd-batmap-full", "space-unused"}


def test_what_aligns_blocks_is_not_unused() -> None:
    storage = good(vhd_images.dynamic).open("disk.vhdx", Access.READ)
    content = pread(storage, 0, storage.size())
    files, last = MemoryFileSystem(), 2048 + 512 + vhd_images.BLOCK
    apart = files.create("disk.vhdx")
    # All but one sector of a block and its bitmap between the two blocks, and the same before the footer.
    gap = bytes(vhd_images.BLOCK)
    apart.write([(0, content[:last] + gap + content[last:-512] + gap + content[-512:])])
    apart.write([(1536 + 8, struct.pack(">I", (last + len(gap)) // 512))])
    apart.close()
    assert check(files) == []


def test_a_vhd_has_blocks_that_cannot_be_read() -> None:
    storage = flawed(good(vhd_images.dynamic).open("disk.vhdx", Access.READ), broken=range(3 * MIB, 3 * MIB + 1))
    assert checked(storage) == []
    assert codes(checked(storage, deep=True)) == ["block-unreadable"]


@pytest.mark.parametrize("size", [0, 1, 7, 511, 512, 65536, MIB - 1, MIB, MIB + 1, 3 * MIB])
def test_a_file_of_nothing(size: int) -> None:
    files = MemoryFileSystem()
    storage = files.create("disk.vhdx")
    storage.truncate(size)
    assert codes(checked(storage)) == ["file-unrecognised"]
    assert Severity.ERROR in [finding.severity for finding in checked(storage, format=ImageFormat.VHDX)]


def test_a_file_that_becomes_shorter_meanwhile() -> None:
    storage = good(plain).open("disk.vhdx", Access.READ)
    size = storage.size()
    shrunk = good(plain)
    Forge(shrunk).truncate(3 * MIB)
    findings = checked(flawed(shrunk.open("disk.vhdx", Access.READ), size=size))
    assert codes(findings)[-1] == "file-changing"


def test_blocks_that_cannot_be_read() -> None:
    storage = flawed(good(plain).open("disk.vhdx", Access.READ), broken=range(5 * MIB + 100, 5 * MIB + 600))
    assert checked(storage) == []
    findings = checked(storage, deep=True)
    assert [(found.code, found.severity, found.offset) for found in findings] == [
        ("block-unreadable", Severity.ERROR, 5 * MIB)
    ]
    assert "a bad sector" in findings[0].message


def test_structures_that_cannot_be_read_are_for_the_caller() -> None:
    storage = flawed(good(plain).open("disk.vhdx", Access.READ), broken=range(BAT, BAT + 10))
    with pytest.raises(OSError, match="bad sector"):
        checked(storage)


def test_a_thousand_lies_are_not_all_told() -> None:
    files = MemoryFileSystem()
    forge.create(files, 2000 * MIB)
    image = Forge(files)
    image.write(image.bat, b"\4\0\0\0\0\0\0\0" * 1500)
    findings = check(files)
    assert codes(findings) == ["bat-state"] * 100 + ["findings-left-out"]
    assert "1400 more" in findings[-1].message


def test_a_table_of_rubbish_is_given_up() -> None:
    files = MemoryFileSystem()
    forge.create(files, 200_000 * MIB)
    image = Forge(files)
    image.write(image.bat, b"\4\0\0\0\0\0\0\0" * 200_000)
    findings = check(files)
    assert codes(findings).count("bat-state") == 100
    assert codes(findings)[-2:] == ["findings-left-out", "check-given-up"]


def test_a_large_table_takes_little_memory() -> None:
    files = MemoryFileSystem()
    forge.create(files, 64 << 40)
    image = Forge(files)
    assert image.region(BAT_REGION)[1] == 513 * MIB
    places = [image.region(BAT_REGION)[0] + at * MIB for at in range(0, 513, 40)]
    for number, place in enumerate(places):
        image.write(place, (image.size + number * MIB | 6).to_bytes(8, "little"))
    image.truncate(image.size + len(places) * MIB)
    tracemalloc.start()
    findings = check(files)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes(findings) == []
    assert peak < 48 * MIB


def test_every_block_of_a_hostile_table_is_read_once() -> None:
    files = MemoryFileSystem()
    forge.create(files, 1000 * MIB)
    image = Forge(files)
    image.truncate(image.size + MIB)
    image.write(image.bat, (image.size - MIB | 6).to_bytes(8, "little") * 1000)
    tally = Tally()
    findings = checked(watched(files.open("disk.vhdx", Access.READ), tally), deep=True)
    assert codes(findings) == ["bat-overlap"] * 100 + ["findings-left-out"]
    assert tally.bytes["read"] < 8 * MIB


def test_a_good_chain() -> None:
    findings = checked_chain(good(child))
    assert codes(findings) == ["chain-link", "chain-block-size"]
    assert {finding.file for finding in findings} == {"memory:/disk.vhdx"}
    assert "memory:/base.vhdx" in findings[0].message


def test_a_good_chain_of_vhds() -> None:
    findings = checked_chain(good(vhd_images.chained))
    assert codes(findings) == ["chain-link"], "a fixed disk has no blocks that could be of another size"
    assert findings[0].message.endswith("verified by the recorded id, found by relative_path")


def test_a_parent_that_only_its_name_leads_to() -> None:
    files = good(vhd_images.chained)
    vhd_images.change_header(Forge(files), 576, bytes(24))
    findings = checked_chain(files)
    assert codes(findings) == ["chain-link"]
    assert findings[0].message.endswith("found by the file name in absolute_win32_path")


def test_a_chain_of_too_many_layers() -> None:
    policy = ParentPolicy(most_layers=1)
    findings = list(check_chain(good(child), "disk.vhdx", new_id=counting_ids(), policy=policy))
    assert codes(findings) == ["chain-too-long"]
    assert findings[0].file == "memory:/base.vhdx"


def test_a_chain_without_its_leaf() -> None:
    with pytest.raises(FileNotFoundError):
        checked_chain(MemoryFileSystem())


def test_the_table_of_codes_reads_well() -> None:
    for code, rule in CODES.items():
        assert code == code.lower()
        assert rule.meaning.endswith(".")
        assert rule.structure
        assert rule.section == "" or rule.section[0] == "2" or not rule.section[0].isdigit()


def test_what_a_finding_looks_like() -> None:
    files = good(plain)
    Forge(files).set_entry(5, DATA | 5)
    assert str(check(files)[0]) == (
        "memory:/disk.vhdx: error: BAT entry at offset 3145768: block 5 (entry 5, 0x0000000000400005): state 5 is "
        "undefined (unmapped in drafts of the format) (MS-VHDX 2.5.1.1) [bat-state]"
    )


def test_a_child_that_records_no_path_is_said_to() -> None:
    files = vhd_images.chained()
    vhd_images.change_header(Forge(files, "disk.vhdx"), 64, bytes(512 + 192))
    findings = check_chain(files, "disk.vhdx", new_id=counting_ids())
    (message,) = (one.message for one in findings if one.code == "chain-parent-missing")
    assert message.startswith("no path to the parent is recorded;")
