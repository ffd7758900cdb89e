"""Every rule that a check knows, by a code that stays the same."""

from collections.abc import Mapping
from types import MappingProxyType

from vhdx.check.rule import Rule, Severity
from vhdx.check.vhd_rules import VHD_RULES

_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

_FILE = {
    "file-unrecognised": Rule(_E, "file", "", "The bytes are of no known format."),
    "file-ambiguous": Rule(_E, "file", "", "The file carries the marks of two formats."),
    "file-changing": Rule(_E, "file", "", "The file became shorter while it was checked."),
    "file-too-short": Rule(_E, "file", "2.1", "The file is shorter than the structures that every image has."),
    "file-too-large": Rule(_E, "file", "2.1", "The file, or what its log makes of it, is larger than any image."),
    "file-size-alignment": Rule(_I, "file", "2.1", "The length of the file is not a multiple of 1 MiB."),
    "file-identifier": Rule(_E, "file identifier", "2.2.1", "The file does not begin with the format's signature."),
    "creator-text": Rule(_I, "file identifier", "2.2.1", "The creator's name is not UTF-16 text."),
    "reserved-area": Rule(_W, "file", "2.1", "Bytes between the structures of the first MiB are not zero."),
    "findings-left-out": Rule(_I, "file", "", "More findings of one code than are listed."),
    "check-given-up": Rule(_W, "file", "", "So much is wrong that the file was not looked through to its end."),
}

_HEADER = {
    "header-none-valid": Rule(_E, "header", "2.2.2", "No copy of the header is valid."),
    "header-signature": Rule(_W, "header", "2.2.2", "A header copy has no signature."),
    "header-checksum": Rule(_W, "header", "2.2.2", "The checksum of a copy of the header is wrong."),
    "header-reserved": Rule(_W, "header", "2.2.2", "Reserved bytes of a header are not zero."),
    "header-same-sequence": Rule(_E, "header", "2.2.2", "Two different headers have the same sequence number."),
    "header-identical": Rule(_I, "header", "2.2.2", "Both headers are the same, as Disk2vhd leaves them."),
    "header-sequence-gap": Rule(_W, "header", "2.2.2.1", "The sequence numbers of the headers do not follow."),
    "header-sequence-last": Rule(_E, "header", "2.2.2.1", "The sequence number is the largest possible."),
    "header-guid-zero": Rule(_W, "header", "2.2.2", "FileWriteGuid or DataWriteGuid is zero."),
    "header-version": Rule(_E, "header", "2.2.2", "The version of the format is not 1."),
    "header-log-version": Rule(_E, "header", "2.2.2", "The version of the log is not 0."),
    "header-log-alignment": Rule(_E, "header", "2.2.2", "Offset or length of the log is not a multiple of 1 MiB."),
    "header-log-in-headers": Rule(_E, "header", "2.2.2", "The log overlaps the header section."),
    "header-log-beyond-end": Rule(_E, "header", "2.2.2", "The log extends beyond end of file."),
    "header-no-log": Rule(_W, "header", "2.2.2", "The file has no log, so it cannot be changed safely."),
    "header-log-without-length": Rule(_E, "header", "2.2.2", "A log is in use but has no length."),
}

_LOG = {
    "log-dirty": Rule(_I, "log", "2.3.3", "The log holds changes that must be replayed."),
    "log-too-large": Rule(_E, "log", "2.3", "The log in use holds more than is replayed."),
    "log-not-valid": Rule(_E, "log", "2.3.3", "The log is full of overlapping entries that are not valid."),
    "log-no-sequence": Rule(_E, "log", "2.3.3", "A log is in use but no sequence of its entries is valid."),
    "log-file-truncated": Rule(_E, "log", "2.3.3", "The file is shorter than when the log was written."),
    "log-file-growth": Rule(_I, "log", "2.3.3", "Replaying the log makes the file longer."),
    "log-file-growth-unfounded": Rule(_E, "log", "2.3.3", "The log gives the file a length that nothing needs."),
    "log-offset-alignment": Rule(_W, "log entry", "2.3.1.1", "A file size in the log is not a multiple of 1 MiB."),
    "log-target-alignment": Rule(_E, "log entry", "2.3.1", "A change in the log is not a multiple of 4 KiB."),
    "log-target-headers": Rule(_E, "log entry", "2.3.1", "A change in the log is to the identifier or a header."),
    "log-target-log": Rule(_E, "log entry", "2.3.1", "A change in the log is to the log itself."),
    "log-target-beyond-end": Rule(_E, "log entry", "2.3.1", "A change in the log lies beyond end of file."),
}

