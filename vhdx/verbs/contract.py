"""The verbs on images by path: what every engine does, whoever does the work.

All raise `vhdx.errors.Error` for bad bytes or requests and OSError for the transport. *files* is where a path leads;
sizes are in bytes. A *format* says what a file is instead of its content, and raw is taken for raw only so; parents and
children, being of one format, are of the same without a look at their marks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, Self

from vhdx.chain.chain import Chain, Claim
from vhdx.chain.parents import ParentPolicy
from vhdx.check import Finding
from vhdx.image.base import CreateOptions, ImageFormat, ImageInfo, NewId, Progress
from vhdx.repair.fix import Fix
from vhdx.salvage.report import Salvaged
from vhdx.storage.base import Access, FileSystem
from vhdx.verbs.merge_plan import Direction, MergePlan
from vhdx.verbs.shrink import Shrink

Warn = Callable[[str], None]
"""Takes one line that a user has to know."""


class OpenDisk(Protocol):
    """A disk whose files an engine has opened and claimed, and keeps open for several verbs.

    A verb that gets one as *disk* works on its layers, by their paths, and opens none of them again. It is for the
    engine that opened it, and for one thread; what a verb changes has to be open for writing.
    """

    @property
    def paths(self) -> Sequence[str]:
        """The paths of its layers, leaf first."""

    def size_of(self, path: str) -> int:
        """Bytes of the disk that a layer shows."""

    def release(self, path: str) -> None:
        """Close one layer, so that its file can be replaced or removed."""

    def close(self) -> None:
        """Close all of them; what was changed is durable then."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Kinsman(NamedTuple):
    """An image among others; *info* is why it cannot be opened, where it cannot, and None where it is no image."""

    path: str
    info: ImageInfo | Exception | None
    children: Sequence[str] = ()


