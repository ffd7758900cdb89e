"""The remedy for each finding, for readers who do not know the specification.

A remedy names `vhdx-img repair` only where `vhdx.repair` can repair the damage (it checks first, and changes nothing if
anything else is wrong), and `vhdx-img convert --salvage` only where the blocks can still be located. "Only a backup can
help" means that both refuse. Tests apply every remedy.
"""

from collections.abc import Mapping

from vhdx.check.rules import CODES

_REPAIR = (
    "Run vhdx-img repair: if the other copy is valid, this one is rewritten from it and nothing is lost. If both are "
    "damaged, vhdx-img convert --salvage copies readable data into a new image."
)
_SEAL = "Run vhdx-img repair: if all fields are valid, the checksum is recomputed."
_WRITER = "No action needed: the next program that writes to the image repairs it."
_NOTHING = "No action needed."
_SALVAGE = (
    "Restore the file from a backup. If there is none, vhdx-img convert --salvage copies readable data into a new "
    "image, and lists what is lost or uncertain."
)
_TRY = (
    "Restore the file from a backup. If there is none, try vhdx-img convert --salvage: it copies readable data into a "
    "new image. It refuses if the blocks cannot be located; then only a backup can help."
)
_BACKUP = "Only a backup can help: without this, the blocks of the disk cannot be located."
_LOCATOR = (
    "The parent record is damaged. vhdx-img convert --salvage reads through the parent if its id and a path can still "
    "be read; with --without-parent it copies only the image's own data. A backup preserves both."
)
_CONVERT = "Use vhdx-img convert to create a valid image; this one can still be read."
_UNKNOWN = "Open it with the program that wrote it: the file requires an unsupported feature."
_TRUNCATED = (
    "The file may have been truncated while it was copied: copy it again. If there is no complete file, vhdx-img "
    "convert --salvage copies what is left and lists what is lost; if it refuses, only a backup can help."
)
_BLOCK = (
    "It cannot be determined which of the two is correct: restore the file from a backup before anything writes to "
    "it. If there is none, vhdx-img convert --salvage treats both as lost and copies the rest; vhdx-inspect read "
    "shows their content."
)
_OVERLAP = (
    "Restore the file from a backup before anything writes to it. If there is none, try vhdx-img convert --salvage; "
    "it refuses if the block table is affected; then only a backup can help."
)
_REPLAY = "Run vhdx-img replay, or let the program that uses the image open it for writing."
_LOG = (
    "The content of the log is lost: restore the file from a backup or from a server-side snapshot in which the log "
    "is valid. If there is none, vhdx-img convert --salvage copies the disk without it: parts may be outdated or mixed."
)
_LINK = (
    "Find the parent and move it to the image's directory, or name its directory with --parents-in; if you know which "
    "file it is, vhdx-img relink CHILD PARENT records it."
)
_MISSING = (
    "Find the parent and move it to the image's directory, or name its directory with --parents-in; if you know "
    "which file it is, vhdx-img relink CHILD PARENT records it. convert --salvage --without-parent copies only the "
    "image's data."
)
_RELINK = "vhdx-img relink CHILD PARENT rewrites the locators."