_REGION = {
    "region-table-none-valid": Rule(_E, "region table", "2.2.3.1", "No copy of the region table is valid."),
    "region-table-signature": Rule(_W, "region table", "2.2.3.1", "A copy of the region table has no signature."),
    "region-table-checksum": Rule(_W, "region table", "2.2.3.1", "The checksum of a region table is wrong."),
    "region-table-count": Rule(_E, "region table", "2.2.3.1", "A region table claims more entries than fit."),
    "region-table-reserved": Rule(_E, "region table", "2.2.3.1", "The reserved field of a region table is not zero."),
    "region-table-padding": Rule(_W, "region table", "2.2.3", "Bytes behind a region table's entries are not zero."),
    "region-tables-differ": Rule(_W, "region table", "2.2.3", "The copies of the region table are not the same."),
    "region-missing": Rule(_E, "region table", "2.2.3.2", "The BAT or the metadata region is not in the table."),
    "region-duplicate": Rule(_E, "region table entry", "2.2.3.2", "A region has two entries."),
    "region-length": Rule(_E, "region table entry", "2.2.3.2", "A region has no length, or one that cannot be."),
    "region-alignment": Rule(_E, "region table entry", "2.2.3.2", "Offset or length of a region is not 1 MiB aligned."),
    "region-in-headers": Rule(_E, "region table entry", "2.2.3.2", "A region overlaps the header section."),
    "region-beyond-end": Rule(_E, "region table entry", "2.2.3.2", "A region extends beyond end of file."),
    "region-reserved": Rule(_E, "region table entry", "2.2.3.2", "Reserved flags of a region are set."),
    "region-overlap": Rule(_E, "region table", "2.2.3.2", "Two regions, or a region and the log, overlap."),
    "region-unknown-required": Rule(_E, "region table entry", "2.2.3.2", "An unknown region is required."),
    "region-unknown": Rule(_I, "region table entry", "2.2.3.2", "There is a region that is not known."),
    "region-not-required": Rule(_I, "region table entry", "2.2.3.2", "A known region is not marked as required."),
}

_METADATA = {
    "metadata-signature": Rule(_E, "metadata table", "2.6.1.1", "The metadata table has no signature."),
    "metadata-reserved": Rule(_E, "metadata table", "2.6.1.1", "Reserved bytes of the metadata table are not zero."),
    "metadata-count": Rule(_E, "metadata table", "2.6.1.1", "The metadata table claims more entries than fit."),
    "metadata-stale-entries": Rule(_I, "metadata table", "2.6.1", "Old bytes lie behind the counted entries."),
    "metadata-too-much": Rule(_E, "metadata table", "2.6.1", "More or longer items than a file may have."),
    "metadata-item-missing": Rule(_E, "metadata table", "2.6.2", "An item that every image has is missing."),
    "metadata-item-id": Rule(_E, "metadata table entry", "2.6.1.2", "The id of an item is zero."),
    "metadata-item-reserved": Rule(_E, "metadata table entry", "2.6.1.2", "Reserved bits of an item are set."),
    "metadata-item-duplicate": Rule(_E, "metadata table entry", "2.6.1.2", "An item has two entries."),
    "metadata-item-user-required": Rule(_E, "metadata table entry", "2.6.1.2", "A user's item is required."),
    "metadata-item-too-long": Rule(_E, "metadata table entry", "2.6.1.2", "An item is longer than 1 MiB."),
    "metadata-item-offset": Rule(_E, "metadata table entry", "2.6.1.2", "An item overlaps the table."),
    "metadata-item-beyond-region": Rule(_E, "metadata table entry", "2.6.1.2", "An item extends beyond its region."),
    "metadata-item-overlap": Rule(_E, "metadata table entry", "2.6.1.2", "Two items overlap."),
    "metadata-item-length": Rule(_E, "metadata table entry", "2.6.2", "A known item has a wrong length."),
    "metadata-item-flags": Rule(_E, "metadata table entry", "2.6.2", "A known item has wrong flags."),
    "metadata-item-not-required": Rule(_I, "metadata table entry", "2.6.2", "A known item is not marked as required."),
    "metadata-item-unknown-required": Rule(_E, "metadata table entry", "2.6.1.2", "An unknown item is required."),
    "metadata-item-unknown": Rule(_I, "metadata table entry", "2.6.1.2", "A system item is unknown."),
    "metadata-incomplete-file": Rule(_E, "metadata table entry", "2.6.2", "Creation of the file was not completed."),
    "file-parameters-reserved": Rule(_E, "file parameters", "2.6.2.1", "Reserved flags are set."),
    "block-size": Rule(_E, "file parameters", "2.6.2.1", "The block size is not 2^n of 1 to 256 MiB."),
    "leave-allocated-ignored": Rule(_W, "file parameters", "2.6.2.1", "LeaveBlockAllocated is set, with a parent."),
    "virtual-size": Rule(_E, "virtual disk size", "2.6.2.2", "The size is 0, over 64 TiB or not whole sectors."),
    "disk-id-zero": Rule(_W, "virtual disk id", "2.6.2.3", "The id of the disk is zero."),
    "logical-sector-size": Rule(_E, "logical sector size", "2.6.2.4", "The size is neither 512 nor 4096."),
    "physical-sector-size": Rule(_E, "physical sector size", "2.6.2.5", "The size is neither 512 nor 4096."),
}

