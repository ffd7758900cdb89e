"""Who made a VHD, when, and for a drive of what shape: what its footer says of that (VHD 1.0)."""

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
"""Without the spaces or zeros at the end, of which one program writes either."""
_EPOCH = datetime(2000, 1, 1)
_SKEW = 86400
"""blktap counts from midnight of its own time zone, and clocks are not all right."""


def check_origin(footer: Footer, at: int, now: float) -> Iterator[Finding]:
    """What is odd of it; *at* is the place of the footer, *now* in seconds since 1970-01-01 UTC."""
    latest = vhd_footer.timestamp(now + _SKEW)
    # A clock that stands before 2000 was never set: it tells nothing.
    if 0 < latest < footer.timestamp:
        day = (_EPOCH + timedelta(seconds=footer.timestamp)).date()
        yield found("vhd-timestamp-future", at + 24, f"the timestamp {day} is in the future by this clock")
    if footer.creator.rstrip(b"\0 ") not in _CREATORS:
        message = f"the creator {footer.creator!r} is unknown; some programs take the geometry of such files as size"
        yield found("vhd-creator", at + 28, message)
    if footer.creator_host not in HOSTS and any(footer.creator_host):  # some programs of Linux leave zeros
        message = f"the host system of the creator is {footer.creator_host!r}, neither b'Wi2k' nor b'Mac '"
        yield found("vhd-host", at + 36, message)
    yield from _shape(footer, at)


def _shape(footer: Footer, at: int) -> Iterator[Finding]:
    """What a machine that believes the geometry sees of the disk; rounding down to whole cylinders is as it should be.

    Where programs take the size of the disk from it, a finding of its own says so.
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
        f"{shape.cylinders} cylinders, {shape.heads} heads and {shape.sectors_per_track} sectors make {shape.size} "
        f"bytes of a disk of {footer.current_size}; only programs that use the geometry are affected"
    )
    yield found("vhd-geometry", at + 56, message)
