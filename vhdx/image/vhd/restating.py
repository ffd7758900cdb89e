"""Going over to another dynamic header in one step, although a VHD has only one and it is longer than a sector.

The footer names the header, and a footer is one sector. So the new header goes to a free place, durable, and then the
footers change to it: from that moment the new state counts, before it the old one. Then the header is written to where
every reader expects it, and the footers go back. A stop on the way leaves a sound image, at most with its header at an
unusual place, which the next change puts right.
"""

from dataclasses import replace

from vhdx.extents import Range
from vhdx.format import vhd_header
from vhdx.format.vhd_footer import Footer
from vhdx.format.vhd_header import HEADER, HOME, DynamicHeader
from vhdx.image.vhd.file import VhdFile


def restate(file: VhdFile, header: DynamicHeader, footer: Footer) -> None:
    """Let *header* and *footer* be in force, both or none after a stop. Durable on return.

    What they refer to is written before; it becomes durable here. Raises OutOfSpace with the old state in force.
    """
    assert file.space is not None
    before = file.footer.data_offset
    if before == HOME or not file.space.claim(Range(HOME, HEADER.size)):
        away = file.take_bytes(HEADER.size).offset
        _go(file, header, replace(footer, data_offset=away))
        file.space.drop(before)
        if before != HOME:
            return
        before = away
        claimed = file.space.claim(Range(HOME, HEADER.size))
        assert claimed
    _go(file, header, replace(footer, data_offset=HOME))
    file.space.drop(before)


def _go(file: VhdFile, header: DynamicHeader, footer: Footer) -> None:
    with file.life.poisoning():
        file.storage.write([(footer.data_offset, vhd_header.build(header))])
        file.storage.flush()
        file.footers.replace(footer)
    file.header = header
