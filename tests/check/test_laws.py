"""Whatever the engine writes is without fault; whatever bytes there are, a check comes to its end."""

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.check import vhd_images
from tests.check.catalogue import checked_chain as chain_findings
from tests.check.catalogue import child, codes, dirty, good, plain
from tests.format.raw import MIB, PAGE, sealed
from tests.image.forge import HEADERS, REGION_TABLES, Forge, writer
from tests.support.choice import examples
from tests.support.disks import Disk, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from vhdx.check import CODES, Finding, Severity, check_storage
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.image.open import open_image
from vhdx.storage.base import Access
from vhdx.verbs.engine import NativeEngine

STARTS = {start.__name__: start for start in (plain, child, dirty)}
LOG, METADATA, BAT = MIB, 2 * MIB, 3 * MIB
HARMLESS = {"chain-link", "chain-block-size", "chain-siblings", "chain-child-larger", "chain-child-smaller"}
FROM_TRIMS = {"bat-undefined", "space-unused", "bitmap-empty", "bitmap-full", "blocks-fragmented", "blocks-all-zero"}


def step(disk: Disk, rng: random.Random) -> None:
    """One thing that happens to a disk."""
    offset = rng.randrange(0, disk.size - 4096) // 512 * 512
    length = min(rng.choice([512, 4096, 70_000, MIB, 3 * MIB]), disk.size - offset) // 512 * 512
    actions: list[Callable[[], None]] = [
        lambda: disk.write(offset, pattern(rng.randrange(99), length)),
        lambda: disk.write(offset, pattern(rng.randrange(99), length)),
        lambda: disk.zero(offset, length),
        lambda: disk.discard(offset, length),
        lambda: disk.snapshot() if len(disk.paths) < 4 else disk.merge(0, rng.randrange(1, len(disk.paths))),
        lambda: disk.resize(rng.choice([6, 9, 13]) * MIB + rng.choice([0, 512, 4096])),
    ]
    rng.choice(actions)()
    if rng.random() < 0.3:
        disk.open.flush()


@pytest.mark.parametrize("seed", range(12))
def test_what_the_engine_writes_is_without_fault(seed: int) -> None:
    rng = random.Random(seed)
    files = MemoryFileSystem()
    disk = Disk.create(files, 8 * MIB, block_size=rng.choice([1, 2]) * MIB)
    for _ in range(12):
        step(disk, rng)
    crashed = MemoryFileSystem(files.snapshot())
    disk.close()
    findings = chain_findings(files, disk.paths[0])
    assert set(codes(findings)) <= HARMLESS | FROM_TRIMS, [str(finding) for finding in findings]
    after_crash = chain_findings(crashed, disk.paths[0])
    assert not [str(finding) for finding in after_crash if finding.severity is Severity.ERROR]


SPOTS = [
    *((at, PAGE) for at in HEADERS),
    *((at, 65536) for at in REGION_TABLES),
    (0, 0),
    (LOG, 0),
    (METADATA, 0),
    (METADATA + 65536, 0),
    (BAT, 0),
    (BAT + 2048 * 8, 0),
    (6 * MIB, 0),
]
NUMBERS = [0, 1, 5, 6, 7, MIB, 3 * MIB, 4 * MIB | 6, 1 << 31, 1 << 40, 1 << 62, (1 << 64) - MIB, (1 << 64) - 1]
absurd = st.sampled_from(NUMBERS)
contents = st.one_of(st.binary(min_size=1, max_size=40), absurd.map(lambda value: value.to_bytes(8, "little")))
places = st.one_of(st.integers(0, 40).map(lambda field: field * 4), st.integers(0, 4000))
lies = st.tuples(st.sampled_from(SPOTS), places, contents)


def tell(image: Forge, spot: tuple[int, int], place: int, data: bytes, *, seal: bool) -> None:
    offset, length = spot
    if length and seal:
        image.change_sealed(offset, length, place, data[: length - place])
        return
    image.write(offset + place, data)
    if seal and offset == LOG:
        reseal_entries(image)


def reseal_entries(image: Forge) -> None:
    """Repair the checksum of every log entry, whatever length it claims."""
    for start in range(LOG, LOG + 16 * PAGE, PAGE):
        length = image.number(start + 8, 4)
        if image.read(start, 4) == b"loge" and PAGE <= length <= LOG + MIB - start:
            image.write(start, sealed(image.read(start, length)))


def inspected(image: Forge) -> list[Finding]:
    storage = image.files.open(image.path, Access.READ)
    try:
        return list(check_storage(storage, deep=True))
    finally:
        storage.close()


