"""Checks of a chain of files: each file, then each link between two (MS-VHDX 2.6.2.6)."""

import posixpath
import time
from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from vhdx.chain.children import Looked, Relatives
from vhdx.chain.forced import has_note, standing
from vhdx.chain.parents import (
    DEFAULT_POLICY,
    Candidate,
    ParentPolicy,
    explained_candidates,
    followed,
    may_not_be_read,
    unusable,
    why_not,
)
from vhdx.check.file import check_storage
from vhdx.check.finding import Finding, found
from vhdx.errors import Error, InUse
from vhdx.image.base import ImageFormat, ImageInfo, LogState, NewId, ParentLink
from vhdx.image.marks import carries
from vhdx.image.open import open_image
from vhdx.storage.base import Access, FileSystem, Storage

_UNSEEN = "the end of the parent is hidden; a merge would truncate it, and requires --shrink"


def check_chain(
    files: FileSystem,
    path: str,
    *,
    new_id: NewId,
    policy: ParentPolicy = DEFAULT_POLICY,
    deep: bool = False,
    access: Access = Access.READ,
    format: ImageFormat | None = None,
    now: float | None = None,
) -> Iterator[Finding]:
    """Findings for *path* and its parents: file by file, each followed by the link to its parent.

    Continues with a parent that does not match, and stops at one that cannot be found or opened. *format* overrides
    detection for *path*; parents always have the child's format. *now* is in seconds since 1970-01-01 UTC (default:
    the system clock). Raises InUse when a file is open for writing, FileNotFoundError when *path* does not exist, and
    other errors of the transport.
    """
    path = files.resolve(path)
    moment = time.time() if now is None else now
    relatives = Relatives(files, policy=policy, new_id=new_id)
    walk = _Walk(files, policy, new_id, access, relatives)
    seen: set[Hashable] = set()
    child: _Layer | None = None
    following: Candidate | None = Candidate(path, "", by_name=False, base=posixpath.dirname(path))
    while following is not None:
        try:
            opened = files.open(following.path, access, beneath=following.base)
        except Error as error:
            if child is None or isinstance(error, InUse):
                raise
            yield walk.found(child.path, "chain-unreadable", f"the parent cannot be opened ({error})")
            return
        with closing(opened) as storage:
            fault = walk.admit(following.path, storage.identity(), child, seen)
            if fault is not None:
                yield fault
                return
            layer = yield from walk.look(following.path, storage, deep=deep, format=format, now=moment)
        if layer is None:
            return
        if child is not None:
            yield from walk.link(child, layer, following)
        child, format = layer, layer.info.format
        following = None if layer.info.parent is None else (yield from walk.parent(layer, layer.info.parent))


def check_forced(
    files: FileSystem, path: str, *, new_id: NewId, format: ImageFormat | None = None
) -> Iterator[Finding]:
    """Whether the parent of *path* was recorded with force; no parent is opened. Raises OSError."""
    path = files.resolve(path)
    if not has_note(files, path):
        return
    with suppress(Error), closing(open_image(files.open(path, Access.INSPECT), new_id=new_id, format=format)) as image:
        if image.info.parent is not None:
            relatives = Relatives(files, policy=DEFAULT_POLICY, new_id=new_id)
            walk = _Walk(files, DEFAULT_POLICY, new_id, Access.INSPECT, relatives)
            layer = _Layer(path, image.info, image.storage.identity())
            yield from walk.forced(layer, image.info.parent)


@dataclass(frozen=True, slots=True)
class _Layer:
    path: str
    info: ImageInfo
    identity: Hashable


