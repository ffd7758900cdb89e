"""One lie about an image: bytes that are not what a writer would have left there, checksums mostly repaired."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.fuzz.anatomy import NO_ENTRY, Anatomy, Field, Structure, anatomy
from tests.fuzz.subjects import Subject, subject
from tests.image.forge import Forge
from tests.support.disks import MIB

if TYPE_CHECKING:
    from tests.support.memory import MemoryFileSystem


@dataclass(frozen=True, slots=True)
class Lie:
    """Bytes put into one file, then the checksums of *sealed* repaired, then the file made *size* bytes long."""

    what: str
    path: str
    puts: tuple[tuple[int, bytes], ...] = ()
    sealed: tuple[Structure, ...] = ()
    size: int | None = None

    def __repr__(self) -> str:
        puts = ", ".join(f"{offset}: {data.hex()}" for offset, data in self.puts)
        sealed = ", ".join(f"{structure.name} at {structure.offset}" for structure in self.sealed)
        size = "" if self.size is None else f", size {self.size}"
        return f"<{self.what} of {self.path}: {{{puts}}}, sealed: {sealed or None}{size}>"

    def tell(self, files: "MemoryFileSystem") -> None:
        made = Forge(files, self.path)
        for offset, data in self.puts:
            made.write(offset, data)
        for structure in self.sealed:
            assert structure.seal is not None
            if structure.offset + structure.length > made.size:
                continue  # an earlier lie cut it off
            made.write(structure.offset, structure.seal(made.read(structure.offset, structure.length)))
        if self.size is not None:
            made.truncate(self.size)


def lies(name: str) -> st.SearchStrategy[Lie]:
    """Any lie about any file of a subject."""
    made = subject(name)
    return st.sampled_from(made.paths).flatmap(lambda path: _about(made, path, anatomy(name, path)))


def _about(made: Subject, path: str, body: Anatomy) -> st.SearchStrategy[Lie]:
    kinds: list[Callable[[Subject, str, Anatomy], st.SearchStrategy[Lie]]] = [*[_field] * 4, _flip, _size]
    if body.table:
        kinds += [_entry, _entry]
    return st.sampled_from(kinds).flatmap(lambda kind: kind(made, path, body))


def _numbers(body: Anatomy, field: Field, old: int) -> st.SearchStrategy[int]:
    """What a field may say: the ends of its range, what is next to the truth, sizes and places of the file."""
    bits = 8 * field.length
    edges = [0, 1, 2, 7, (1 << bits) - 1, (1 << bits) - 2, 1 << (bits - 1), (1 << (bits - 1)) - 1]
    near = [old + 1, old - 1, old * 2, old // 2, old + 512, old - 512, old + 4096, old + MIB, old - MIB]
    places = [structure.offset for structure in body.structures] + [body.size + step for step in (-512, -1, 0, 1, MIB)]
    other = [place // unit for place in places for unit in (1, 512)]
    other += [256, 512, 4096, 65536, MIB, 256 * MIB, 1 << 30, 1 << 40, 1 << 46]
    flips = st.integers(0, bits - 1).map(lambda bit: old ^ (1 << bit))
    every = [number & ((1 << bits) - 1) for number in (*edges, *near, *other)]
    return st.sampled_from(every) | flips


def _value(made: Subject, path: str, body: Anatomy, field: Field) -> st.SearchStrategy[bytes]:
    old = made.bytes_of(path)[field.offset : field.offset + field.length]
    if field.length in (1, 2, 4, 8):
        order = body.byte_order
        numbers = _numbers(body, field, int.from_bytes(old, order))
        said = numbers.map(lambda value: value.to_bytes(field.length, order))
        return said | st.binary(min_size=field.length, max_size=field.length)
    others = [other for structure in body.structures for other in structure.fields if other.length >= field.length]
    taken = [made.bytes_of(path)[other.offset : other.offset + field.length] for other in others]
    paths = ("..\\..\\x", ".\\0.vhd", ".\\2.vhdx", "C:\\", "\\\\?\\", "\0", "con", "\u202e")
    texts = [text.encode("utf-16-le") for text in paths]
    whole = [bytes(field.length), b"\xff" * field.length, *taken, *(text[: field.length] for text in texts)]
    return st.sampled_from(whole) | st.binary(min_size=1, max_size=field.length)


def _field(made: Subject, path: str, body: Anatomy) -> st.SearchStrategy[Lie]:
    """One field of a structure; both copies alike, or one of them; its checksum repaired or not."""

    def choose(structure: Structure) -> st.SearchStrategy[Lie]:
        def say(field: Field) -> st.SearchStrategy[Lie]:
            def lie(data: bytes, *, both: bool, seal: bool) -> Lie:
                return _lie(path, body, structure, field, data, both=both, seal=seal)

            mostly = st.sampled_from([True, True, True, False])
            return st.builds(lie, _value(made, path, body, field), both=mostly, seal=mostly)

        return st.sampled_from(structure.fields).flatmap(say)

    return st.sampled_from(body.structures).flatmap(choose)


def _lie(
    path: str, body: Anatomy, structure: Structure, field: Field, data: bytes, *, both: bool, seal: bool
) -> Lie:
    told = [structure]
    if both and structure.twin is not None:
        told += [other for other in body.structures if other.offset == structure.twin]
    puts = tuple((one.offset + field.offset - structure.offset, data) for one in told)
    # A lie about the checksum itself stays one.
    sealed = tuple(one for one in told if one.seal is not None) if seal and field.name != "checksum" else ()
    return Lie(f"{field.name} in the {structure.name}", path, puts, sealed)


def _entry(made: Subject, path: str, body: Anatomy) -> st.SearchStrategy[Lie]:
    """An entry of the table that names the place of another block, of a structure, or of nothing."""
    vhdx = body.order == "<"
    places = [structure.offset for structure in body.structures] + [body.size + step for step in (-MIB, -512, 0, MIB)]
    if vhdx:
        raws = [raw >> 3 << 3 for raw in body.used] + [max(place, 0) // MIB * MIB for place in places] + [0]
        numbers = st.tuples(st.sampled_from(raws), st.integers(0, 7)).map(lambda pair: pair[0] | pair[1])
    else:
        near = [raw + step for raw in body.used for step in (0, 0, 1, -1, 8)]
        numbers = st.sampled_from([*near, *(max(place, 0) // 512 for place in places), 0, NO_ENTRY, NO_ENTRY - 1])
    order = body.byte_order

    def lie(field: Field, number: int) -> Lie:
        return Lie(f"{field.name}", path, ((field.offset, number.to_bytes(field.length, order)),))

    return st.builds(lie, st.sampled_from(body.table), numbers)


def _flip(made: Subject, path: str, body: Anatomy) -> st.SearchStrategy[Lie]:
    """A few bytes anywhere in a structure or in the file."""
    inside = st.sampled_from(body.structures).flatmap(
        lambda structure: st.integers(structure.offset, structure.offset + structure.length - 1)
    )
    anywhere = inside | inside | st.integers(0, body.size - 1)
    data = st.binary(min_size=1, max_size=4)
    return st.builds(lambda place, data: Lie("bytes", path, ((min(place, body.size - 4), data),)), anywhere, data)


def _size(made: Subject, path: str, body: Anatomy) -> st.SearchStrategy[Lie]:
    """The file cut off or longer than it was."""
    ends = [structure.offset for structure in body.structures] + [raw // MIB * MIB for raw in body.used] + [body.size]
    steps = st.sampled_from([-MIB, -4096, -512, -511, -1, 0, 1, 511, 512, 4096, MIB, 64 * MIB])
    size = st.builds(lambda end, step: max(end + step, 0), st.sampled_from(ends), steps) | st.integers(0, body.size)
    return size.map(lambda size: Lie("the size", path, size=size))
