"""Checks of creator, timestamp and geometry in the footer of a VHD (VHD 1.0)."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from vhdx.check.finding import Finding, found
from vhdx.format import vhd_footer
from vhdx.format.vhd_footer import HOSTS, Footer
from vhdx.format.vhd_geometry import LARGEST, SECTOR, geometry

_CREATORS = frozenset(
    {
        *(b"vpc", b"vs", b"win", b"d2v", b"wa"),  # Microsoft: Virtual PC, Virtual Server, Windows, Disk2vhd, Azure
        *(b"tap", b"CTXS", b"caml", b"xo"),  # blktap, Citrix, ocaml-vhd, Xen Orchestra
        *(b"qemu", b"qem2", b"vbox", b"dutl", b"*img", b"pcem"),  # and VirtualBox, DiscUtils, mkimg, PCem
    }
)
"""Without trailing spaces or zeros; programs differ in the padding."""
_EPOCH = datetime(2000, 1, 1)
_SKEW = 86400
"""blktap uses local time, and clocks may be wrong."""


def check_origin(footer: Footer, at: int, now: float) -> Iterator[Finding]:
    """Check the fields; *at* is the offset of the footer, *now* is in seconds since 1970-01-01 UTC."""
    latest = vhd_footer.timestamp(now + _SKEW)
    # A clock before 2000 was never set.
    if 0 < latest < footer.timestamp:
        day = (_EPOCH + timedelta(seconds=footer.timestamp)).date()
        yield found("vhd-timestamp-future", at + 24, f"the timestamp {day} is in the future")
    if footer.creator.rstrip(b"\0 ") not in _CREATORS:
        message = f"the creator {footer.creator!r} is unknown; some programs size such files by their geometry"
        yield found("vhd-creator", at + 28, message)
    if footer.creator_host not in HOSTS and any(footer.creator_host):  # some Linux programs write zeros
        message = f"invalid creator host OS {footer.creator_host!r}: must be b'Wi2k' or b'Mac '"
        yield found("vhd-host", at + 36, message)
    yield from _shape(footer, at)


def _shape(footer: Footer, at: int) -> Iterator[Finding]:
    """Check the geometry against the disk size; rounding down to whole cylinders is correct.

    A separate finding covers files that other programs size by their geometry.
    """
    shape = footer.geometry
    if shape == LARGEST:
        return
    warning = vhd_footer.size_warning(footer)
    if warning:
        yield found("vhd-size-by-geometry", at + 56, warning)
        return
    cylinder = shape.heads * shape.sectors_per_track * SECTOR
    rest = footer.current_size - shape.size
    if shape == geometry(footer.current_size) or 0 <= rest < cylinder:
        return
    if rest >= 0 and shape.cylinders == LARGEST.cylinders:
        return
    message = (
        f"{shape.cylinders} cylinders, {shape.heads} heads and {shape.sectors_per_track} sectors are {shape.size} "
        f"bytes, but the disk has {footer.current_size}; only programs that use the geometry are affected"
    )
    yield found("vhd-geometry", at + 56, message)