_LOCATOR = {
    "locator-missing": Rule(_E, "metadata table", "2.6.2.6", "The image has a parent but no parent locator."),
    "locator-unused": Rule(_W, "parent locator", "2.6.2.6", "There is a parent locator but the image has no parent."),
    "locator-type": Rule(_E, "parent locator", "2.6.2.6.1", "The locator is not of the VHDX type."),
    "locator-reserved": Rule(_E, "parent locator", "2.6.2.6.1", "The reserved field is not zero."),
    "locator-count": Rule(_E, "parent locator", "2.6.2.6.1", "There are no pairs, too many, or more than fit."),
    "locator-text": Rule(_E, "parent locator", "2.6.2.6.2", "A key or a value is not text inside the item."),
    "locator-duplicate": Rule(_E, "parent locator", "2.6.2.6.2", "A key occurs twice."),
    "locator-linkage": Rule(_E, "parent locator", "2.6.2.6.3", "The id of the parent is missing or not a GUID."),
    "locator-linkage2": Rule(_W, "parent locator", "2.6.2.6.3", "The second id of the parent is not a GUID."),
    "locator-no-path": Rule(_E, "parent locator", "2.6.2.6.3", "No path to the parent is recorded."),
    "locator-unknown-key": Rule(_I, "parent locator", "2.6.2.6.3", "A key is unknown."),
}

