"""All rules by their codes, which are stable."""

from collections.abc import Mapping
from types import MappingProxyType

from vhdx.check.rule import Rule, Severity
from vhdx.check.vhd_rules import VHD_RULES

_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

_FILE = {
    "file-unrecognised": Rule(_E, "file", "", "The format is unknown."),
    "file-ambiguous": Rule(_E, "file", "", "The file has the signatures of two formats."),
    "file-changing": Rule(_E, "file", "", "The file was truncated during the check."),
    "file-too-short": Rule(_E, "file", "2.1", "The file is shorter than the structures that every image has."),
    "file-too-large": Rule(_E, "file", "2.1", "The file, or the file after a replay, is larger than any image."),
    "file-size-alignment": Rule(_I, "file", "2.1", "The file size is not a multiple of 1 MiB."),
    "file-identifier": Rule(_E, "file identifier", "2.2.1", "The file does not begin with the format's signature."),
    "creator-text": Rule(_I, "file identifier", "2.2.1", "The creator is not UTF-16 text."),
    "reserved-area": Rule(_W, "file", "2.1", "Bytes between the structures of the first MiB are not zero."),
    "findings-left-out": Rule(_I, "file", "", "There are more findings of one code than are listed."),
    "check-given-up": Rule(_W, "file", "", "There are so many findings that the check was not completed."),
}

_HEADER = {
    "header-none-valid": Rule(_E, "header", "2.2.2", "No copy of the header is valid."),
    "header-signature": Rule(_W, "header", "2.2.2", "A copy of the header has no signature."),
    "header-checksum": Rule(_W, "header", "2.2.2", "The checksum of a copy of the header is wrong."),
    "header-reserved": Rule(_W, "header", "2.2.2", "Reserved bytes of a header are not zero."),
    "header-same-sequence": Rule(_E, "header", "2.2.2", "Two different headers have the same sequence number."),
    "header-identical": Rule(_I, "header", "2.2.2", "Both headers are identical; Disk2vhd writes such files."),
    "header-sequence-gap": Rule(_W, "header", "2.2.2.1", "The sequence numbers of the headers are not consecutive."),
    "header-sequence-last": Rule(_E, "header", "2.2.2.1", "The sequence number is the largest possible."),
    "header-guid-zero": Rule(_W, "header", "2.2.2", "FileWriteGuid or DataWriteGuid is zero."),
    "header-version": Rule(_E, "header", "2.2.2", "The version of the format is not 1."),
    "header-log-version": Rule(_E, "header", "2.2.2", "The version of the log is not 0."),
    "header-log-alignment": Rule(_E, "header", "2.2.2", "Offset or length of the log is not a multiple of 1 MiB."),
    "header-log-in-headers": Rule(_E, "header", "2.2.2", "The log overlaps the header section."),
    "header-log-beyond-end": Rule(_E, "header", "2.2.2", "The log extends beyond end of file."),
    "header-no-log": Rule(_W, "header", "2.2.2", "The file has no log, so it cannot be modified safely."),
    "header-log-without-length": Rule(_E, "header", "2.2.2", "A log is in use but its length is zero."),
}

_LOG = {
    "log-dirty": Rule(_I, "log", "2.3.3", "The log holds changes that must be replayed."),
    "log-too-large": Rule(_E, "log", "2.3", "The log in use holds more than can be replayed."),
    "log-not-valid": Rule(_E, "log", "2.3.3", "The log is full of overlapping invalid entries."),
    "log-no-sequence": Rule(_E, "log", "2.3.3", "A log is in use but holds no valid sequence of entries."),
    "log-file-truncated": Rule(_E, "log", "2.3.3", "The file is shorter than when the log was written."),
    "log-file-growth": Rule(_I, "log", "2.3.3", "A replay of the log extends the file."),
    "log-file-growth-unfounded": Rule(_E, "log", "2.3.3", "The log extends the file further than its content needs."),
    "log-offset-alignment": Rule(_W, "log entry", "2.3.1.1", "A file size in the log is not a multiple of 1 MiB."),
    "log-target-alignment": Rule(_E, "log entry", "2.3.1", "A change in the log is not a multiple of 4 KiB."),
    "log-target-headers": Rule(_E, "log entry", "2.3.1", "A change in the log overwrites the identifier or a header."),
    "log-target-log": Rule(_E, "log entry", "2.3.1", "A change in the log overwrites the log itself."),
    "log-target-beyond-end": Rule(_E, "log entry", "2.3.1", "A change in the log is beyond end of file."),
}

