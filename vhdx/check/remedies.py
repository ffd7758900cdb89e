"""What to do about each finding, in one sentence for somebody who never read the specification.

`vhdx-img repair` is promised only for what `vhdx.repair` can repair; it looks first and does nothing when anything
else is wrong. `vhdx-img convert --salvage` is promised where enough of the file is left to place its blocks. "Only a
backup helps" is said where both refuse: the tests hold each sentence to that.
"""

from collections.abc import Mapping

from vhdx.check.rules import CODES

_REPAIR = (
    "Run vhdx-img repair: as long as the other copy is sound, it is written over this one and nothing is lost. Where "
    "both are damaged, vhdx-img convert --salvage takes what can be read into a new image."
)
_SEAL = "Run vhdx-img repair: all fields are looked at, and only when they are sound it is sealed."
_WRITER = "No action needed: the next program that writes to the image repairs it."
_NOTHING = "No action needed."
_SALVAGE = (
    "Restore the file from a backup. Where there is none, vhdx-img convert --salvage takes what can be read into a new "
    "image, and lists what is lost or not certain."
)
_TRY = (
    "Restore the file from a backup. Where there is none, try vhdx-img convert --salvage: it takes what can be read "
    "into a new image, and refuses where nothing tells where the blocks are; then only a backup helps."
)
_BACKUP = "Only a backup helps: without this nothing tells where the blocks of the disk are."
_LOCATOR = (
    "The record of the parent is damaged. vhdx-img convert --salvage reads through the parent where its id and a path "
    "are left; with --without-parent it takes what the image itself holds. A backup keeps both."
)
_CONVERT = "Use vhdx-img convert to make an image that keeps the rules; this one can still be read."
_UNKNOWN = "Open it with the program that wrote it: the file requires an unsupported feature."
_TRUNCATED = (
    "Look whether the file was cut short when it was copied, and fetch it again. Where there is no whole one, "
    "vhdx-img convert --salvage takes what is in the file and lists what is lost; where it refuses, only a backup "
    "helps."
)
_BLOCK = (
    "The file does not tell which of the two is right: restore it from a backup before anything writes to it. Where "
    "there is none, vhdx-img convert --salvage counts both as lost and takes the rest; vhdx-inspect read shows what "
    "they hold."
)
_OVERLAP = (
    "Restore the file from a backup before anything writes to it. Where there is none, try vhdx-img convert --salvage, "
    "which refuses where the block table is hit; then only a backup helps."
)
_REPLAY = "Run vhdx-img replay, or let the program that uses the image open it for writing."
_LOG = (
    "What the log holds is lost: restore from a backup, or from the server's own snapshot of a moment when the log was "
    "whole. Where there is none, vhdx-img convert --salvage takes the disk without it: parts of it may be older or "
    "mixed."
)
_LINK = (
    "Find the parent and put it beside the image, or name its directory with --parents-in; when you know which file it "
    "is, vhdx-img relink CHILD PARENT records it."
)
_MISSING = (
    "Find the parent and put it beside the image, or name its directory with --parents-in; when you know which file it "
    "is, vhdx-img relink CHILD PARENT records it. convert --salvage --without-parent takes what the image itself holds."
)
_RELINK = "vhdx-img relink CHILD PARENT rewrites the locators."

