"""The steps of each operation on a volume, computed from its state. No I/O.

An interrupted creation is undone, because that requires no space and nobody waits for the result. An interrupted
deletion is completed, because part of the data is already gone. `Plan.undo` determines which.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from smbfs_driver.volumes.info import Info
from smbfs_driver.volumes.names import DiskFormat, FileKind, VolumeNames
from smbfs_driver.volumes.refusals import Refused
from smbfs_driver.volumes.steps import (
    Convert,
    CreateChild,
    Discard,
    Merge,
    Relink,
    Remove,
    Resize,
    Step,
    Succeed,
    WriteInfo,
)
from vhdx.errors import Error
from vhdx.verbs.shrink import Shrink

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps, and the steps that recover an interrupted operation; None: repeat *steps*."""

    steps: Sequence[Step]
    undo: Sequence[Step] | None = None

    @property
    def recovery(self) -> Sequence[Step]:
        """The steps that recover an interruption at any point."""
        return self.steps if self.undo is None else self.undo


@dataclass(frozen=True, slots=True)
class VolumeState:
    """The state of a volume: its .info document and the verified chain of the active file, leaf first.

    Raises Error if the chain contains files of others, or the document names a file outside the chain.
    """

    names: VolumeNames
    info: Info
    chain: Sequence[str]

    def __post_init__(self) -> None:
        volume = self.names.volume
        for file in self.chain:
            if not self.names.is_image(file):
                raise Error(f"{volume}: {file!r} in its chain is not a file of this volume; nothing was changed")
        if not self.chain or self.chain[0] != self.info.active or self.chain[-1] != self.names.base:
            raise Error(f"{volume}: the chain {list(self.chain)} does not lead from the active file to the base")
        for snapshot_id, file in self.info.snapshots.items():
            if file not in self.chain:
                raise Error(f"{volume}: {file} of snapshot {snapshot_id} is not in the chain of the active file")

    def file_of(self, snapshot_id: str) -> str:
        """The file with what was written after a snapshot. Raises Error if there is no such snapshot."""
        if snapshot_id not in self.info.snapshots:
            raise Error(f"{self.names.volume}: no such snapshot {snapshot_id}")
        return self.info.snapshots[snapshot_id]

    def parent_of(self, file: str) -> str:
        """The parent of *file*."""
        return self.chain[self.chain.index(file) + 1]

    def content_of(self, snapshot_id: str) -> str:
        """The file with the content of a snapshot. Raises Error if there is no such snapshot."""
        return self.parent_of(self.file_of(snapshot_id))


def check_size(size: int) -> int:
    """*size* itself. Raises Error unless it is a valid disk size in bytes."""
    if size <= 0 or size % SECTOR:
        raise Refused(f"invalid size {size}: must be a positive multiple of {SECTOR}")
    return size


def check_growth(volume: str, present: int, size: int) -> int:
    """*size* itself. Raises Error if it is less than *present*."""
    if check_size(size) < present:
        raise Refused(f"{volume}: cannot shrink from {present} to {size} bytes")
    return size


def create_snapshot(state: VolumeState, snapshot_id: str) -> Plan:
    """The active file becomes the snapshot's content; a new child becomes the active file."""
    file = state.names.snapshot(snapshot_id)
    if snapshot_id in state.info.snapshots or file in state.chain:
        raise Error(f"{state.names.volume}: snapshot {snapshot_id} already exists")
    document = state.info.with_snapshot(snapshot_id, file).document()
    return Plan([CreateChild(file, state.info.active), WriteInfo(document)], undo=[Discard(file)])


def delete_snapshot(state: VolumeState, snapshot_id: str, shrink: Shrink = Shrink.REFUSE) -> Plan:
    """Merge the file with what was written after the snapshot into its parent, the snapshot's content.

    *shrink*: what may be cut off the end of the parent if that file is smaller.
    """
    if snapshot_id not in state.info.snapshots:
        return Plan([])
    file = state.file_of(snapshot_id)
    parent = state.parent_of(file)
    if file == state.info.active:
        document = state.info.without_snapshot(snapshot_id, parent).document()
        return Plan([Merge(file, parent, shrink.value), WriteInfo(document), Discard(file)])
    above = state.chain[state.chain.index(file) - 1]
    document = state.info.without_snapshot(snapshot_id, state.info.active).document()
    return Plan([Merge(file, parent, shrink.value), Relink(above, parent), WriteInfo(document), Discard(file)])


def rename_snapshot(state: VolumeState, old: str, new: str) -> Plan:
    """Change the id of a snapshot; its file keeps its name."""
    state.file_of(old)
    if new in state.info.snapshots:
        raise Error(f"{state.names.volume}: snapshot {new} already exists")
    return Plan([WriteInfo(state.info.renamed(old, new).document())])


def check_loadable(state: VolumeState, format: DiskFormat) -> None:
    """Raise Error unless the volume has no snapshots and this format."""
    if len(state.chain) > 1 or state.info.snapshots:
        raise Error(f"{state.names.volume}: has snapshots, so its content cannot be replaced")
    if state.names.format is not format:
        raise Error(f"{state.names.volume}: has the format {state.names.format.value}, not {format.value}")


def extend(state: VolumeState, present: int, size: int) -> Plan:
    """Extend only the active file; snapshots keep their sizes."""
    if check_growth(state.names.volume, present, size) == present:
        return Plan([])
    if state.names.format is DiskFormat.VHD and len(state.chain) > 1:
        raise Error(
            f"{state.names.volume}: cannot extend a VHD volume with snapshots, because all layers must have the same "
            "size; delete the snapshots first, or use VHDX"
        )
    return Plan([Resize(state.info.active, size)], undo=[])


def revert_to_latest(state: VolumeState, snapshot_id: str) -> Plan:
    """Replace the active file by a new child of the snapshot's content; the snapshot is kept."""
    file = state.file_of(snapshot_id)
    if file != state.info.active:
        raise Error(f"{state.names.volume}: {snapshot_id} is not the latest snapshot; delete the later ones first")
    return Plan([CreateChild(file, state.parent_of(file), replace=True)], undo=[])


def check_lone(state: VolumeState) -> str:
    """The volume's only image. Raises Error for a volume with snapshots."""
    if len(state.chain) > 1 or state.info.snapshots:
        raise Error(f"{state.names.volume}: has snapshots, so it cannot be moved, renamed or converted")
    return state.names.base


def reformat(state: VolumeState, heir: VolumeNames, *, fixed: bool) -> Plan:
    """Replace the volume's only image by one in another format."""
    base = check_lone(state)
    over = Succeed(base, heir.base)
    return Plan([Convert(heir.base, base, fixed), over], undo=[over])


def delete_volume(names: VolumeNames, listing: Sequence[str], chain: Sequence[str] = ()) -> Plan:
    """Remove all files in *listing* that belong to this volume: leaf first, the .info document last.

    *chain* determines the order as far as it is known; other files are removed first. The journal removes the intent.
    """
    kinds = {file: names.kind(file) for file in listing}
    ours = [file for file, kind in kinds.items() if kind not in (None, FileKind.INTENT)]
    depth = {file: place for place, file in enumerate(chain, start=1)}
    last = len(depth) + 1
    order = {names.base: last, names.info: last + 1}
    return Plan([Remove(file) for file in sorted(ours, key=lambda file: (order.get(file, depth.get(file, 0)), file))])