_REGION = {
    "region-table-none-valid": Rule(_E, "region table", "2.2.3.1", "No copy of the region table is valid."),
    "region-table-signature": Rule(_W, "region table", "2.2.3.1", "A copy of the region table has no signature."),
    "region-table-checksum": Rule(_W, "region table", "2.2.3.1", "The checksum of a region table is wrong."),
    "region-table-count": Rule(_E, "region table", "2.2.3.1", "The entry count of a region table is too large."),
    "region-table-reserved": Rule(_E, "region table", "2.2.3.1", "The reserved field of a region table is not zero."),
    "region-table-padding": Rule(_W, "region table", "2.2.3", "Bytes after a region table's entries are not zero."),
    "region-tables-differ": Rule(_W, "region table", "2.2.3", "The copies of the region table differ."),
    "region-missing": Rule(_E, "region table", "2.2.3.2", "The BAT or the metadata region is not in the table."),
    "region-duplicate": Rule(_E, "region table entry", "2.2.3.2", "A region has two entries."),
    "region-length": Rule(_E, "region table entry", "2.2.3.2", "The length of a region is zero or too large."),
    "region-alignment": Rule(_E, "region table entry", "2.2.3.2", "Offset or length of a region is not 1 MiB aligned."),
    "region-in-headers": Rule(_E, "region table entry", "2.2.3.2", "A region overlaps the header section."),
    "region-beyond-end": Rule(_E, "region table entry", "2.2.3.2", "A region extends beyond end of file."),
    "region-reserved": Rule(_E, "region table entry", "2.2.3.2", "Reserved flags of a region are set."),
    "region-overlap": Rule(_E, "region table", "2.2.3.2", "Two regions, or a region and the log, overlap."),
    "region-unknown-required": Rule(_E, "region table entry", "2.2.3.2", "An unknown region is required."),
    "region-unknown": Rule(_I, "region table entry", "2.2.3.2", "A region is unknown."),
    "region-not-required": Rule(_I, "region table entry", "2.2.3.2", "A known region is not marked as required."),
}

_METADATA = {
    "metadata-signature": Rule(_E, "metadata table", "2.6.1.1", "The metadata table has no signature."),
    "metadata-reserved": Rule(_E, "metadata table", "2.6.1.1", "Reserved bytes of the metadata table are not zero."),
    "metadata-count": Rule(_E, "metadata table", "2.6.1.1", "The entry count of the metadata table is too large."),
    "metadata-stale-entries": Rule(_I, "metadata table", "2.6.1", "Stale bytes follow the last entry."),
    "metadata-too-much": Rule(_E, "metadata table", "2.6.1", "The number or total length of items is too large."),
    "metadata-item-missing": Rule(_E, "metadata table", "2.6.2", "A mandatory item is missing."),
    "metadata-item-id": Rule(_E, "metadata table entry", "2.6.1.2", "The id of an item is zero."),
    "metadata-item-reserved": Rule(_E, "metadata table entry", "2.6.1.2", "Reserved bits of an item are set."),
    "metadata-item-duplicate": Rule(_E, "metadata table entry", "2.6.1.2", "An item has two entries."),
    "metadata-item-user-required": Rule(_E, "metadata table entry", "2.6.1.2", "A user item is required."),
    "metadata-item-too-long": Rule(_E, "metadata table entry", "2.6.1.2", "An item is longer than 1 MiB."),
    "metadata-item-offset": Rule(_E, "metadata table entry", "2.6.1.2", "An item overlaps the table."),
    "metadata-item-beyond-region": Rule(_E, "metadata table entry", "2.6.1.2", "An item extends beyond its region."),
    "metadata-item-overlap": Rule(_E, "metadata table entry", "2.6.1.2", "Two items overlap."),
    "metadata-item-length": Rule(_E, "metadata table entry", "2.6.2", "A known item has an invalid length."),
    "metadata-item-flags": Rule(_E, "metadata table entry", "2.6.2", "A known item has invalid flags."),
    "metadata-item-not-required": Rule(_I, "metadata table entry", "2.6.2", "A known item is not marked as required."),
    "metadata-item-unknown-required": Rule(_E, "metadata table entry", "2.6.1.2", "An unknown item is required."),
    "metadata-item-unknown": Rule(_I, "metadata table entry", "2.6.1.2", "A system item is unknown."),
    "metadata-incomplete-file": Rule(_E, "metadata table entry", "2.6.2", "Creation of the file was not completed."),
    "file-parameters-reserved": Rule(_E, "file parameters", "2.6.2.1", "Reserved flags are set."),
    "block-size": Rule(_E, "file parameters", "2.6.2.1", "The block size is not a power of two from 1 to 256 MiB."),
    "leave-allocated-ignored": Rule(
        _W, "file parameters", "2.6.2.1", "LeaveBlockAllocated is set in a differencing image."
    ),
    "virtual-size": Rule(
        _E, "virtual disk size", "2.6.2.2", "The size is 0, over 64 TiB or not a multiple of the sector size."
    ),
    "disk-id-zero": Rule(_W, "virtual disk id", "2.6.2.3", "The id of the disk is zero."),
    "logical-sector-size": Rule(_E, "logical sector size", "2.6.2.4", "The size is neither 512 nor 4096."),
    "physical-sector-size": Rule(_E, "physical sector size", "2.6.2.5", "The size is neither 512 nor 4096."),
}

