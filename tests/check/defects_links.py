"""Lies about a chain: links that lead nowhere, elsewhere, or to what does not fit."""

import struct
from uuid import UUID

from tests.check.catalogue import INFO, SIZE, E, W, child, defect, grandchild
from tests.check.defects_disk import DISK_ID, LOGICAL, VIRTUAL_SIZE, put_locator, text
from tests.check.vhd_images import NONE, chained, change_footers, change_header, footer, header
from tests.check.vhd_images import SIZE as VHD_SIZE
from tests.format.raw import MIB, locator
from tests.image import forge
from tests.image.forge import Forge, writer
from vhdx.chain.forced import Forced, write
from vhdx.extents import Range
from vhdx.image.base import ParentLink


def link(image: Forge, *, parent: UUID | None = None, second: UUID | None = None, path: str = ".\\base.vhdx") -> None:
    """Another locator; by default the right one."""
    right = Forge(image.files, "base.vhdx").data_write_guid
    pairs = [(text("parent_linkage"), text(f"{{{parent or right}}}"))]
    if second is not None:
        pairs.append((text("parent_linkage2"), text(f"{{{second}}}")))
    put_locator(image, locator([*pairs, (text("relative_path"), text(path))]))


DECAPITATED = ("header-none-valid", "header-signature")


@defect("chain-unreadable", E, "chain", None, start=child, chain="disk.vhdx", implies=DECAPITATED)
def a_parent_without_headers(image: Forge) -> None:
    for offset in forge.HEADERS:
        Forge(image.files, "base.vhdx").write(offset, bytes(4096))


@defect("chain-unreadable", E, "chain", None, chain="disk.vhdx", implies=("file-unrecognised",))
def a_leaf_that_is_no_image(image: Forge) -> None:
    image.write(0, bytes(8))


@defect("chain-parent-missing", E, "chain", None, start=child, chain="disk.vhdx")
def a_parent_that_is_gone(image: Forge) -> None:
    image.files.remove("base.vhdx")


@defect("chain-parent-mismatch", E, "chain", None, start=child, chain="disk.vhdx", implies=("space-unused",))
def a_parent_that_was_changed(image: Forge) -> None:
    base = writer(image.files, "base.vhdx", start=900)
    base.zero(0, MIB)
    base.close()


@defect("chain-format", E, "chain", None, start=child, chain="disk.vhdx")
def a_parent_of_another_format(image: Forge) -> None:
    image.files.remove("base.vhdx")
    storage = image.files.create("base.vhdx")
    storage.write([(0, b"conectix".ljust(512, b"\0"))])
    storage.close()


@defect("chain-circle", E, "chain", None, start=child, chain="disk.vhdx")
def an_image_that_is_its_own_parent(image: Forge) -> None:
    link(image, path="disk.vhdx")


@defect("chain-circle", E, "chain", None, start=grandchild, chain="leaf.vhdx")
def a_parent_whose_parent_is_the_leaf(image: Forge) -> None:
    link(image, parent=Forge(image.files, "leaf.vhdx").data_write_guid, path=".\\leaf.vhdx")


@defect("chain-sector-size", E, "chain", None, start=child, chain="disk.vhdx")
def a_parent_of_large_sectors(image: Forge) -> None:
    Forge(image.files, "base.vhdx").write(LOGICAL, struct.pack("<I", 4096))


@defect("chain-child-smaller", W, "chain", None, start=child, chain="disk.vhdx")
def a_parent_that_is_larger(image: Forge) -> None:
    Forge(image.files, "base.vhdx").write(VIRTUAL_SIZE, struct.pack("<Q", SIZE + MIB))


@defect("chain-child-larger", INFO, "chain", None, start=child, chain="disk.vhdx")
def a_parent_that_is_smaller(image: Forge) -> None:
    Forge(image.files, "base.vhdx").write(VIRTUAL_SIZE, struct.pack("<Q", SIZE - MIB))


@defect("chain-disk-id", INFO, "chain", None, start=child, chain="disk.vhdx")
def a_parent_of_another_disk(image: Forge) -> None:
    Forge(image.files, "base.vhdx").write(DISK_ID, b"x" * 16)


@defect("chain-parent-log", W, "chain", None, start=child, chain="disk.vhdx", implies=("log-dirty",))
def a_parent_that_was_not_closed(image: Forge) -> None:
    before = Forge(image.files, "base.vhdx").data_write_guid
    base = writer(image.files, "base.vhdx", start=900)
    with base.allocate([Range(7 * MIB, 4096)]) as places:
        assert len(places) == 1
    base.flush()
    base.abandon()
    Forge(image.files, "base.vhdx").change_header(32, before.bytes_le)


@defect("chain-linkage2", INFO, "chain", None, start=child, chain="disk.vhdx")
def a_merge_that_was_stopped(image: Forge) -> None:
    link(image, parent=UUID(int=1), second=Forge(image.files, "base.vhdx").data_write_guid)


@defect("chain-forced", W, "chain", None, start=child, chain="disk.vhdx")
def a_parent_that_was_forced(image: Forge) -> None:
    became = (Forge(image.files, "base.vhdx").data_write_guid,)
    forced = Forced(ParentLink(UUID(int=1), None, {"relative_path": ".\\base.vhdx"}), became, ("its id is another",))
    write(image.files, "disk.vhdx", [forced], token="00000000")


