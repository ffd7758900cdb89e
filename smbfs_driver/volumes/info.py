"""The ``.info`` document of a volume: its active file and the files of its snapshots.

The format is that of the retired WindowsSmbfsDriver: JSON, ``{"active": file, "<snapshot id>": file, ...}``, with file
names only. The file of a snapshot holds what was written *after* the snapshot; the snapshot's content is the parent of
that file. Without a document there are no snapshots and the base is active; the document stays when the last snapshot
is deleted.

A document that was read names only images of its own volume. Writing replaces the document atomically and durably.
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
RESTORE = "correct it manually or restore it from a backup"
LARGEST = 1 << 20
"""Largest document that is read, in bytes; far more than any chain of snapshots needs."""


@dataclass(frozen=True, slots=True)
class Info:
    """The active file, and for each snapshot id the file with what was written after it."""

    active: str
    snapshots: Mapping[str, str] = field(default_factory=dict)

    def names(self, file: str) -> bool:
        """Whether *file* is the active file or the file of a snapshot."""
        return file == self.active or file in self.snapshots.values()

    def with_snapshot(self, snapshot_id: str, file: str) -> Self:
        """The document after creating a snapshot, with *file* active."""
        return type(self)(file, {**self.snapshots, snapshot_id: file})

    def without_snapshot(self, snapshot_id: str, active: str) -> Self:
        """The document after deleting a snapshot, with *active* active."""
        return type(self)(active, {key: file for key, file in self.snapshots.items() if key != snapshot_id})

    def renamed(self, old: str, new: str) -> Self:
        """The document after changing the id of the snapshot *old*."""
        return type(self)(self.active, {new if key == old else key: file for key, file in self.snapshots.items()})

    def document(self) -> dict[str, str]:
        """As a value for JSON."""
        return {ACTIVE: self.active, **self.snapshots}

    def dump(self) -> bytes:
        """As the bytes of the file."""
        return json.dumps(self.document(), indent=1, sort_keys=True).encode()


def check(document: object, names: VolumeNames, source: str) -> Info:
    """Validate a document. *source* is the file name for errors.

    Raises Error unless every key is a snapshot id and every value is a valid image of this volume.
    """
    if not isinstance(document, dict):
        raise Error(f"{source}: not a JSON object; {RESTORE}")
    for key, file in document.items():
        if key != ACTIVE and not is_identifier(key):
            raise Error(f"{source}: key {key!r} is not a snapshot id; {RESTORE}")
        if not isinstance(file, str) or not names.is_image(file):
            raise Error(f"{source}: {key} names {file!r}, which is not an image of volume {names.volume}; {RESTORE}")
    if ACTIVE not in document:
        raise Error(f"{source}: has no key {ACTIVE!r}; {RESTORE}")
    snapshots = {key: file for key, file in document.items() if key != ACTIVE}
    if names.base in snapshots.values():
        raise Error(f"{source}: a snapshot names {names.base}, which has no parent with its content; {RESTORE}")
    if len(set(snapshots.values())) < len(snapshots):
        raise Error(f"{source}: two snapshots name the same file; {RESTORE}")
    return Info(document[ACTIVE], snapshots)


def parse(text: bytes, names: VolumeNames, source: str) -> Info:
    """Parse a document. Raises Error as `check` does, and for invalid JSON."""
    try:
        document = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Error(f"{source}: the document cannot be read ({error}); {RESTORE}") from error
    return check(document, names, source)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse duplicate keys, which readers interpret differently."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def read(files: FileSystem, names: VolumeNames, access: Access = Access.INSPECT) -> Info | None:
    """Read the volume's document; None if there is none. Raises Error for an invalid one, OSError.

    With the volume's intent held, Access.READ can be used, which prevents others from replacing the document.
    """
    try:
        storage = files.open(names.info, access)
    except FileNotFoundError:
        return None
    try:
        size = storage.size()
        if size > LARGEST:
            raise Error(f"{storage.name}: {size} bytes exceed the limit of {LARGEST}; {RESTORE}")
        text = bytearray(size)
        storage.read([(0, memoryview(text))])
    finally:
        storage.close()
    return parse(bytes(text), names, files.describe(names.info))


def load(files: FileSystem, names: VolumeNames) -> Info:
    """The volume's document, or the default without one. Raises as `read` does."""
    return or_none(read(files, names), names)


def or_none(found: Info | None, names: VolumeNames) -> Info:
    """*found*, or the default for a missing document."""
    return Info(names.base) if found is None else found


def write(files: FileSystem, names: VolumeNames, info: Info, token: str, *, is_new: bool = False) -> None:
    """Write the document atomically; *token* as in `vhdx.storage.building.temporary_name`.

    Durable on return. An interruption leaves the old or the new document, and at most the temporary file. Raises
    FileExistsError if there is a document and *is_new*.
    """
    under_construction = temporary_name(names.info, token)
    with closing(files.create(under_construction)) as storage:
        storage.write([(0, info.dump())])
        storage.flush()
        files.rename(under_construction, names.info, replace=not is_new, held=storage)
    files.sync_directory("")