_LOCATOR = {
    "locator-missing": Rule(_E, "metadata table", "2.6.2.6", "HasParent is set, but there is no parent locator."),
    "locator-unused": Rule(_W, "parent locator", "2.6.2.6", "There is a parent locator, but HasParent is not set."),
    "locator-type": Rule(_E, "parent locator", "2.6.2.6.1", "The locator type is not the VHDX type."),
    "locator-reserved": Rule(_E, "parent locator", "2.6.2.6.1", "The reserved field is not zero."),
    "locator-count": Rule(_E, "parent locator", "2.6.2.6.1", "The number of key-value pairs is zero or too large."),
    "locator-text": Rule(_E, "parent locator", "2.6.2.6.2", "A key or value is not text or extends beyond the item."),
    "locator-duplicate": Rule(_E, "parent locator", "2.6.2.6.2", "A key occurs twice."),
    "locator-linkage": Rule(_E, "parent locator", "2.6.2.6.3", "The id of the parent is missing or not a GUID."),
    "locator-linkage2": Rule(_W, "parent locator", "2.6.2.6.3", "The second id of the parent is not a GUID."),
    "locator-no-path": Rule(_E, "parent locator", "2.6.2.6.3", "No path to the parent is recorded."),
    "locator-unknown-key": Rule(_I, "parent locator", "2.6.2.6.3", "A key is unknown."),
}

