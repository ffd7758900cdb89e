"""Summaries of both programs and their subcommands, for help texts that are printed without loading them."""

LOOKING = {
    "info": "Show the properties of IMAGE, and where its parent is",
    "chain": "Show the layers of IMAGE, leaf first, and how each parent was found",
    "map": "Show where each range of the disk in IMAGE is stored",
    "check": "Check IMAGE against the rules of its format",
    "dump": "Show every field of the structures of IMAGE, with offset, bytes and meaning",
    "hash": "Print the SHA-256 of the disk in IMAGE, including its parents' data",
    "compare": "Compare the disks in FIRST and SECOND, including their parents' data",
    "read": "Show LENGTH bytes at OFFSET of the disk in IMAGE, including its parents' data",
    "report": "Write an HTML page about IMAGE: chain, allocation by layer, structures and findings",
}
"""The subcommands of ``vhdx-inspect``, with the first sentence of their help."""
CHANGING = {
    "create": "Create an empty image of SIZE bytes at PATH",
    "convert": "Copy the disk in SOURCE, including its parents' data, into a new image TARGET",
    "merge": "Merge CHILD into its parent, which then has the content of CHILD",
    "relink": "Record the current path of PARENT, the parent of CHILD",
    "resize": "Resize the disk in IMAGE to SIZE bytes, or by SIZE bytes if it starts with +",
    "compact": "Free unused space in IMAGE",
    "replay": "Replay the log of IMAGE, as every program does that opens it for writing",
    "repair": "Repair damage to IMAGE that needs no guessing",
    "write": "Write bytes at OFFSET to the disk in IMAGE",
}
"""Those of ``vhdx-img``."""
LISTS = {"vhdx-inspect": LOOKING, "vhdx-img": CHANGING}
ABOUT = {
    "vhdx-inspect": (
        "Examine VHD and VHDX images, local or on SMB shares. Images are never modified.\n\n"
        "IMAGE is a path, smb://[domain;user@]host[:port]/share/path, //host/share/path or \\\\host\\share\\path."
    ),
    "vhdx-img": (
        "Create and modify VHD and VHDX images, local or on SMB shares.\n\n"
        "IMAGE is a path, smb://[domain;user@]host[:port]/share/path, //host/share/path or \\\\host\\share\\path. "
        "Images stay readable if a command is interrupted; run the same command again to finish."
    ),
}
CODES = (
    "Exit codes: 0 done; 1 failed; 2 damaged, or the parent is missing; 4 refused; 5 in use; 6 no space; 7 not "
    "allowed; 8 salvaged in part; 64 wrong usage; 70 a bug; 130 stopped; 141 nobody reads the output."
)
"""Equal to what `vhdx.cli.exits` says."""
KNOWN_AS = {
    "amend": "relink",
    "cat": "read",
    "commit": "merge",
    "diff": "compare",
    "grow": "resize",
    "optimize": "compact",
    "rebase": "relink",
    "show": "info",
    "shrink": "resize",
    "verify": "check",
}
"""Names that other programs use, and the equivalent here."""


def meant(word: str) -> str:
    """The program and command closest to the unknown command *word*; empty if none is close."""
    homes = {**dict.fromkeys(LOOKING, "vhdx-inspect"), **dict.fromkeys(CHANGING, "vhdx-img")}
    word = word.lower()
    name = KNOWN_AS.get(word, word)
    if name not in homes:
        from difflib import get_close_matches  # noqa: PLC0415

        name = next(iter(get_close_matches(name, homes, n=1)), "")
    return f"{homes[name]} {name}" if name else ""
