"""The .info document: the retired driver's, and nothing believed that it says wrongly."""

import json
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs_driver.volumes import info
from smbfs_driver.volumes.info import Info
from smbfs_driver.volumes.names import VolumeNames
from tests.driver.kits import OTHER, VOLUME, A, B
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error

NAMES = VolumeNames(VOLUME)
OF_A, OF_B = NAMES.snapshot(A), NAMES.snapshot(B)


def test_the_document_reads_as_the_retired_driver_wrote_it() -> None:
    document = Info(NAMES.base).with_snapshot(A, OF_A).with_snapshot(B, OF_B)
    assert document.dump().decode() == f'{{\n "{A}": "{OF_A}",\n "{B}": "{OF_B}",\n "active": "{OF_B}"\n}}'
    assert info.parse(document.dump().replace(b"\n", b"\r\n"), NAMES, "here") == document


def test_the_document_stays_after_the_last_snapshot() -> None:
    document = Info(NAMES.base).with_snapshot(A, OF_A).without_snapshot(A, NAMES.base)
    assert json.loads(document.dump()) == {"active": NAMES.base}


def test_no_document_means_no_snapshots() -> None:
    files = MemoryFileSystem()
    assert info.read(files, NAMES) is None
    assert info.load(files, NAMES) == Info(NAMES.base)


def test_a_document_replaces_the_one_before() -> None:
    files = MemoryFileSystem()
    for document in (Info(OF_A, {A: OF_A}), Info(NAMES.base)):
        info.write(files, NAMES, document, "0a1b2c3d")
        assert info.read(files, NAMES) == document
        assert files.list("") == [NAMES.info]


HOSTILE: dict[str, object] = {
    "another volume's file": {"active": f"{OTHER}.vhdx"},
    "another format's file": {"active": f"{VOLUME}.vhd"},
    "a path": {"active": f"../{VOLUME}.vhdx"},
    "a path with backslashes": {"active": f"..\\{VOLUME}.vhdx"},
    "itself": {"active": NAMES.info},
    "a temporary": {"active": f"{NAMES.base}.0a1b2c3d.tmp"},
    "no active file": {A: OF_A},
    "a number": {"active": 1},
    "a list": [NAMES.base],
    "text": "active",
    "nothing": None,
    "an unknown key": {"active": OF_A, "x": OF_A},
    "a key in capitals": {"active": OF_A, str(OTHER[7:]).upper() + "A": OF_A},
    "the base as a snapshot's file": {"active": NAMES.base, A: NAMES.base},
    "two snapshots in one file": {"active": OF_A, A: OF_A, B: OF_A},
    "a nested object": {"active": {"active": NAMES.base}},
    "a name that is no text": {"active": "\ud800"},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_document_that_cannot_be_true_is_refused(case: str) -> None:
    with pytest.raises(Error, match=r"^here: "):
        info.parse(json.dumps(HOSTILE[case]).encode(), NAMES, "here")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        f'{{"active": "{OF_A}", "active": "{NAMES.base}"}}'.encode(),
        b'{"active": NaN}',
    ],
    ids=["empty", "cut", "no text", "deep", "a key twice", "no JSON"],
)
def test_a_broken_document_is_refused(text: bytes) -> None:
    with pytest.raises(Error, match=r"^here: "):
        info.parse(text, NAMES, "here")


def test_a_huge_document_is_not_read() -> None:
    files = MemoryFileSystem()
    with closing(files.create(NAMES.info)) as storage:
        storage.truncate(1 << 40)
    with pytest.raises(Error, match=NAMES.info):
        info.read(files, NAMES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([NAMES.base, OF_A, OF_B]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["active", A, B, "x"]), inner),
)


@given(JSON)
def test_any_document_is_a_value_or_an_error(document: object) -> None:
    try:
        found = info.parse(json.dumps(document).encode(), NAMES, "here")
    except Error:
        return
    assert found.document() == document
    assert all(map(NAMES.is_image, found.document().values()))