@defect("chain-stale-path", W, "chain", None, start=child, chain="disk.vhdx")
def a_chain_that_was_moved(image: Forge) -> None:
    link(image, path=".\\old\\base.vhdx")


@defect("chain-path-escapes", W, "chain", None, start=child, chain="disk.vhdx", implies=("chain-stale-path",))
def a_path_to_elsewhere(image: Forge) -> None:
    link(image, path="..\\secrets\\base.vhdx")


@defect("chain-siblings", INFO, "chain", None, start=child, chain="disk.vhdx")
def another_child_of_the_parent(image: Forge) -> None:
    forge.engine(60).create_child(image.files, "other.vhdx", "base.vhdx")


VHD_LOCATOR = 2048  # the relative path of the child in `chained`


def link_vhd(image: Forge, path: str) -> None:
    """Another relative path, and no other record of where the parent lies."""
    data = path.encode("utf-16-le")
    locators = struct.pack(">4sIIIQ", b"W2ru", 512, len(data), 0, VHD_LOCATOR)
    name = path.rsplit("\\", 1)[-1].encode("utf-16-be")
    change_header(image, 64, name.ljust(512, b"\0") + locators.ljust(192, b"\0"))
    image.write(VHD_LOCATOR, data)


def put_vhd(image: Forge, data: bytes) -> None:
    """Another file in the place of the parent."""
    image.files.remove("base.vhd")
    storage = image.files.create("base.vhd")
    storage.write([(0, data)])
    storage.close()


@defect("chain-parent-missing", E, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_whose_parent_is_gone(image: Forge) -> None:
    image.files.remove("base.vhd")


@defect("chain-parent-mismatch", E, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_over_another_disk(image: Forge) -> None:
    change_footers(Forge(image.files, "base.vhd"), 68, b"another identity")


@defect("chain-format", E, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_over_a_vhdx(image: Forge) -> None:
    image.files.remove("base.vhd")
    forge.create(image.files, SIZE, "base.vhd")


@defect("chain-unreadable", E, "chain", None, start=chained, chain="disk.vhdx", implies=("vhd-footer-type",))
def a_vhd_over_one_of_an_unknown_type(image: Forge) -> None:
    change_footers(Forge(image.files, "base.vhd"), 60, b"\0\0\0\6")


@defect("chain-circle", E, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_that_is_its_own_parent(image: Forge) -> None:
    link_vhd(image, ".\\disk.vhdx")


@defect("chain-circle", E, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_under_a_copy_that_leads_back(image: Forge) -> None:
    data = image.read(0, image.size)
    put_vhd(image, data)
    base = Forge(image.files, "base.vhd")
    change_footers(base, 68, b"the parent's id!")
    change_header(base, 40, b"unique identity!")
    link_vhd(base, ".\\disk.vhdx")


@defect("chain-vhd-size", W, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_over_a_larger_one(image: Forge) -> None:
    end = footer(2, VHD_SIZE + MIB, offset=NONE, identity=b"the parent's id!")
    put_vhd(image, bytes(VHD_SIZE + MIB) + end)
    change_footers(Forge(image.files, "base.vhd"), 56, struct.pack(">HBB", 180, 4, 17))


@defect("chain-vhd-size", W, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_over_a_smaller_one(image: Forge) -> None:
    end = footer(2, VHD_SIZE - MIB, offset=NONE, identity=b"the parent's id!")
    put_vhd(image, bytes(VHD_SIZE - MIB) + end)
    change_footers(Forge(image.files, "base.vhd"), 56, struct.pack(">HBB", 120, 4, 17))


@defect("chain-child-larger", INFO, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_of_blktap_over_a_smaller_one(image: Forge) -> None:
    a_vhd_over_a_smaller_one(image)
    made_by_tapdisk(image)


@defect("chain-vhd-size", W, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_of_blktap_over_a_larger_one(image: Forge) -> None:
    a_vhd_over_a_larger_one(image)
    made_by_tapdisk(image)


def made_by_tapdisk(image: Forge) -> None:
    """Of a version before there were maps of full blocks."""
    change_footers(image, 28, b"tap\0" + struct.pack(">I", 0x10000))


@defect("chain-block-size", INFO, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_over_one_of_smaller_blocks(image: Forge) -> None:
    end = footer(3, identity=b"the parent's id!")
    put_vhd(image, end + header(entries=5) + b"\xff" * 512 + end)
    change_header(Forge(image.files, "base.vhd"), 32, struct.pack(">I", MIB))


@defect("chain-stale-path", W, "chain", None, start=chained, chain="disk.vhdx")
def a_vhd_that_was_moved(image: Forge) -> None:
    link_vhd(image, ".\\old\\base.vhd")


@defect("chain-path-escapes", W, "chain", None, start=chained, chain="disk.vhdx", implies=("chain-stale-path",))
def a_vhd_with_a_path_to_elsewhere(image: Forge) -> None:
    link_vhd(image, "..\\base.vhd")


@defect("chain-siblings", INFO, "chain", None, start=chained, chain="disk.vhdx")
def another_vhd_of_the_parent(image: Forge) -> None:
    forge.engine(60).create_child(image.files, "other.vhd", "base.vhd")
