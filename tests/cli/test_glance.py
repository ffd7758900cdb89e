"""A glance at an image says what the engine says of it, or nothing."""

import gzip
import os
from collections.abc import Iterator
from io import FileIO
from itertools import product
from pathlib import Path
from struct import Struct
from typing import Any, Literal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.running import Programs, interpreter
from tests.fuzz.anatomy import Field, Structure, anatomy
from tests.fuzz.lies import Lie, lies
from tests.fuzz.subjects import MAKERS, subject
from tests.fuzz.test_lies import deceived
from tests.support.disks import MIB
from vhdx.chain.lineage import find_link, see
from vhdx.chain.parents import ParentPolicy
from vhdx.cli.looking import glance as at
from vhdx.cli.looking.glance import glance
from vhdx.cli.looking.image_json import info_json
from vhdx.errors import Error
from vhdx.format import header, identifier, metadata, region, vhd_footer, vhd_header
from vhdx.format.record import Record
from vhdx.storage.local import LocalFileSystem

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
PLAIN = ["vhdx-dynamic", "vhdx-fixed", "vhd-dynamic", "vhd-fixed"]
DECLARED: list[tuple[Struct, Record[Any]]] = [
    (at.IDENTIFIER, identifier.IDENTIFIER),
    (at.HEADER, header.HEADER),
    (at.REGION_HEADER, region.TABLE_HEADER),
    (at.REGION_ENTRY, region.ENTRY),
    (at.TABLE_HEADER, metadata.TABLE_HEADER),
    (at.TABLE_ENTRY, metadata.TABLE_ENTRY),
    (at.PARAMETERS, metadata.PARAMETERS),
    (at.FOOTER, vhd_footer.FOOTER),
    (at.DYNAMIC, vhd_header.HEADER),
]


def told_by_the_engine(path: Path) -> dict[str, Any] | None:
    """The record of the image, or None where the engine refuses it."""
    files = LocalFileSystem(path.parent)
    try:
        info, status = see(files, str(path), uuid4)
        link = find_link(files, str(path), info, policy=ParentPolicy(), new_id=uuid4)
    except (Error, OSError):
        return None
    return info_json(files, str(path), info, status, link)


def judge(path: Path) -> bool:
    """Whether there was something to be seen at a glance; it has to be what the engine sees."""
    seen = glance(str(path))
    if seen is not None:
        expected = told_by_the_engine(path)
        assert seen == expected
        assert list(seen) == list(expected)
    return seen is not None


@pytest.mark.parametrize(("fields", "record"), DECLARED, ids=[record.structure for _, record in DECLARED])
def test_fields_are_where_they_are_declared(fields: Struct, record: Record[Any]) -> None:
    """By bytes that tell them apart."""
    data = bytes(number * 37 % 251 for number in range(record.size))
    declared = list(record.fields(data, 0))
    order = "little" if fields.format.startswith("<") else "big"
    read = fields.unpack_from(data)
    assert len(read) <= len(declared)
    for value, field in zip(read, declared, strict=False):
        assert value == (field.raw if isinstance(value, bytes) else int.from_bytes(field.raw, order)), field.name


@pytest.mark.parametrize("name", MAKERS)
def test_sound_images(name: str, tmp_path: Path) -> None:
    made = subject(name)
    for path in made.paths:
        (tmp_path / path).write_bytes(made.bytes_of(path))
    seen = [judge(tmp_path / path) for path in made.paths]
    assert not any(seen[:-1]), "a layer with a parent needs the engine"
    assert seen[-1] or name not in PLAIN