_BAT = {
    "bat-too-small": Rule(_E, "BAT", "2.5", "The region is too small for the blocks of the disk."),
    "bat-reserved-bits": Rule(_E, "BAT entry", "2.5.1", "Reserved bits of an entry are set."),
    "bat-state": Rule(_E, "BAT entry", "2.5.1.1", "A payload block has a state that does not exist."),
    "bat-bitmap-state": Rule(_E, "BAT entry", "2.5.1.2", "A sector bitmap has a state that does not exist."),
    "bat-partial-without-parent": Rule(_E, "BAT entry", "2.5.1.1", "A block is partially present without a parent."),
    "bat-bitmap-missing": Rule(_E, "BAT entry", "2.5.1.2", "A partially present block has no sector bitmap."),
    "bat-bitmap-without-parent": Rule(_W, "BAT entry", "2.5.1.2", "There is a sector bitmap without a parent."),
    "bat-no-place": Rule(_E, "BAT entry", "2.5.1", "A block is present but has no file offset."),
    "bat-zero-with-place": Rule(_E, "BAT entry", "2.5.1.1", "A zero block has a file offset; Windows cannot read it."),
    "bat-absent-with-place": Rule(_W, "BAT entry", "2.5.1", "A block that is not present has a file offset."),
    "bat-in-structure": Rule(_E, "BAT entry", "2.5.1", "A block overlaps the log or a region."),
    "bat-beyond-end": Rule(_E, "BAT entry", "2.5.1", "A block extends beyond end of file."),
    "bat-last-block-short": Rule(_I, "BAT entry", "2.5.1", "The file ends behind the disk, inside the last block."),
    "bat-overlap": Rule(_E, "BAT entry", "2.5.1", "Two blocks share a part of the file."),
    "bat-padding": Rule(_W, "BAT", "2.5", "Entries beyond end of table are not zero."),
    "bat-beyond-disk": Rule(_W, "BAT entry", "2.5", "An entry is for a block beyond end of disk."),
    "bat-undefined": Rule(_I, "BAT", "2.5.1.1", "The content of blocks is undefined."),
    "bat-fixed-unallocated": Rule(_I, "BAT", "2.6.2.1", "Blocks of a fixed disk are not allocated."),
    "fixed-file-short": Rule(_I, "file", "2.6.2.1", "The file of a fixed disk is too short for all of its blocks."),
    "space-unused": Rule(_I, "file", "", "Parts of the file are not referenced."),
    "blocks-fragmented": Rule(_I, "BAT", "", "Most blocks do not follow each other in the file."),
    "bitmap-beyond-disk": Rule(_W, "sector bitmap", "2.5.2", "Bits are set for sectors beyond end of disk."),
    "bitmap-empty": Rule(_I, "sector bitmap", "2.5.2", "Partially present blocks hold no sector."),
    "bitmap-full": Rule(_I, "sector bitmap", "2.5.2", "Partially present blocks hold every sector."),
    "block-unreadable": Rule(_E, "payload block", "", "A block cannot be read from the disk or share."),
    "blocks-all-zero": Rule(_I, "payload block", "", "Blocks hold nothing but zeros."),
}

_CHAIN = {
    "chain-link": Rule(_I, "chain", "2.6.2.6.3", "How a parent was found."),
    "chain-unreadable": Rule(_E, "chain", "", "A file of the chain cannot be opened."),
    "chain-parent-missing": Rule(_E, "chain", "2.6.2.6.3", "The parent was not found."),
    "chain-parent-mismatch": Rule(_E, "chain", "2.6.2.6.3", "The file in the parent's place has another id."),
    "chain-format": Rule(_E, "chain", "", "The file in the parent's place is of another format."),
    "chain-circle": Rule(_E, "chain", "", "The parents form a circle."),
    "chain-too-long": Rule(_E, "chain", "", "The chain has more layers than are followed."),
    "chain-sector-size": Rule(_E, "chain", "", "Child and parent have sectors of different sizes."),
    "chain-child-smaller": Rule(_W, "chain", "", "The child's disk is smaller than the parent's."),
    "chain-child-larger": Rule(_I, "chain", "", "The child's disk is larger than the parent's."),
    "chain-vhd-size": Rule(_W, "chain", "", "A differencing VHD has another size than its parent."),
    "chain-block-size": Rule(_I, "chain", "", "Child and parent have blocks of different sizes."),
    "chain-disk-id": Rule(_I, "chain", "2.6.2.3", "Child and parent have different disk ids."),
    "chain-parent-log": Rule(_W, "chain", "2.3.3", "The log of a parent must be replayed."),
    "chain-forced": Rule(_W, "chain", "", "The parent was recorded by force."),
    "chain-linkage2": Rule(_I, "chain", "2.6.2.6.3", "Only the second recorded id is that of the parent."),
    "chain-stale-path": Rule(_W, "chain", "2.6.2.6.3", "The recorded relative path does not lead to the parent."),
    "chain-path-escapes": Rule(_W, "chain", "2.6.2.6.3", "A recorded path leads out of the directory."),
    "chain-siblings": Rule(_I, "chain", "", "Other images have the same parent."),
}

CODES: Mapping[str, Rule] = MappingProxyType(
    _FILE | _HEADER | _LOG | _REGION | _METADATA | _LOCATOR | _BAT | VHD_RULES | _CHAIN
)
"""What can be found, in the order in which a file is looked through."""