_BAT = {
    "bat-too-small": Rule(_E, "BAT", "2.5", "The region is too small for the entries of the disk."),
    "bat-reserved-bits": Rule(_E, "BAT entry", "2.5.1", "Reserved bits of an entry are set."),
    "bat-state": Rule(_E, "BAT entry", "2.5.1.1", "The state of a payload block is undefined."),
    "bat-bitmap-state": Rule(_E, "BAT entry", "2.5.1.2", "The state of a sector bitmap is undefined."),
    "bat-partial-without-parent": Rule(
        _E, "BAT entry", "2.5.1.1", "A block is partially present, but the disk has no parent."
    ),
    "bat-bitmap-missing": Rule(_E, "BAT entry", "2.5.1.2", "A partially present block has no sector bitmap."),
    "bat-bitmap-without-parent": Rule(
        _W, "BAT entry", "2.5.1.2", "There is a sector bitmap, but the disk has no parent."
    ),
    "bat-no-place": Rule(_E, "BAT entry", "2.5.1", "A block is present but has no file offset."),
    "bat-zero-with-place": Rule(_E, "BAT entry", "2.5.1.1", "A zero block has a file offset; Windows cannot read it."),
    "bat-absent-with-place": Rule(_W, "BAT entry", "2.5.1", "A block that is not present has a file offset."),
    "bat-in-structure": Rule(_E, "BAT entry", "2.5.1", "A block overlaps the log or a region."),
    "bat-beyond-end": Rule(_E, "BAT entry", "2.5.1", "A block extends beyond end of file."),
    "bat-last-block-short": Rule(_I, "BAT entry", "2.5.1", "The file ends in the last block, beyond end of disk."),
    "bat-overlap": Rule(_E, "BAT entry", "2.5.1", "Two blocks overlap."),
    "bat-padding": Rule(_W, "BAT", "2.5", "Entries beyond end of table are not zero."),
    "bat-beyond-disk": Rule(_W, "BAT entry", "2.5", "An entry is for a block beyond end of disk."),
    "bat-undefined": Rule(_I, "BAT", "2.5.1.1", "The content of blocks is undefined."),
    "bat-fixed-unallocated": Rule(_I, "BAT", "2.6.2.1", "Blocks of a fixed disk are not allocated."),
    "fixed-file-short": Rule(_I, "file", "2.6.2.1", "The file of a fixed disk is too short for all of its blocks."),
    "space-unused": Rule(_I, "file", "", "Parts of the file are not referenced."),
    "blocks-fragmented": Rule(_I, "BAT", "", "Most blocks are not contiguous in the file."),
    "bitmap-beyond-disk": Rule(_W, "sector bitmap", "2.5.2", "Bits are set for sectors beyond end of disk."),
    "bitmap-empty": Rule(_I, "sector bitmap", "2.5.2", "Partially present blocks have no sector present."),
    "bitmap-full": Rule(_I, "sector bitmap", "2.5.2", "Partially present blocks have all sectors present."),
    "block-unreadable": Rule(_E, "payload block", "", "A block cannot be read from the disk or share."),
    "blocks-all-zero": Rule(_I, "payload block", "", "Blocks hold only zeros."),
}

_CHAIN = {
    "chain-link": Rule(_I, "chain", "2.6.2.6.3", "How a parent was found."),
    "chain-unreadable": Rule(_E, "chain", "", "A file of the chain cannot be opened."),
    "chain-parent-missing": Rule(_E, "chain", "2.6.2.6.3", "The parent was not found."),
    "chain-parent-mismatch": Rule(_E, "chain", "2.6.2.6.3", "The file at the recorded path has a different id."),
    "chain-format": Rule(_E, "chain", "", "The file at the recorded path has a different format."),
    "chain-circle": Rule(_E, "chain", "", "The chain is circular."),
    "chain-too-long": Rule(_E, "chain", "", "The chain has too many layers."),
    "chain-sector-size": Rule(_E, "chain", "", "Child and parent have different sector sizes."),
    "chain-child-smaller": Rule(_W, "chain", "", "The child's disk is smaller than the parent's."),
    "chain-child-larger": Rule(_I, "chain", "", "The child's disk is larger than the parent's."),
    "chain-vhd-size": Rule(_W, "chain", "", "A differencing VHD and its parent differ in size."),
    "chain-block-size": Rule(_I, "chain", "", "Child and parent have different block sizes."),
    "chain-disk-id": Rule(_I, "chain", "2.6.2.3", "Child and parent have different disk ids."),
    "chain-parent-log": Rule(_W, "chain", "2.3.3", "The log of a parent must be replayed."),
    "chain-forced": Rule(_W, "chain", "", "The parent was recorded with --force."),
    "chain-linkage2": Rule(_I, "chain", "2.6.2.6.3", "Only the second recorded id matches the parent."),
    "chain-stale-path": Rule(_W, "chain", "2.6.2.6.3", "The recorded relative path does not lead to the parent."),
    "chain-path-escapes": Rule(_W, "chain", "2.6.2.6.3", "A recorded path leads outside the directory."),
    "chain-siblings": Rule(_I, "chain", "", "Other images have the same parent."),
}

CODES: Mapping[str, Rule] = MappingProxyType(
    _FILE | _HEADER | _LOG | _REGION | _METADATA | _LOCATOR | _BAT | VHD_RULES | _CHAIN
)
"""All rules, in the order in which a file is checked."""