@dataclass(frozen=True, slots=True)
class _Walk:
    """Walks a chain from the leaf to the base; findings about a link carry the name of its child."""

    files: FileSystem
    policy: ParentPolicy
    new_id: NewId
    access: Access
    relatives: Relatives

    def found(self, path: str, code: str, message: str) -> Finding:
        return replace(found(code, None, message), file=self.files.describe(path))

    def of(self, child: _Layer, code: str, message: str) -> Finding:
        """A finding about the link of *child*, by the rules of its format."""
        finding = self.found(child.path, code, message)
        if child.info.format is ImageFormat.VHD and finding.section:
            return replace(finding, section="VHD 1.0 parent locator")
        return finding

    def admit(self, path: str, identity: Hashable, child: _Layer | None, seen: set[Hashable]) -> Finding | None:
        """Why the walk ends before *path*, or None; adds it to *seen*."""
        if identity in seen:
            child_path = path if child is None else child.path
            message = f"the parent {self.files.describe(path)} is also a child in this chain: the chain is circular"
            return self.found(child_path, "chain-circle", message)
        if len(seen) == self.policy.most_layers:
            message = f"more than {self.policy.most_layers} layers; the layers below this one were not checked"
            return self.found(path, "chain-too-long", message)
        seen.add(identity)
        return None

    def look(
        self, path: str, storage: Storage, *, deep: bool, format: ImageFormat | None, now: float
    ) -> Generator[Finding, None, _Layer | None]:
        """Findings of one file; returns its info if it can be opened."""
        yield from check_storage(storage, deep=deep, format=format, now=now)
        try:
            with closing(open_image(storage, new_id=self.new_id, format=format)) as image:
                return _Layer(path, image.info, image.storage.identity())
        except Error as error:
            yield self.found(path, "chain-unreadable", f"the image cannot be opened ({error})")
            return None

    def parent(self, child: _Layer, link: ParentLink) -> Generator[Finding, None, Candidate | None]:
        """The file to continue with: the parent, or else the file at its path."""
        home = posixpath.dirname(child.path)
        recorded = link.paths.get("relative_path")
        direct = None
        if recorded is not None:
            direct = posixpath.normpath(posixpath.join(home, recorded.replace("\\", "/")))
            if direct == posixpath.normpath(child.path):
                yield self.of(child, "chain-circle", f"the image records itself, {recorded!r}, as its parent")
                return None
            leads = followed(self.files, child.path, link, self.policy)
            if leads is None:
                message = f"the recorded relative path {recorded!r} leads outside the directory and was not followed"
                yield self.of(child, "chain-path-escapes", message)
            else:
                direct = leads.path
        chosen = yield from self._choose(child, link)
        if chosen is not None and direct is not None and posixpath.normpath(chosen.path) != direct:
            name = self.files.describe(chosen.path)
            message = f"the recorded relative path {recorded!r} does not lead to {name}; relink it"
            yield self.of(child, "chain-stale-path", message)
        return chosen

    def _choose(self, child: _Layer, link: ParentLink) -> Generator[Finding, None, Candidate | None]:
        mismatched, unreadable, tried, other_format, denied = [], [], [], [], []
        for candidate in explained_candidates(self.files, child.path, link, self.policy):
            name = self.files.describe(candidate.path)
            try:
                with closing(self.files.open(candidate.path, self.access, beneath=candidate.base)) as storage:
                    format = child.info.format
                    if not carries(storage, format) and any(carries(storage, other) for other in ImageFormat):
                        other_format.append(name)
                        continue
                    with closing(open_image(storage, new_id=self.new_id, format=format)) as image:
                        linkage = image.info.linkage
            except PermissionError:
                denied.append(candidate.path)
            except InUse:
                raise
            except Error as error:
                unreadable.append(candidate)
                tried.append(str(error))
            except OSError as error:
                tried.append(why_not(error, name))
            else:
                if link.accepts(linkage):
                    return candidate
                mismatched.append((candidate, f"{name} has a different id"))
        if denied:
            raise may_not_be_read(self.files, child.path, denied[0])
        if mismatched:
            ids = ", ".join(str(guid) for guid in (link.linkage, link.linkage2) if guid is not None)
            message = (
                f"{'; '.join(text for _, text in mismatched)}; the recorded id is {ids}: the file was modified after "
                "the child was created, or is not the parent; if its content is known to be correct, relink the child"
            )
            yield self.of(child, "chain-parent-mismatch", message)
            return mismatched[0][0]
        if other_format:
            message = f"{'; '.join(other_format)}: the format differs from that of the child, {child.info.format.value}"
            yield self.of(child, "chain-format", message)
            return None
        if unreadable:
            return unreadable[0]
        yield self._missing(child, link, tried)
        return None

    def _missing(self, child: _Layer, link: ParentLink, tried: Sequence[str]) -> Finding:
        paths = "; ".join(f"{key} {path!r}" for key, path in link.paths.items())
        reasons = [*tried, *unusable(self.files, child.path, link, self.policy)]
        message = f"recorded: {paths}; {'; '.join(reasons)}" if paths else "no path to the parent is recorded"
        return self.of(child, "chain-parent-missing", f"{message}; restore the parent or relink the child")

    def link(self, child: _Layer, parent: _Layer, found_by: Candidate) -> Iterator[Finding]:
        """Findings about a child and its parent."""
        above, below = child.info, parent.info
        assert above.parent is not None
        if above.parent.accepts(below.linkage):
            yield from self._identity(child, parent, above.parent, found_by)
        yield from self._shape(child, parent)
        if below.log is LogState.DIRTY:
            message = f"the log of {self.files.describe(parent.path)} must be replayed; opening for writing does that"
            yield self.of(child, "chain-parent-log", message)
        if above.format is ImageFormat.VHDX and above.disk_id != below.disk_id:
            message = "its disk id differs from the parent's"
            if above.parent.accepts(below.linkage):
                message = f"the disk id {above.disk_id} differs from the parent's, {below.disk_id}"
            yield self.of(child, "chain-disk-id", message)

    def _identity(
        self, child: _Layer, parent: _Layer, link: ParentLink, found_by: Candidate
    ) -> Iterator[Finding]:
        name, below = self.files.describe(parent.path), parent.info
        assert below.linkage is not None
        which = "id" if link.linkage == below.linkage else "second id"
        how = f"the file name in {found_by.key}" if found_by.by_name else found_by.key
        yield self.of(child, "chain-link", f"the parent is {name}, verified by the recorded {which}, found by {how}")
        if link.linkage != below.linkage:
            message = f"only the second recorded id matches {name}: a merge may have been interrupted; run it again"
            yield self.of(child, "chain-linkage2", message)
        yield from self.forced(child, link)
        kin = self.relatives.of(parent.path, below.format)
        of_parent = kin.children(parent.path, Looked(below, parent.identity))
        others = [path for path in of_parent if posixpath.normpath(path) != posixpath.normpath(child.path)]
        if others:
            message = f"{name} is also the parent of {', '.join(map(self.files.describe, others))}"
            yield self.of(child, "chain-siblings", message)

    def forced(self, child: _Layer, link: ParentLink) -> Iterator[Finding]:
        """Whether the parent of *child* was recorded with force."""
        try:
            forced = standing(self.files, child.path, link)
        except (Error, PermissionError) as error:
            yield self.of(child, "chain-forced", f"unknown whether the parent was recorded with --force ({error})")
            return
        if forced is not None:
            message = f"its parent was recorded with --force although {'; '.join(forced.differs)}"
            yield self.of(child, "chain-forced", message)

    def _shape(self, child: _Layer, parent: _Layer) -> Iterator[Finding]:
        above, below = child.info, parent.info
        if above.logical_sector_size != below.logical_sector_size:
            message = f"the sector size is {above.logical_sector_size}, the parent's is {below.logical_sector_size}"
            yield self.of(child, "chain-sector-size", message)
        sizes = f"the disk size is {above.virtual_size}, the parent's is {below.virtual_size}"
        unseen = f"; {_UNSEEN}" if above.virtual_size < below.virtual_size else ""
        larger_by_blktap = above.virtual_size > below.virtual_size and above.creator.startswith("tap ")
        if above.format is ImageFormat.VHD and above.virtual_size != below.virtual_size and not larger_by_blktap:
            message = f"{sizes}: Windows rejects such a VHD with 0xC03A0017{unseen}"
            yield self.of(child, "chain-vhd-size", message)
        elif unseen:
            yield self.of(child, "chain-child-smaller", f"{sizes}: {_UNSEEN}")
        elif above.virtual_size > below.virtual_size:
            yield self.of(child, "chain-child-larger", f"{sizes}: the range beyond the parent reads as zeros")
        if below.block_size is not None and above.block_size != below.block_size:
            message = f"the block size is {above.block_size}, the parent's is {below.block_size}"
            yield self.of(child, "chain-block-size", message)