@pytest.mark.parametrize("name", [name for name in PLAIN if name != "vhdx-fixed"])
def test_every_field_with_another_value(name: str, tmp_path: Path) -> None:
    """Each by itself and in both copies, with the checksum of the structure right and wrong."""
    made = subject(name)
    data = made.bytes_of(made.paths[0])
    body = anatomy(name, made.paths[0])
    place = tmp_path / "image"
    place.write_bytes(data)
    tried = 0
    with place.open("r+b", buffering=0) as file:
        for structure in body.structures:
            for field in structure.fields:
                for value in _others(data[field.offset :][: field.length], body.byte_order):
                    for copies, sealed in product({1, 2 if structure.twin is not None else 1}, {True, False}):
                        _put(file, data, structure, field, value, copies=copies, sealed=sealed)
                        judge(place)
                        tried += 1
                        _put(file, data, structure, field, None, copies=2)
    assert tried > 100


def _others(old: bytes, order: Literal["little", "big"]) -> Iterator[bytes]:
    """Values that a field might have in place of the *old* one."""
    size, most = len(old), 1 << 8 * len(old)
    number = int.from_bytes(old, order)
    near = {number + 1, number - 1, number * 2, number // 2, number + 512, number - 512, number + MIB, number - MIB}
    for value in sorted({0, 1, 2, 3, 4, 6, most - 1, *near, *(number ^ 1 << bit for bit in range(0, 8 * size, 7))}):
        if 0 <= value < most and value != number:
            yield value.to_bytes(size, order)
    if size == 4:
        yield from (b"qemu", b"v_po")


def _put(
    file: FileIO,
    data: bytes,
    structure: Structure,
    field: Field,
    value: bytes | None,
    *,
    copies: int,
    sealed: bool = False,
) -> None:
    """Put *value*, or with None what was there, into a field of one or both copies of a structure."""
    for start in (structure.offset, structure.twin)[:copies]:
        if start is None:
            continue
        piece = data[start : start + structure.length]
        if value is not None:
            at = field.offset - structure.offset
            piece = piece[:at] + value + piece[at + field.length :]
        if sealed and structure.seal is not None:
            piece = structure.seal(piece)
        os.pwrite(file.fileno(), piece, start)


@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_images_that_lie(name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = subject(name)
    told: list[Lie] = data.draw(st.lists(lies(name), min_size=1, max_size=2))
    files = deceived(made, told)
    place = tmp_path_factory.getbasetemp() / f"lying-{name}"
    for path in made.paths:
        pages = files.snapshot()[path]
        place.write_bytes(pages.read(0, pages.size))
        judge(place)


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.gz")))
def test_images_of_other_programs(name: str, tmp_path: Path) -> None:
    path = tmp_path / name.removesuffix(".gz")
    path.write_bytes(gzip.decompress((FIXTURES / name).read_bytes()))
    assert judge(path) == name.startswith(("qemu", "base"))


def test_what_no_image_is(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(b"vhdxfile")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("empty", "short", "link", "pipe", "none", "."):
        assert glance(str(tmp_path / name)) is None


ELSEWHERE = ["smb://h/s/a.vhdx", "//h/s/a.vhdx", r"\\h\s\a.vhdx", "smb:a", "", "a/../b", "a\0", "a/"]


@pytest.mark.parametrize("where", ELSEWHERE)
def test_places_that_are_not_looked_at(where: str) -> None:
    assert glance(where) is None


@pytest.mark.parametrize("words", [[], ["--json"]])
@pytest.mark.parametrize("name", ["a.vhdx", "b.vhd", "./a.vhdx", ".//b.vhd", "ü ñ.vhdx"])
def test_printed_the_same(name: str, words: list[str], programs: Programs) -> None:
    """By the installed script at a glance, and by the program that it would else load."""
    programs.bench.create(Path(name).name)
    script = programs.run("vhdx-inspect", "info", name, *words, before=["env"])
    words = ["vhdx-inspect", "info", name, *words]
    code = f"import os, sys; os.chdir({str(programs.here)!r}); sys.argv = {words!r}"
    engine = interpreter("-c", f"{code}; from vhdx.cli.inspect import main; main()", environment=programs.outside)
    assert engine == script.out
