"""The ``.info`` document beside a volume: which file is active, and which file each snapshot began.

The retired WindowsSmbfsDriver's document: JSON, ``{"active": file, "<snapshot id>": file, ...}``, file names only. The
file of a snapshot holds what was written *after* the snapshot; the snapshot's content is that file's parent. No
document means no snapshots and the base active; after the last snapshot is gone the document stays.

Promised: a document that was read names only images of its own volume; one that is written replaces the old one
whole, durably, or not at all.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Self

from smbfs_driver.volumes.names import VolumeNames, is_identifier
from vhdx.errors import Error
from vhdx.storage.base import Access, FileSystem
from vhdx.storage.building import temporary_name

ACTIVE = "active"
RESTORE = "put it right by hand or restore it from a backup"
LARGEST = 1 << 20
"""Bytes of a document that are read; far beyond what any chain of snapshots needs."""


@dataclass(frozen=True, slots=True)
class Info:
    """The active file, and for each snapshot id the file that took the writes after it."""

    active: str
    snapshots: Mapping[str, str] = field(default_factory=dict)

    def names(self, file: str) -> bool:
        """Whether *file* is the active one or a snapshot's."""
        return file == self.active or file in self.snapshots.values()

    def with_snapshot(self, snapshot_id: str, file: str) -> Self:
        """The document once *file* takes the writes after a new snapshot."""
        return type(self)(file, {**self.snapshots, snapshot_id: file})

    def without_snapshot(self, snapshot_id: str, active: str) -> Self:
        """The document once a snapshot is gone and *active* takes the writes."""
        return type(self)(active, {key: file for key, file in self.snapshots.items() if key != snapshot_id})

    def renamed(self, old: str, new: str) -> Self:
        """The document once the snapshot *old* has another id."""
        return type(self)(self.active, {new if key == old else key: file for key, file in self.snapshots.items()})

    def document(self) -> dict[str, str]:
        """As JSON knows it."""
        return {ACTIVE: self.active, **self.snapshots}

    def dump(self) -> bytes:
        """As it stands in the file."""
        return json.dumps(self.document(), indent=1, sort_keys=True).encode()


def check(document: object, names: VolumeNames, source: str) -> Info:
    """The document as a value. *source* is named in errors.

    Raises Error unless every key is a snapshot id and every value a file of this volume that can be what it says.
    """
    if not isinstance(document, dict):
        raise Error(f"{source}: the document is no JSON object; {RESTORE}")
    for key, file in document.items():
        if key != ACTIVE and not is_identifier(key):
            raise Error(f"{source}: the key {key!r} is no snapshot id; {RESTORE}")
        if not isinstance(file, str) or not names.is_image(file):
            raise Error(f"{source}: {key} names {file!r}, which is no image of volume {names.volume}; {RESTORE}")
    if ACTIVE not in document:
        raise Error(f"{source}: no file is named as the active one; {RESTORE}")
    snapshots = {key: file for key, file in document.items() if key != ACTIVE}
    if names.base in snapshots.values():
        raise Error(f"{source}: a snapshot names {names.base}, which has no parent to hold its content; {RESTORE}")
    if len(set(snapshots.values())) < len(snapshots):
        raise Error(f"{source}: two snapshots name the same file; {RESTORE}")
    return Info(document[ACTIVE], snapshots)


def parse(text: bytes, names: VolumeNames, source: str) -> Info:
    """The document in *text*. Raises Error, naming *source*, as `check` does and where it is no JSON."""
    try:
        document = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Error(f"{source}: the document cannot be read ({error}); {RESTORE}") from error
    return check(document, names, source)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys are told once: of two, the one that counts would be a matter of the reader's taste."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def read(files: FileSystem, names: VolumeNames, access: Access = Access.INSPECT) -> Info | None:
    """The volume's document; None where there is none. Raises Error for a bad one, OSError.

    Who holds the volume may read it with Access.READ, which keeps others from putting another in its place.
    """
    try:
        storage = files.open(names.info, access)
    except FileNotFoundError:
        return None
    try:
        size = storage.size()
        if size > LARGEST:
            raise Error(f"{storage.name}: {size} bytes are no document of ours; {RESTORE}")
        text = bytearray(size)
        storage.read([(0, memoryview(text))])
    finally:
        storage.close()
    return parse(bytes(text), names, files.describe(names.info))


def load(files: FileSystem, names: VolumeNames) -> Info:
    """The volume's document, or what its absence says. Raises as `read` does."""
    return or_none(read(files, names), names)


def or_none(found: Info | None, names: VolumeNames) -> Info:
    """A document that was read, or what its absence says."""
    return Info(names.base) if found is None else found


def write(files: FileSystem, names: VolumeNames, info: Info, token: str, *, is_new: bool = False) -> None:
    """Put *info* in the place of the document, or where none is; *token* as in `vhdx.storage.building.temporary_name`.

    Durable on return. A stop leaves the old or the new document, and at most the temporary file. Raises FileExistsError
    where there is one and it *is_new*.
    """
    under_construction = temporary_name(names.info, token)
    with closing(files.create(under_construction)) as storage:
        storage.write([(0, info.dump())])
        storage.flush()
        files.rename(under_construction, names.info, replace=not is_new, held=storage)
    files.sync_directory("")