@pytest.mark.parametrize("start", STARTS)
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(lies, min_size=1, max_size=4), st.booleans())
def test_any_bytes_have_an_answer(start: str, told: list[tuple[tuple[int, int], int, bytes]], seal: bool) -> None:
    image = Forge(good(STARTS[start]))
    for spot, place, data in told:
        tell(image, spot, place, data, seal=seal)
    before = image.files.snapshot()["disk.vhdx"].fingerprint()  # type: ignore[attr-defined]
    findings = inspected(image)
    assert len(findings) <= 101 * len(CODES)
    assert all(finding.message for finding in findings)
    assert image.files.snapshot()["disk.vhdx"].fingerprint() == before  # type: ignore[attr-defined]
    chain_findings(image.files, "disk.vhdx")  # type: ignore[arg-type]
    if Severity.ERROR not in [finding.severity for finding in findings] and "header-no-log" not in codes(findings):
        opens_and_changes(image)


def opens_and_changes(image: Forge) -> None:
    """Nothing that a check lets pass makes the engine refuse an image."""
    opened = writer(image.files)
    list(opened.extents(0, opened.virtual_size))
    opened.zero(0, opened.logical_sector_size)
    opened.close()
    assert Severity.ERROR not in [finding.severity for finding in inspected(image)]


@pytest.mark.parametrize("start", STARTS)
@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 12 * 8), st.integers(0, 8))
def test_a_file_cut_anywhere(start: str, eighths: int, extra: int) -> None:
    image = Forge(good(STARTS[start]))
    size = image.size
    image.truncate(min(eighths * (MIB // 8) + extra, size))
    findings = inspected(image)
    if image.size < size:
        assert Severity.ERROR in [finding.severity for finding in findings]


MADE = (vhd_images.dynamic, vhd_images.differencing, vhd_images.mapped, vhd_images.fixed)
VHDS = {start.__name__: start for start in MADE}
words = st.one_of(st.binary(min_size=1, max_size=40), absurd.map(lambda value: value.to_bytes(8, "big")))
vhd_spots = st.sampled_from([0, 512, 512 + 576, 1536, 2048, 2560, 3072, -512])


@pytest.mark.parametrize("start", VHDS)
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(vhd_spots, st.integers(0, 100), words), min_size=1, max_size=3), st.booleans())
def test_any_vhd_has_an_answer(start: str, told: list[tuple[int, int, bytes]], seal: bool) -> None:
    image = Forge(good(VHDS[start]))
    for spot, place, data in told:
        image.write((image.size if spot < 0 else 0) + spot + place, data)
    if seal:
        vhd_images.change_footers(image, 0, b"")
        vhd_images.change_header(image, 0, b"")
    findings = inspected(image)
    assert len(findings) <= 101 * len(CODES)
    assert findings == inspected(image)
    if "vhd-saved-state" not in codes(findings) and not errors(findings):
        vhd_opens_and_changes(image)


def vhd_opens_and_changes(image: Forge) -> None:
    """Nothing that a check lets pass makes the engine refuse an image."""
    opened = open_image(image.files.open(image.path, Access.WRITE), new_id=counting_ids(), format=ImageFormat.VHD)
    list(opened.extents(0, opened.virtual_size))
    opened.zero(0, opened.logical_sector_size)
    opened.close()
    assert Severity.ERROR not in [finding.severity for finding in inspected(image)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fixed", [False, True], ids=["dynamic", "fixed"])
def test_vhds_that_the_engine_writes_are_without_fault(seed: int, *, fixed: bool) -> None:
    rng = random.Random(seed)
    files = MemoryFileSystem()
    engine = NativeEngine(new_id=counting_ids())
    engine.create(files, "0.vhd", 9 * MIB, CreateOptions(format=ImageFormat.VHD, fixed=fixed))
    for number in range(3):
        with engine.open_chain(files, f"{number}.vhd", writable=1) as chain:
            for _ in range(5):
                offset = rng.randrange(8 * MIB) // 512 * 512
                chain.write(offset, pattern(rng.randrange(99), rng.choice([512, 4096, 70_144, MIB])))
                chain.zero(rng.randrange(8 * MIB) // 512 * 512, rng.choice([512, MIB]))
            crashed = MemoryFileSystem(files.snapshot())
        assert not errors(chain_findings(crashed, f"{number}.vhd"))
        findings = chain_findings(files, f"{number}.vhd")
        assert set(codes(findings)) <= HARMLESS | FROM_TRIMS, [str(finding) for finding in findings]
        engine.create_child(files, f"{number + 1}.vhd", f"{number}.vhd")


def errors(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.severity is Severity.ERROR]


@pytest.mark.parametrize("start", VHDS)
@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 5 * MIB))
def test_a_vhd_cut_anywhere(start: str, size: int) -> None:
    image = Forge(good(VHDS[start]))
    image.truncate(min(size, image.size))
    inspected(image)
