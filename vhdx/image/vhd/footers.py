"""The two footers of a VHD with blocks: the one at the end of the file, and its copy at the start.

Each is one sector, so it is there whole, old or new. They are equal but for the moment of a change, in which the one
at the end counts; and while the file grows over the place of the one at the end, the copy is there.
"""

from vhdx.errors import OutOfSpace, UnsupportedFeature
from vhdx.format import vhd_footer
from vhdx.format.vhd_bat import LARGEST_FILE
from vhdx.format.vhd_footer import SIZE, Footer
from vhdx.image.vhd.space import PAGE
from vhdx.storage import transfer
from vhdx.storage.base import Storage

_AHEAD = 16 << 20
"""How much the file grows over what is asked for: each growing costs a flush. Closing cuts off what is left."""


class Footers:
    """*end* is the place of a sound footer at the end of the file, None where there is none.

    *copied* says that the copy is equal. A file that is being built is no image until it is finished, so its footers
    need no order.
    """

    def __init__(
        self, storage: Storage, footer: Footer, *, end: int | None, copied: bool, building: bool = False
    ) -> None:
        self._storage = storage
        self._copied = copied
        self._building = building
        self.footer = footer
        self.end = end

    @property
    def settled(self) -> bool:
        """Whether both are there and equal."""
        return self.end is not None and self._copied

    def settle(self, used_end: int) -> None:
        """Make both be there and equal, durably; *used_end* is where the last block ends."""
        if self.end is None:
            end = _page_up(max(self._storage.size(), used_end + SIZE)) - SIZE
            self._write(end)
            self._storage.flush()
            self.end = end
        if not self._copied:
            self._write(0)
            self._storage.flush()
            self._copied = True

    def make_room(self, used_end: int) -> None:
        """Let the file grow until what ends at *used_end* does not reach the footer.

        Durable on return, and at every moment one of the footers is there. Raises OutOfSpace, the file being as before.
        """
        assert self.end is not None
        if used_end <= self.end:
            return
        if used_end > LARGEST_FILE:
            raise UnsupportedFeature(f"the file would grow over {LARGEST_FILE} bytes, which no table can name")
        old, new = self.end, _page_up(used_end + _AHEAD + SIZE) - SIZE
        if self._building:
            self._storage.truncate(new + SIZE)
            self.end = new
            return
        try:
            self._write(new)
        except OutOfSpace:
            self._storage.truncate(old + SIZE)
            raise
        self._storage.flush()
        # Whoever gets that place expects zeros there.
        transfer.zero(self._storage, [(old, SIZE)])
        self.end = new

    def trim(self, used_end: int) -> None:
        """Cut off what lies between *used_end* and the footer. A stop leaves the old or the new length."""
        assert self.end is not None
        new = _page_up(used_end + SIZE) - SIZE
        if new >= self.end:
            return
        if not self._building:
            self._write(new)
            self._storage.flush()
        self._storage.truncate(new + SIZE)
        self._storage.flush()
        self.end = new

    def replace(self, footer: Footer) -> None:
        """Put *footer* in force: durable on return, and until then the old one or the new one counts."""
        assert self.end is not None
        self.footer = footer
        if self._building:
            return
        self._write(self.end)
        self._storage.flush()
        self._copied = False
        self.settle(self.end)

    def finish(self) -> None:
        """A file that was being built gets its footers. Not flushed."""
        assert self.end is not None
        self._write(0)
        self._write(self.end)
        self._building, self._copied = False, True

    def _write(self, offset: int) -> None:
        self._storage.write([(offset, vhd_footer.build(self.footer))])


def _page_up(offset: int) -> int:
    return -(-offset // PAGE) * PAGE