_BY_CODE: dict[str, str] = {
    "file-unrecognised": (
        "Look whether it is the right file; a raw disk is opened only when you say -f raw. If the start or end of an "
        "image was overwritten, try vhdx-img convert --salvage -f vhdx, or -f vhd; where it refuses, only a backup "
        "helps."
    ),
    "file-ambiguous": "Say which it is with -f vhd, -f vhdx or -f raw: a guest can write any header into a raw disk.",
    "file-changing": "Check it again when nobody writes to it.",
    "file-too-short": (
        "Look whether the file was cut short when it was copied, and fetch it again. What is there does not describe a "
        "disk: without a whole file only a backup helps."
    ),
    "file-too-large": (
        "Look whether it is a disk image at all; nothing of it was read behind the tables. If it is, vhdx-img convert "
        "makes a small one of it."
    ),
    "file-size-alignment": _WRITER,
    "file-identifier": "The first bytes were overwritten: vhdx-img convert --salvage -f vhdx makes a new image of it.",
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
        "Open it with the program that wrote it. As long as the log is not in use, vhdx-img convert makes an image "
        "that others open, too."
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
    "region-tables-differ": "The first of them is used; look with vhdx-inspect dump IMAGE regions at what differs.",
    "region-beyond-end": _TRUNCATED,
    "region-unknown-required": _UNKNOWN,
    "region-unknown": _NOTHING,
    "region-not-required": _NOTHING,
    "metadata-stale-entries": _NOTHING,
    "metadata-item-not-required": _NOTHING,
    "metadata-item-unknown": _NOTHING,
    "metadata-item-unknown-required": _UNKNOWN,
    "metadata-incomplete-file": (
        "The program that made the file did not finish: make it again. vhdx-img convert --salvage takes what is there."
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
    "disk-id-zero": "Only affects a guest that uses the id; vhdx-img convert makes an image with an id of its own.",
    "locator-unused": _NOTHING,
    "locator-linkage2": _NOTHING,
    "locator-unknown-key": _NOTHING,
    "bat-zero-with-place": "Run vhdx-img repair: Windows refuses the image until the file offset is cleared.",
    "bat-absent-with-place": "Run vhdx-img repair: the file offset is cleared, the disk reads as before.",
    "bat-bitmap-without-parent": "Run vhdx-img repair: the bitmap is removed, the disk reads as before.",
    "bat-padding": "No action needed: the entries belong to no block.",
    "bat-too-small": _BACKUP,
    "bat-beyond-end": _TRUNCATED,
    "bat-last-block-short": _NOTHING,
    "bat-overlap": _BLOCK,
    "bat-in-structure": _BLOCK,
    "bat-beyond-disk": _NOTHING,
    "bat-undefined": _NOTHING,
    "bat-fixed-unallocated": "It works like a dynamic disk; vhdx-img convert -t fixed makes a whole one.",
    "fixed-file-short": "It works like a dynamic disk; vhdx-img convert -t fixed makes a whole one.",
    "space-unused": "No action needed; vhdx-img compact frees the space.",
    "blocks-fragmented": "No action needed; vhdx-img convert into a new image puts the blocks in order.",
    "bitmap-beyond-disk": _NOTHING,
    "bitmap-empty": "No action needed; vhdx-img compact may free the space.",
    "bitmap-full": _NOTHING,
    "block-unreadable": "The disk or share fails: copy the file elsewhere while it can be read.",
    "blocks-all-zero": "No action needed; vhdx-img compact frees the space.",
    "vhd-footer-none": (
        "If the file grew when it was stopped, vhdx-img repair -f vhd may find the footer again; otherwise look "
        "whether the copy of the file is whole. vhdx-img convert --salvage -f vhd takes what is there: a fixed disk, "
        "or by its block table."
    ),
    "vhd-footer-poisoned": "Run vhd-util again: it was interrupted, and only it can finish.",
    "vhd-footer-end-missing": _REPAIR,
    "vhd-footer-copy-missing": _REPAIR,
    "vhd-footers-differ": _REPAIR,
    "vhd-footer-checksum": _SEAL,
    "vhd-footer-other-checksum": _REPAIR,
    "vhd-footer-old": "Before other programs read the file use vhdx-img convert: most look for a footer of 512 bytes.",
    "vhd-footer-version": _UNKNOWN,
    "vhd-footer-minor-version": _NOTHING,
    "vhd-hidden": _NOTHING,
    "vhd-host": "No action needed here; for programs that refuse the file use vhdx-img convert.",
    "vhd-footer-features": _NOTHING,
    "vhd-footer-reserved": _NOTHING,
    "vhd-footer-type": _UNKNOWN,
    "vhd-fixed-data-offset": _NOTHING,
    "vhd-original-size": "No action needed here; for programs that go by it (libvhdi) use vhdx-img convert.",
    "vhd-disk-too-large": "Windows refuses the disk (Azure takes a fixed one); for it use vhdx-img convert -O vhdx.",
    "vhd-fixed-file-short": _TRUNCATED,
    "vhd-fixed-file-long": "Look whether something was appended to the file; the disk itself is whole.",
    "vhd-size-by-geometry": "Compare the size with what the other program says before it writes to the disk.",
    "vhd-geometry": _NOTHING,
    "vhd-creator": _NOTHING,
    "vhd-timestamp-future": "Look at the clock of the machine that made it, and of this one.",
    "vhd-saved-state": "Resume or discard the suspended machine before anything writes to the disk.",
    "vhd-id-zero": "Before it gets children, vhdx-img convert makes an image with an id of its own.",
    "vhd-not-azure": "vhdx-img convert --azure makes an image as Azure takes it.",
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
    "vhd-locator-disagree": "Look which file is the parent; vhdx-img relink CHILD PARENT rewrites the locators.",
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
    "vhd-bitmap-order": "Let vhd-update, a program of blktap, convert it: its sector bitmaps are not supported here.",
    "vhd-bitmap-cleared": "Nothing is lost: vhdx-img convert makes an image that every program reads like this one.",
    "vhd-batmap-missing": "Only XenServer's tools look for it, and refuse the file; for them use vhdx-img convert.",
    "vhd-batmap-place": _CONVERT,
    "vhd-batmap-checksum": "Only XenServer's tools look at it, and they may trust it; for them use vhdx-img convert.",
    "vhd-batmap-full": "XenServer's tools may read the block wrongly; for them use vhdx-img convert.",
    "chain-link": _NOTHING,
    "chain-unreadable": "Check that file by itself: it is what keeps the disk from opening.",
    "chain-parent-missing": _MISSING,
    "chain-parent-mismatch": (
        "The parent was changed after the child was made, or it is another file: look for the right one, or restore it "
        "from a backup. Only when you know that its content is right, vhdx-img relink --force CHILD PARENT accepts it."
    ),
    "chain-format": _LINK,
    "chain-circle": _LINK,
    "chain-too-long": "Merge layers with vhdx-img merge: nothing opens a chain of that many.",
    "chain-sector-size": _LINK,
    "chain-child-smaller": "No action needed. To keep what the parent holds beyond end of child, enlarge "
    "the child with vhdx-img resize before it is merged; merge --shrink cuts off zeros, merge --shrink --force data.",
    "chain-child-larger": _NOTHING,
    "chain-vhd-size": (
        "For Windows, make one image of the chain with vhdx-img convert, or give the child its parent's size with "
        "vhdx-img resize; here it is read, merged and converted as it is."
    ),
    "chain-block-size": _NOTHING,
    "chain-disk-id": "No action needed, unless the file beside it was meant to be another disk's parent.",
    "chain-parent-log": "Run vhdx-img replay on the parent before the child is used by a program that cannot.",
    "chain-forced": (
        "The disk may be a mixture of two: compare it with a backup. vhdx-img relink --undo CHILD records again what "
        "was recorded before."
    ),
    "chain-linkage2": "A merge was stopped: run the same vhdx-img merge again.",
    "chain-stale-path": "Run vhdx-img repair: the path under which the parent was found is recorded.",
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
"""For damage to a structure that nothing else in the file can make good."""


def _remedy(code: str) -> str:
    starts = [text for start, text in _BY_START.items() if code.startswith(start)]
    return _BY_CODE.get(code) or (starts[0] if starts else _SALVAGE)


REMEDIES: Mapping[str, str] = {code: _remedy(code) for code in CODES}
"""A sentence for each code."""
