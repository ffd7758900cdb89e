"""Names of files: exactly the retired driver's, and read back as what they are."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs_driver.volumes.names import DiskFormat, FileKind, VolumeNames, fault_of, may_be_related, parse
from tests.driver.kits import VOLUME, A
from vhdx.errors import Error
from vhdx.storage.building import temporary_name

ALPHABET = "aZ0_-."
UUIDS = st.uuids().map(str)
VOLUMES = st.one_of(UUIDS.map("volume-{}".format), st.text(ALPHABET, min_size=1, max_size=20))
FORMATS = st.sampled_from(DiskFormat)
TOKENS = st.text("0123456789abcdef", min_size=8, max_size=8)
PIECES = st.sampled_from(
    ["volume-", VOLUME, A, ".", ".vhd", ".vhdx", ".info", ".intent", ".tmp", ".0a1b2c3d", "x", "/"]
)


def is_volume(name: str) -> bool:
    return fault_of(name) is None


def test_names_are_those_of_the_retired_driver() -> None:
    names = VolumeNames(VOLUME)
    assert names.base == f"{VOLUME}.vhdx"
    assert names.snapshot(A) == f"{VOLUME}.{A}.vhdx"
    assert names.info == f"{VOLUME}.vhdx.info"
    assert VolumeNames(VOLUME, DiskFormat.VHD).snapshot(A) == f"{VOLUME}.{A}.vhd"


@given(VOLUMES, FORMATS, UUIDS, TOKENS)
def test_every_name_that_is_made_is_read_back(volume: str, disk_format: DiskFormat, snapshot: str, token: str) -> None:
    try:
        names = VolumeNames(volume, disk_format)
    except Error:
        return
    made = {
        names.base: FileKind.BASE,
        names.snapshot(snapshot): FileKind.SNAPSHOT,
        names.info: FileKind.INFO,
        names.intent: FileKind.INTENT,
        temporary_name(names.base, token): FileKind.TEMPORARY,
        temporary_name(names.snapshot(snapshot), token): FileKind.TEMPORARY,
        temporary_name(names.info, token): FileKind.TEMPORARY,
    }
    assert {file: names.kind(file) for file in made} == made


@given(st.lists(PIECES, max_size=7).map("".join))
def test_what_is_read_is_what_would_be_made(file: str) -> None:
    found = parse(file)
    if found is None:
        return
    names, rest = found.names, file.removeprefix(found.names.volume)
    match found.kind:
        case FileKind.BASE:
            assert file == names.base
        case FileKind.INFO:
            assert file == names.info
        case FileKind.INTENT:
            assert file == names.intent
        case FileKind.SNAPSHOT:
            assert file == names.snapshot(rest.split(".")[1])
        case FileKind.TEMPORARY:
            final, token, _ = file.rsplit(".", 2)
            assert file == temporary_name(final, token)
            assert names.kind(final) in (FileKind.BASE, FileKind.SNAPSHOT, FileKind.INFO)


@pytest.mark.parametrize(
    "volume",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\0b",
        ".hidden",
        "a..b",
        "a.",
        "a ",
        "a\nb",
        "-rf",
        "a:b",
        "ä",
        "a.vhdx",
        "A.VHD",
        "a.info",
        "a.intent",
        "a.tmp",
        f"a.{A}",
        f"a.{A.upper()}",
        "x" * 129,
    ],
)
def test_what_is_not_safe_as_a_name_is_refused(volume: str) -> None:
    with pytest.raises(Error, match="invalid volume name"):
        VolumeNames(volume)


@pytest.mark.parametrize("snapshot", ["", "x", "..", A.replace("-", ""), "{" + A + "}", f"{A}/", "A" + A[1:].upper()])
def test_what_is_no_uuid_is_no_snapshot(snapshot: str) -> None:
    with pytest.raises(Error, match="snapshot id"):
        VolumeNames(VOLUME).snapshot(snapshot)


@pytest.mark.parametrize(
    "file",
    [
        f"{VOLUME}.vhdx.bak",
        f"{VOLUME}.vhdx.info.intent",
        f"{VOLUME}.{A}.vhdx.info",
        f"{VOLUME}.VHDX",
        "readme.txt",
        f"{VOLUME}.{A}.{A}.vhdx",
        f"{VOLUME}.vhdx.intent.0a1b2c3d.tmp",
        f"{VOLUME}.vhdx.0a1b2c3d.0a1b2c3d.tmp",
        f"{VOLUME}.vhdx.0A1B2C3D.tmp",
        f"{VOLUME}.vhdx.tmp",
        f"{VOLUME}.info",
        ".vhdx",
        f"../{VOLUME}.vhdx",
    ],
)
def test_other_files_are_nobodys(file: str) -> None:
    assert parse(file) is None


@given(VOLUMES.filter(is_volume), FORMATS, UUIDS)
def test_an_image_is_known_in_other_capitals(volume: str, disk_format: DiskFormat, snapshot: str) -> None:
    names = VolumeNames(volume, disk_format)
    for own in (names.base, names.snapshot(snapshot)):
        assert {names.spelled(other) for other in (own, own.upper(), own.swapcase())} == {own}
    for other in (names.info, names.intent, f"x{names.base}", f"{names.base}x", names.base.replace(".vhd", ".raw")):
        assert names.spelled(other) is None


def test_only_files_of_other_volumes_cannot_be_related() -> None:
    base, other = VolumeNames(f"volume-{UUID(int=1)}"), VolumeNames(f"volume-{UUID(int=2)}")
    snapshot = str(UUID(int=3))
    assert may_be_related(base.base, base.snapshot(snapshot))
    assert may_be_related(base.base, "somebody-elses.vhdx")
    assert may_be_related("somebody-elses.vhdx", other.base)
    assert not may_be_related(base.base, other.base)
    assert not may_be_related(base.base, other.snapshot(snapshot))


@pytest.mark.parametrize("file", ["other.vhd", "other.VHD", "other.avhd"])
def test_what_is_named_as_another_format_cannot_be_related(file: str) -> None:
    for image in ("base.vhdx", "base.AVHDX", VolumeNames(f"volume-{UUID(int=1)}").base):
        assert not may_be_related(image, file)
        assert not may_be_related(file, image)
        assert may_be_related(image, "other.vhdx")
        assert may_be_related(image, "other.bin")
