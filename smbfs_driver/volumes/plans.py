"""What each operation on a volume comes to: from the state of its files to a list of steps. Pure.

What creates is undone when it is stopped, because undoing needs no space and nobody waits for it; what deletes is
finished, because half of what was to go is gone. A plan says which by its *undo*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from smbfs_driver.volumes.info import Info
from smbfs_driver.volumes.names import DiskFormat, FileKind, VolumeNames
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
    """Steps, and what is done instead when they were stopped; None: the same steps again until they are through."""

    steps: Sequence[Step]
    undo: Sequence[Step] | None = None

    @property
    def recovery(self) -> Sequence[Step]:
        """What sets things right after a stop at any point."""
        return self.steps if self.undo is None else self.undo


@dataclass(frozen=True, slots=True)
class VolumeState:
    """A volume as it is: its document, and the verified chain of the active file, leaf first.

    Raises Error where the chain leaves the volume's own files, or the document names what is not in the chain.
    """

    names: VolumeNames
    info: Info
    chain: Sequence[str]

    def __post_init__(self) -> None:
        volume = self.names.volume
        for file in self.chain:
            if not self.names.is_image(file):
                raise Error(f"{volume}: {file!r} is in its chain but is no file of this volume; nothing was changed")
        if not self.chain or self.chain[0] != self.info.active or self.chain[-1] != self.names.base:
            raise Error(f"{volume}: the chain {list(self.chain)} does not lead from the active file to the base")
        for snapshot_id, file in self.info.snapshots.items():
            if file not in self.chain:
                raise Error(f"{volume}: {file} of snapshot {snapshot_id} is not in the chain of the active file")

    def file_of(self, snapshot_id: str) -> str:
        """The file that took the writes after a snapshot. Raises Error where there is no such snapshot."""
        if snapshot_id not in self.info.snapshots:
            raise Error(f"{self.names.volume}: there is no snapshot {snapshot_id}")
        return self.info.snapshots[snapshot_id]

    def parent_of(self, file: str) -> str:
        """The layer below *file*."""
        return self.chain[self.chain.index(file) + 1]

    def content_of(self, snapshot_id: str) -> str:
        """The file that shows the volume as it was at a snapshot. Raises Error where there is no such snapshot."""
        return self.parent_of(self.file_of(snapshot_id))


def check_size(size: int) -> int:
    """*size* itself. Raises Error where no disk can have this many bytes."""
    if size <= 0 or size % SECTOR:
        raise Error(f"invalid size {size}: must be a positive multiple of {SECTOR}")
    return size


def check_growth(volume: str, present: int, size: int) -> int:
    """*size* itself. Raises Error where it is less than the *present* one."""
    if check_size(size) < present:
        raise Error(f"{volume}: cannot shrink from {present} to {size} bytes")
    return size


def create_snapshot(state: VolumeState, snapshot_id: str) -> Plan:
    """The active file becomes the snapshot's content; a fresh child takes the writes."""
    file = state.names.snapshot(snapshot_id)
    if snapshot_id in state.info.snapshots or file in state.chain:
        raise Error(f"{state.names.volume}: there is a snapshot {snapshot_id} already")
    document = state.info.with_snapshot(snapshot_id, file).document()
    return Plan([CreateChild(file, state.info.active), WriteInfo(document)], undo=[Discard(file)])


def delete_snapshot(state: VolumeState, snapshot_id: str, shrink: Shrink = Shrink.REFUSE) -> Plan:
    """What was written after the snapshot goes into its content, and counts for the snapshot before from then on.

    *shrink* is how much the content may lose at its end where what was written later is smaller.
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
    """Another id for a snapshot; its file keeps its name."""
    state.file_of(old)
    if new in state.info.snapshots:
        raise Error(f"{state.names.volume}: there is a snapshot {new} already")
    return Plan([WriteInfo(state.info.renamed(old, new).document())])


def check_loadable(state: VolumeState, format: DiskFormat) -> None:
    """Raises Error unless the volume is one file of this format, whose content nothing else shows."""
    if len(state.chain) > 1 or state.info.snapshots:
        raise Error(f"{state.names.volume}: it has snapshots, so its content cannot be replaced")
    if state.names.format is not format:
        raise Error(f"{state.names.volume}: it is kept as {state.names.format.value}, not as {format.value}")


def extend(state: VolumeState, present: int, size: int) -> Plan:
    """Only the active file grows; what snapshots show keeps its size."""
    if check_growth(state.names.volume, present, size) == present:
        return Plan([])
    if state.names.format is DiskFormat.VHD and len(state.chain) > 1:
        raise Error(
            f"{state.names.volume}: a VHD with snapshots cannot be extended, its layers have one size; delete the "
            f"snapshots first, or use VHDX"
        )
    return Plan([Resize(state.info.active, size)], undo=[])


def revert_to_latest(state: VolumeState, snapshot_id: str) -> Plan:
    """A fresh child of the snapshot's content takes the place of the active file; the snapshot stays."""
    file = state.file_of(snapshot_id)
    if file != state.info.active:
        raise Error(f"{state.names.volume}: {snapshot_id} is not the latest snapshot; delete the later ones first")
    return Plan([CreateChild(file, state.parent_of(file), replace=True)], undo=[])


def check_lone(state: VolumeState) -> str:
    """The volume's only image. Raises Error for a volume with snapshots."""
    if len(state.chain) > 1 or state.info.snapshots:
        raise Error(f"{state.names.volume}: it has snapshots, so it can be neither moved nor given another format")
    return state.names.base


def reformat(state: VolumeState, heir: VolumeNames, *, fixed: bool) -> Plan:
    """An image in another format takes the place of the volume's only one."""
    base = check_lone(state)
    over = Succeed(base, heir.base)
    return Plan([Convert(heir.base, base, fixed), over], undo=[over])


def delete_volume(names: VolumeNames, listing: Sequence[str], chain: Sequence[str] = ()) -> Plan:
    """Every file in *listing* that is this volume's, and nothing else: leaf first, the document last.

    *chain* is the order as far as it is known; what is outside of it goes first. The intent is the journal's to
    remove.
    """
    kinds = {file: names.kind(file) for file in listing}
    ours = [file for file, kind in kinds.items() if kind not in (None, FileKind.INTENT)]
    depth = {file: place for place, file in enumerate(chain, start=1)}
    last = len(depth) + 1
    order = {names.base: last, names.info: last + 1}
    return Plan([Remove(file) for file in sorted(ours, key=lambda file: (order.get(file, depth.get(file, 0)), file))])