class Engine(Protocol):
    """Verbs on images by path. With *disk* a verb works on layers that are open already."""

    @property
    def policy(self) -> ParentPolicy:
        """Where parents may lie."""

    @property
    def new_id(self) -> NewId:
        """Where fresh ids come from."""

    def open_family(
        self,
        files: FileSystem,
        path: str,
        *,
        claim: Claim | None = None,
        format: ImageFormat | None = None,
    ) -> OpenDisk:
        """Open the disk of *path* with its parents, verified, and claim their files, for several verbs.

        *claim* says how each is opened; without it all are open for reading, and nobody else may write to them. Raises
        as `layers` does. Whether there are children is for the verbs to ask.
        """

    def open_chain(
        self,
        files: FileSystem,
        path: str,
        *,
        writable: int = 0,
        access: Access = Access.READ,
        orphan: bool = False,
        format: ImageFormat | None = None,
    ) -> Chain:
        """The disk of *path* through all its layers, the first *writable* of them open for writing.

        Raises HasChildren when something is open for writing and *path* has children, which a change of it would
        break, or more names than this one (hard links), beside which nobody looks for children; unless *orphan* gives
        them up. Where *path* is a symbolic link, children are those of the file that it leads to.
        """

    def create(
        self,
        files: FileSystem,
        path: str,
        size: int,
        options: CreateOptions | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Make an image of *size* bytes, a dynamic VHDX unless told. Built under a temporary name, then renamed.

        *replace* lets it take the place of an existing file, atomically, but of none that has children. Durable on
        return. Raises FileExistsError. A stop leaves at most the temporary file.
        """

    def create_child(
        self,
        files: FileSystem,
        path: str,
        parent: str,
        *,
        size: int | None = None,
        any_size: bool = False,
        parent_format: ImageFormat | None = None,
        replace: bool = False,
        disk: OpenDisk | None = None,
    ) -> None:
        """Make an empty differencing image over *parent*, of the parent's format and, unless *size* says so, size.

        *parent* lies in the same directory, or in one where the engine's policy lets parents lie. A VHD of another size
        than its parent's, which Windows refuses, is made with *any_size* only: raises UnequalSizes.

        *replace* lets it take the place of an existing file, atomically. Durable on return. A stop leaves at most the
        temporary.
        """

    def info(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> ImageInfo:
        """What the image says of itself; a handful of reads, no parent is opened."""

    def layers(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> list[str]:
        """The verified chain under *path*, leaf first, as paths. Raises ParentNotFound, ParentMismatch."""

    def children(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> list[str]:
        """The images beside *path* whose parent it is. Raises OSError when the directory cannot be listed."""

    def kinship(self, files: FileSystem, paths: Sequence[str], *, format: ImageFormat) -> list[Kinsman]:
        """What each of *paths*, files of one directory, is as an image of *format*, and which of them are its children.

        Every file is opened once. Raises OSError when the transport fails.
        """

    def resize(
        self,
        files: FileSystem,
        path: str,
        size: int,
        *,
        shrink: Shrink = Shrink.REFUSE,
        orphan: bool = False,
        any_size: bool = False,
        format: ImageFormat | None = None,
        disk: OpenDisk | None = None,
    ) -> None:
        """Change the disk's size; a grown part reads as zeros, and in a fixed image has its space.

        A stop leaves the old or the new size.

        Only a fixed VHD cannot promise that: stopped while it grows it may be left without a footer at its end, which
        `repair` finds again, or with the old footer's 512 bytes in the grown part.

        Refused for an image with children, or with more names than one (hard links), unless *orphan*, and for a
        differencing VHD that would have another size than its parent, with UnequalSizes, unless *any_size*.
        """

    def merge(
        self,
        files: FileSystem,
        top: str,
        target: str,
        *,
        direction: Direction = Direction.DOWN,
        shrink: Shrink = Shrink.REFUSE,
        orphan: bool = False,
        remove: bool = False,
        format: ImageFormat | None = None,
        on_progress: Progress | None = None,
        disk: OpenDisk | None = None,
        plan: MergePlan | None = None,
    ) -> str:
        """Merge *top*, its ancestor *target* and the layers between into one file, whose path is returned.

        Down, the default, that is *target*, which afterwards, durably, reads as *top* does; top's size wins. Up it is
        *top*, whose parent then is that of *target*. A stop leaves every disk that reads through *top* as it was, and
        the same call finishes, as long as *top* still lies over *target*; when it does not, everything was moved. A
        stop while files are removed may leave files of the middle of the run, which are no longer valid as standalone
        images.

        Refused, down, when *target* or a layer between has children outside the run, or *target* more names than one
        (hard links), unless *orphan*; refused when there is clearly no space for it, and with WouldLoseData when
        *target* or a layer between is larger than *top* and *shrink* does not allow that its end goes (up, only what is
        removed loses anything). With *remove*, what names *top* is relinked to the result, then those merged files are
        removed that nothing names any more; without, both are left to the caller.

        What is merged is what was planned: the files are claimed before they are looked at. *plan* is one that
        `plan_merge` made of the same *disk*, of which nothing is looked at again.
        """

    def plan_merge(
        self,
        files: FileSystem,
        top: str,
        target: str,
        *,
        direction: Direction = Direction.DOWN,
        format: ImageFormat | None = None,
        disk: OpenDisk | None = None,
    ) -> MergePlan:
        """What `merge` with *remove* would do. Changes nothing."""

    def relink(
        self,
        files: FileSystem,
        child: str,
        parent: str,
        *,
        force: bool = False,
        merged: bool = False,
        format: ImageFormat | None = None,
        disk: OpenDisk | None = None,
    ) -> None:
        """Record *parent* and its present linkage as the parent of *child*; directories are as for `create_child`.

        Atomic and durable on return; idempotent. Raises WrongParent, naming all that differs, for
        a parent with another linkage, disk id or size than *child* records or has. With *force* it is recorded all the
        same; a note beside *child* (`vhdx.chain.forced`) keeps what was recorded before,
        `undo_relink` puts it back, and until then whoever looks at the chain is told. Sectors of another size cannot be
        forced.

        *merged*: the caller has merged what *child* records into *parent*, so the content is known to fit.
        """

    def undo_relink(self, files: FileSystem, child: str, *, format: ImageFormat | None = None) -> None:
        """Record again what *child* recorded before *force*; whether that file is there does not matter.

        Atomic and durable on return. Raises Error when no parent was forced on it that it still records.
        """

    def convert(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        source_format: ImageFormat | None = None,
        options: CreateOptions | None = None,
        size: int | None = None,
        replace: bool = False,
        scan_zeros: bool = False,
        on_progress: Progress | None = None,
        on_warning: Warn | None = None,
        disk: OpenDisk | None = None,
    ) -> None:
        """Make *target* an image with the content of *source* read through its chain, and a disk id of its own.

        A dynamic VHDX unless *options* say otherwise. *size* may be larger than the source. The source is only read.
        *replace* is as in `create`; a target that is a layer of the source is refused. Zeros that the source stores
        stay out of a target that is not fixed, where the kernel or the server does not copy, or with *scan_zeros*,
        which has everything read.

        Blocks of a layer that share places in its file are told to *on_warning* before anything is written; what it
        raises ends the verb. Without it they are logged. Raises FormatError when they are too many: `Image.shared`.
        A stop leaves at most the temporary file.
        """

    def salvage(
        self,
        source_files: FileSystem,
        source: str,
        target_files: FileSystem,
        target: str,
        *,
        source_format: ImageFormat | None = None,
        options: CreateOptions | None = None,
        replace: bool = False,
        without_parent: bool = False,
        on_progress: Progress | None = None,
    ) -> Salvaged:
        """Make *target* an image with what can still be read of a damaged *source*; what is lost reads as zeros there.

        A damaged structure is used as far as its fields are sound. A block whose place is shared, impossible or
        outside the file is lost; a lost range is never replaced by what a parent holds. The report lists what is lost
        and what had to be taken on trust: look at it before the new image is used. Sound images are copied as
        `convert` does.

        Without its parent a differencing image is refused; with *without_parent* what only the parent has is lost.
        Raises FormatError when nothing describes the disk, and OSError when the connection to the source is lost;
        what the medium of the source fails to read is lost. Target, *options* and stops are as in `convert`.
        """

    def replay(self, files: FileSystem, path: str, *, format: ImageFormat | None = None) -> bool:
        """Put what the log of a VHDX holds where it belongs; False when there was nothing to do.

        The disk reads the same before and after. A stop leaves a log to replay.
        """

    def compact(
        self,
        files: FileSystem,
        path: str,
        *,
        scan: bool = True,
        format: ImageFormat | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Make the file small: blocks of zeros go (with *scan*, which reads them all), then the holes.

        The disk reads the same throughout. A stop leaves a sound image. Raises FormatError where blocks share places
        in the file.
        """

    def check(
        self,
        files: FileSystem,
        path: str,
        *,
        chain: bool = True,
        deep: bool = False,
        format: ImageFormat | None = None,
    ) -> Iterator[Finding]:
        """What is wrong with the file, or worth knowing, and, with *chain*, with those under it. Changes nothing.

        Bad bytes are findings, never exceptions. *deep* also reads every block.
        """

    def plan_repair(
        self, files: FileSystem, path: str, *, format: ImageFormat | None = None, reclaim: bool = False
    ) -> list[Fix]:
        """What `repair` would do, in this order; changes nothing.

        With *reclaim* the space that nothing refers to is given back, which trusts the table. Raises Error when
        something is wrong that cannot be put right without guessing.
        """

    def repair(
        self,
        files: FileSystem,
        path: str,
        *,
        undo: str,
        format: ImageFormat | None = None,
        reclaim: bool = False,
        on_fix: Callable[[Fix], None] | None = None,
    ) -> list[Fix]:
        """Put right what can be put right without guessing, as `plan_repair` says; all of it or, with Error, nothing.

        What the file was is saved in the new file *undo*, always before it is changed, and `undo_repair` takes it back.
        A stop leaves an image that can be repaired again or put back. Raises FileExistsError when *undo* exists.
        """

    def undo_repair(self, files: FileSystem, path: str, undo: str) -> None:
        """Make the image byte for byte what it was before the repair that wrote *undo*; idempotent.

        Raises Error, nothing being changed, when *undo* belongs to another file or the image was changed since.
        """
