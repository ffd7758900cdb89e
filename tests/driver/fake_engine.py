"""A small engine whose images are JSON: for testing what calls an engine, beside the real one.

It keeps `smbfs_driver.volumes.engine.Engine` to the letter, with the linkage and the steps of a merge as the real one
has them, so that a stop leaves what a stop of the real one would leave. It is stricter in two things: a layer is not
merged into a file on which another file of the directory depends, and who says of a file that it is of another format
than it is, or says nothing, has failed.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Self
from uuid import UUID

from vhdx.chain.chain import Claim
from vhdx.errors import Error, FormatError, ParentMismatch, ParentNotFound
from vhdx.image.base import CreateOptions, DiskType, ImageFormat, ImageInfo, LogState, NewId, ParentLink
from vhdx.storage.base import Access, FileSystem, Storage
from vhdx.storage.building import temporary_name
from vhdx.verbs.contract import Kinsman, OpenDisk, Warn
from vhdx.verbs.merge_plan import Direction, MergePlan
from vhdx.verbs.shrink import Shrink

FILE = 8192
SECTOR = 512


@dataclass
class Body:
    """What a file holds: sectors by number (as text), each one byte repeated."""

    id: str
    disk: str
    format: str
    size: int
    parent: str = ""
    linkage: str = ""
    linkage2: str = ""
    sectors: dict[str, int] = field(default_factory=dict)


@dataclass
class Layer:
    """An open image."""

    path: str
    storage: Storage
    body: Body

    def store(self) -> None:
        """Write the body back, durably."""
        text = json.dumps(asdict(self.body)).encode()
        assert len(text) <= FILE
        self.storage.write([(0, text.ljust(FILE))])
        self.storage.flush()


@dataclass
class FakeDisk:
    """The layers of a disk as they were claimed; nothing stays open, since every verb opens what it needs."""

    layers: dict[str, int]

    @property
    def paths(self) -> list[str]:
        return list(self.layers)

    def size_of(self, path: str) -> int:
        return self.layers[path]

    def release(self, path: str) -> None:
        del self.layers[path]

    def close(self) -> None:
        self.layers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class FakeEngine:
    """Implements `smbfs_driver.volumes.engine.Engine`, and reads and writes disks as a guest would."""

    new_id: NewId

    def create(
        self,
        files: FileSystem,
        path: str,
        size: int,
        options: CreateOptions | None = None,
        *,
        replace: bool = False,
    ) -> None:
        format = (options or CreateOptions()).format
        self._build(files, path, Body(str(self.new_id()), str(self.new_id()), format, size), replace=replace)

    def open_family(
        self, files: FileSystem, path: str, *, claim: Claim | None = None, format: ImageFormat
    ) -> FakeDisk:
        with self._chain(files, path, format, claim=claim) as layers:
            return FakeDisk({layer.path: layer.body.size for layer in layers})

    def kinship(self, files: FileSystem, paths: Sequence[str], *, format: ImageFormat) -> list[Kinsman]:
        raise NotImplementedError

    def create_child(
        self,
        files: FileSystem,
        path: str,
        parent: str,
        *,
        parent_format: ImageFormat,
        replace: bool = False,
        disk: OpenDisk | None = None,
    ) -> None:
        with closing(files.open(parent, Access.READ)) as storage:
            below = _load(storage, parent_format)
        ids = str(self.new_id()), below.disk
        self._build(files, path, Body(*ids, below.format, below.size, parent, below.id), replace=replace)

    def _build(self, files: FileSystem, path: str, body: Body, *, replace: bool) -> None:
        if not replace:
            with suppress(FileNotFoundError):
                files.stat(path)
                raise FileExistsError(f"{files.describe(path)} exists already")
        temporary = temporary_name(path, self.new_id().hex[:8])
        with closing(files.create(temporary)) as storage:
            Layer(temporary, storage, body).store()
        files.rename(temporary, path, replace=replace)
        files.sync_directory("")

    def info(self, files: FileSystem, path: str, *, format: ImageFormat) -> ImageInfo:
        with closing(files.open(path, Access.INSPECT)) as storage:
            body = _load(storage, format)
        link = ParentLink(UUID(body.linkage)) if body.parent else None
        kind = DiskType.DIFFERENCING if link else DiskType.DYNAMIC
        ids = UUID(body.disk), UUID(body.id)
        return ImageInfo(format, kind, body.size, SECTOR, SECTOR, SECTOR, *ids, "fake", LogState.CLEAN, 0, link)

    def layers(self, files: FileSystem, path: str, *, format: ImageFormat) -> list[str]:
        with self._chain(files, path, format) as layers:
            return [layer.path for layer in layers]

    def children(self, files: FileSystem, path: str, *, format: ImageFormat) -> list[str]:
        raise NotImplementedError

    def compact(self, files: FileSystem, path: str, *, format: ImageFormat) -> None:
        raise NotImplementedError

    def resize(
        self, files: FileSystem, path: str, size: int, *, format: ImageFormat, disk: OpenDisk | None = None
    ) -> None:
        with self._chain(files, path, format, writable=1) as layers:
            _resize(layers[0].body, size, based=bool(layers[0].body.parent))
            layers[0].store()

    def merge(
        self,
        files: FileSystem,
        top: str,
        target: str,
        *,
        shrink: Shrink = Shrink.REFUSE,
        format: ImageFormat,
        disk: OpenDisk | None = None,
        plan: MergePlan | None = None,
    ) -> None:
        count = self.layers(files, top, format=format).index(target) + 1
        with self._chain(files, top, format, writable=count) as layers:
            place = [layer.path for layer in layers].index(target)
            above, base = layers[place - 1], layers[place]
            self._check_relatives(files, above.path, target)
            if above.body.linkage2 != base.body.id:
                above.body.linkage2 = str(self.new_id())
                above.store()
                base.body.id = above.body.linkage2
                base.store()
            size = layers[0].body.size
            _resize(base.body, max(size, base.body.size), based=bool(base.body.parent))
            base.store()
            for number in range(-(-size // SECTOR)):
                content = _sector(layers[:place], number)
                if content is not None and base.body.sectors.get(str(number)) != content:
                    base.body.sectors[str(number)] = content
                    base.store()
            _resize(base.body, size, based=bool(base.body.parent))
            base.store()

    def plan_merge(
        self, files: FileSystem, top: str, target: str, *, format: ImageFormat, disk: OpenDisk | None = None
    ) -> MergePlan:
        """No plan has to be refused: layers here never become smaller than what is under them."""
        return MergePlan(Direction.DOWN, target, (top,), 0, 0, 1, (), (), links=files.stat(target).links)

    def _check_relatives(self, files: FileSystem, above: str, target: str) -> None:
        for file in files.list(""):
            if file.endswith(".vhdx") and file != above:
                with closing(files.open(file, Access.INSPECT)) as storage:
                    if _load(storage, ImageFormat.VHDX).parent == target:
                        raise Error(f"{files.describe(target)}: {file} depends on it")

    def relink(
        self,
        files: FileSystem,
        child: str,
        parent: str,
        *,
        format: ImageFormat,
        force: bool = False,
        merged: bool = False,
        disk: OpenDisk | None = None,
    ) -> None:
        with self._chain(files, parent, format) as below, closing(files.open(child, Access.WRITE)) as storage:
            body = _load(storage, format)
            if (body.parent, body.linkage) != (parent, below[0].body.id):
                body.parent, body.linkage, body.linkage2 = parent, below[0].body.id, ""
                Layer(child, storage, body).store()

    def convert(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        source_format: ImageFormat,
        options: CreateOptions | None = None,
        size: int | None = None,
        replace: bool = False,
        on_warning: Warn | None = None,
        disk: OpenDisk | None = None,
    ) -> None:
        with self._chain(source_files, source, source_format) as layers:
            format = (options or CreateOptions()).format
            body = Body(str(self.new_id()), str(self.new_id()), format, size or layers[0].body.size)
            for number in range(layers[0].body.size // SECTOR):
                content = _sector(layers, number)
                if content:
                    body.sectors[str(number)] = content
            self._build(target_files, target, body, replace=replace)

    def write(self, files: FileSystem, path: str, sector: int, content: int) -> None:
        """As a guest: fill one sector with a byte."""
        with self._chain(files, path, ImageFormat.VHDX, writable=1) as layers:
            layers[0].body.id = str(self.new_id())
            layers[0].body.sectors[str(sector)] = content
            layers[0].store()

    def read(self, files: FileSystem, path: str) -> bytes:
        """As a guest: the whole disk."""
        with self._chain(files, path, ImageFormat.VHDX) as layers:
            count = layers[0].body.size // SECTOR
            return b"".join(bytes([_sector(layers, number) or 0]) * SECTOR for number in range(count))

    @contextmanager
    def _chain(
        self, files: FileSystem, path: str, format: ImageFormat, writable: int = 0, claim: Claim | None = None
    ) -> Iterator[list[Layer]]:
        with ExitStack() as stack:
            layers: list[Layer] = []
            while path:
                if path in [layer.path for layer in layers]:
                    raise FormatError("chain", None, "the parents form a circle", file=files.describe(path))
                access = Access.WRITE if len(layers) < writable else Access.READ
                try:
                    storage = files.open(path, access if claim is None else claim([layer.path for layer in layers]))
                except FileNotFoundError:
                    if not layers:
                        raise
                    raise ParentNotFound(files.describe(layers[-1].path), [path]) from None
                stack.callback(storage.close)
                layers.append(Layer(path, storage, _load(storage, format)))
                _check_linkage(layers)
                path = layers[-1].body.parent
            yield layers


def _check_linkage(layers: list[Layer]) -> None:
    if len(layers) > 1 and layers[-1].body.id not in (layers[-2].body.linkage, layers[-2].body.linkage2):
        raise ParentMismatch(f"{layers[-2].storage.name}: {layers[-1].path} is not what it was made from")


def _load(storage: Storage, said: ImageFormat) -> Body:
    text = bytearray(storage.size())
    storage.read([(0, memoryview(text))])
    try:
        body = Body(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise FormatError("body", 0, "not an image", file=storage.name) from error
    assert body.format == said, f"{storage.name} is a {body.format} and was said to be a {said}"
    return body


def _sector(layers: list[Layer], number: int) -> int | None:
    """The newest content; None where no layer has any and none ends."""
    for layer in layers:
        if number * SECTOR >= layer.body.size:
            return 0
        if str(number) in layer.body.sectors:
            return layer.body.sectors[str(number)]
    return None


def _resize(body: Body, size: int, *, based: bool) -> None:
    for number in range(body.size // SECTOR, size // SECTOR):
        if based:
            body.sectors[str(number)] = 0  # what lies below must not show through
    body.sectors = {key: content for key, content in body.sectors.items() if int(key) * SECTOR < size}
    body.size = size