_BY_CODE: dict[str, str] = {
    "file-unrecognised": (
        "Check that it is the right file; a raw disk requires -f raw. If the start or end of an image was overwritten, "
        "try vhdx-img convert --salvage -f vhdx, or -f vhd; if it refuses, only a backup can help."
    ),
    "file-ambiguous": "Specify the format with -f vhd, -f vhdx or -f raw: a guest can write any header to a raw disk.",
    "file-changing": "Check it again when no process modifies it.",
    "file-too-short": (
        "The file may have been truncated while it was copied: copy it again. What is left does not describe a disk: "
        "without a complete file, only a backup can help."
    ),
    "file-too-large": (
        "Check that it is a disk image; nothing after the tables was read. If it is one, vhdx-img convert creates a "
        "smaller copy."
    ),
    "file-size-alignment": _WRITER,
    "file-identifier": "The first bytes were overwritten: vhdx-img convert --salvage -f vhdx creates a new image.",
    "creator-text": _NOTHING,
    "reserved-area": "No action needed, unless you did not expect a program to write there.",
    "findings-left-out": "Repair what is listed, then check again.",
    "check-given-up": _SALVAGE,
    "header-signature": _REPAIR,
    "header-checksum": _REPAIR,
    "header-reserved": _WRITER,
    "header-identical": _WRITER,
    "header-sequence-gap": _WRITER,
    "header-guid-zero": _WRITER,
    "header-version": _UNKNOWN,
    "header-log-version": (
        "Open it with the program that wrote it. If the log is not in use, vhdx-img convert creates an image that "
        "other programs can open."
    ),
    "header-sequence-last": _CONVERT,
    "header-no-log": _CONVERT,
    "log-dirty": _REPLAY,
    "log-too-large": _LOG,
    "log-file-growth": _REPLAY,
    "log-offset-alignment": _REPLAY,
    "log-file-truncated": _TRUNCATED,
    "log-file-growth-unfounded": _CONVERT,
    "region-table-signature": _REPAIR,
    "region-table-checksum": _REPAIR,
    "region-table-padding": _NOTHING,
    "region-table-none-valid": _TRY,
    "region-missing": _BACKUP,
    "region-duplicate": _BACKUP,
    "region-length": _BACKUP,
    "region-alignment": _BACKUP,
    "region-in-headers": _BACKUP,
    "region-tables-differ": "The first copy is used; vhdx-inspect dump IMAGE regions shows the differences.",
    "region-beyond-end": _TRUNCATED,
    "region-unknown-required": _UNKNOWN,
    "region-unknown": _NOTHING,
    "region-not-required": _NOTHING,
    "metadata-stale-entries": _NOTHING,
    "metadata-item-not-required": _NOTHING,
    "metadata-item-unknown": _NOTHING,
    "metadata-item-unknown-required": _UNKNOWN,
    "metadata-incomplete-file": (
        "The program that created the file did not finish: create it again. vhdx-img convert --salvage copies what is "
        "there."
    ),
    "block-size": _BACKUP,
    "virtual-size": _BACKUP,
    "logical-sector-size": _BACKUP,
    "metadata-signature": _TRY,
    "metadata-item-missing": _TRY,
    "metadata-item-duplicate": _TRY,
    "metadata-item-offset": _TRY,
    "metadata-item-length": _TRY,
    "metadata-item-beyond-region": _TRY,
    "leave-allocated-ignored": _NOTHING,
    "disk-id-zero": "Only affects a guest that uses the id; vhdx-img convert creates an image with a unique id.",
    "locator-unused": _NOTHING,
    "locator-linkage2": _NOTHING,
    "locator-unknown-key": _NOTHING,
    "bat-zero-with-place": "Run vhdx-img repair: Windows rejects the image until the file offset is cleared.",
    "bat-absent-with-place": "Run vhdx-img repair: it clears the file offset; the disk content does not change.",
    "bat-bitmap-without-parent": "Run vhdx-img repair: it removes the bitmap; the disk content does not change.",
    "bat-padding": "No action needed: the entries belong to no block.",
    "bat-too-small": _BACKUP,
    "bat-beyond-end": _TRUNCATED,
    "bat-last-block-short": _NOTHING,
    "bat-overlap": _BLOCK,
    "bat-in-structure": _BLOCK,
    "bat-beyond-disk": _NOTHING,
    "bat-undefined": _NOTHING,
    "bat-fixed-unallocated": "It works like a dynamic disk; vhdx-img convert -t fixed allocates all blocks.",
    "fixed-file-short": "It works like a dynamic disk; vhdx-img convert -t fixed allocates all blocks.",
    "space-unused": "No action needed; vhdx-img compact frees the space.",
    "blocks-fragmented": "No action needed; vhdx-img convert creates an image with contiguous blocks.",
    "bitmap-beyond-disk": _NOTHING,
    "bitmap-empty": "No action needed; vhdx-img compact may free the space.",
    "bitmap-full": _NOTHING,
    "block-unreadable": "The disk or share is failing: copy the file elsewhere while it can be read.",
    "blocks-all-zero": "No action needed; vhdx-img compact frees the space.",
    "vhd-footer-none": (
        "If growing the disk was interrupted, vhdx-img repair -f vhd may find the footer; otherwise check that the "
        "file is complete. vhdx-img convert --salvage -f vhd copies what is there, as a fixed disk or according to "
        "the block table."
    ),
    "vhd-footer-poisoned": "Run vhd-util again: only it can finish the interrupted change.",
    "vhd-footer-end-missing": _REPAIR,
    "vhd-footer-copy-missing": _REPAIR,
    "vhd-footers-differ": _REPAIR,
    "vhd-footer-checksum": _SEAL,
    "vhd-footer-other-checksum": _REPAIR,
    "vhd-footer-old": "For other programs, use vhdx-img convert: most expect a footer of 512 bytes.",
    "vhd-footer-version": _UNKNOWN,
    "vhd-footer-minor-version": _NOTHING,
    "vhd-hidden": _NOTHING,
    "vhd-host": "No action needed; for programs that refuse the file, use vhdx-img convert.",
    "vhd-footer-features": _NOTHING,
    "vhd-footer-reserved": _NOTHING,
    "vhd-footer-type": _UNKNOWN,
    "vhd-fixed-data-offset": _NOTHING,
    "vhd-original-size": "No action needed; for programs that use this size (libvhdi), use vhdx-img convert.",
    "vhd-disk-too-large": "Windows rejects the disk (Azure accepts a fixed one); for it use vhdx-img convert -O vhdx.",
    "vhd-fixed-file-short": _TRUNCATED,
    "vhd-fixed-file-long": "Check whether data was appended to the file; the disk itself is complete.",
    "vhd-size-by-geometry": "Check which size the other program reports before it writes to the disk.",
    "vhd-geometry": _NOTHING,
    "vhd-creator": _NOTHING,
    "vhd-timestamp-future": "Check the clocks of this machine and of the one that created the file.",
    "vhd-saved-state": "Resume or discard the suspended virtual machine before anything writes to the disk.",
    "vhd-id-zero": "Before creating children, use vhdx-img convert to create an image with a unique id.",
    "vhd-not-azure": "vhdx-img convert --azure creates an image that Azure accepts.",
    "vhd-header-checksum": _SEAL,
    "vhd-header-version": _UNKNOWN,
    "vhd-header-minor-version": _NOTHING,
    "vhd-header-next": _NOTHING,
    "vhd-header-reserved": _NOTHING,
    "vhd-parent-unused": _NOTHING,
    "vhd-parent-id-zero": _LINK,
    "vhd-parent-name": "vhdx-img relink CHILD PARENT rewrites it.",
    "vhd-locator-code": _NOTHING,
    "vhd-locator-reserved": _NOTHING,
    "vhd-locator-duplicate": _RELINK,
    "vhd-locator-text": _RELINK,
    "vhd-locator-beyond-end": _CONVERT,
    "vhd-locator-disagree": "Find out which file is the parent; vhdx-img relink CHILD PARENT rewrites the locators.",
    "vhd-locator-empty": "vhdx-img relink CHILD PARENT rewrites the locators.",
    "vhd-locator-space": "vhdx-img relink CHILD PARENT rewrites the locators.",
    "vhd-locator-no-path": "vhdx-img relink CHILD PARENT rewrites the locators.",
    "vhd-locator-none": _LINK,
    "vhd-overlap": _OVERLAP,
    "vhd-block-size": _BACKUP,
    "vhd-table-alignment": _BACKUP,
    "vhd-table-too-small": _BACKUP,
    "vhd-table-beyond-end": _TRUNCATED,
    "vhd-table-too-large": _NOTHING,
    "vhd-table-padding": _NOTHING,
    "vhd-bat-in-structure": _BLOCK,
    "vhd-bat-beyond-end": _TRUNCATED,
    "vhd-bat-overlap": _BLOCK,
    "vhd-bat-beyond-disk": _NOTHING,
    "vhd-bitmap-beyond-disk": _NOTHING,
    "vhd-bitmap-order": "Convert it with vhd-update, a blktap program: its sector bitmaps are not supported here.",
    "vhd-bitmap-cleared": "Nothing is lost: vhdx-img convert creates an image that all programs read alike.",
    "vhd-batmap-missing": "Only XenServer's tools need it, and refuse the file; for them use vhdx-img convert.",
    "vhd-batmap-place": _CONVERT,
    "vhd-batmap-checksum": "Only XenServer's tools use it, and they may trust it; for them use vhdx-img convert.",
    "vhd-batmap-full": "XenServer's tools may misread the block; for them use vhdx-img convert.",
    "chain-link": _NOTHING,
    "chain-unreadable": "Check that file on its own: it prevents the disk from opening.",
    "chain-parent-missing": _MISSING,
    "chain-parent-mismatch": (
        "The parent was modified after the child was created, or it is a different file: find the right one, or "
        "restore it from a backup. Only if you know that its content is correct: vhdx-img relink --force CHILD PARENT."
    ),
    "chain-format": _LINK,
    "chain-circle": _LINK,
    "chain-too-long": "Merge layers with vhdx-img merge: no program opens such a long chain.",
    "chain-sector-size": _LINK,
    "chain-child-smaller": "No action needed. To keep the parent's data beyond end of child, enlarge the child with "
    "vhdx-img resize before merging; merge --shrink removes zeros, merge --shrink --force also removes data.",
    "chain-child-larger": _NOTHING,
    "chain-vhd-size": (
        "For Windows, convert the chain to one image with vhdx-img convert, or give the child its parent's size with "
        "vhdx-img resize; this package reads, merges and converts it as it is."
    ),
    "chain-block-size": _NOTHING,
    "chain-disk-id": "No action needed, unless the parent was meant for another disk.",
    "chain-parent-log": "Run vhdx-img replay on the parent before a program that cannot replay it uses the child.",
    "chain-forced": (
        "The disk may be a mixture of two: compare it with a backup. vhdx-img relink --undo CHILD restores the "
        "previous record."
    ),
    "chain-linkage2": "A merge was interrupted: run the same vhdx-img merge again.",
    "chain-stale-path": "Run vhdx-img repair: it records the path at which the parent was found.",
    "chain-path-escapes": "It is not followed; name the directory with --parents-in only if you trust the image.",
    "chain-siblings": "Do not write to the parent or merge into it: these images would become unreadable.",
}
_BY_START = {
    "header-": _SALVAGE,
    "log-": _LOG,
    "region-": _SALVAGE,
    "metadata-": _SALVAGE,
    "locator-": _LOCATOR,
    "bat-": _SALVAGE,
    "vhd-": _TRY,
}
"""For damage that cannot be repaired from other structures of the file."""


def _remedy(code: str) -> str:
    starts = [text for start, text in _BY_START.items() if code.startswith(start)]
    return _BY_CODE.get(code) or (starts[0] if starts else _SALVAGE)


REMEDIES: Mapping[str, str] = {code: _remedy(code) for code in CODES}
"""The remedy for each code."""
