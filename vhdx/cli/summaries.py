"""What both programs and their subcommands are, in a sentence or two: to be told without loading them."""

LOOKING = {
    "info": "Show what IMAGE says of itself, and where its parent is",
    "chain": "Show every layer under IMAGE, the image first, and how each parent was found",
    "map": "Show where each part of the disk in IMAGE lies",
    "check": "Check IMAGE against the rules of its format",
    "dump": "Show every field of the structures of IMAGE, with its offset, its bytes and what they mean",
    "hash": "Print the SHA-256 of the disk in IMAGE, read through its parents",
    "compare": "Compare the disks in FIRST and SECOND, read through their parents, whatever their formats",
    "read": "Show LENGTH bytes at OFFSET of the disk in IMAGE, read through its parents",
    "report": "Write a page on IMAGE: its chain, which layer holds what, its structures, and what is wrong with it",
}
"""The subcommands of ``vhdx-inspect``, each with the first sentence of its help."""
CHANGING = {
    "create": "Create an empty image at PATH, of SIZE bytes",
    "convert": "Copy the disk in SOURCE, read through its parents, into a new image TARGET",
    "merge": "Merge CHILD into its parent, which then reads as CHILD did",
    "relink": "Record PARENT, the file that CHILD was made over, under the path that it has now",
    "resize": "Make the disk in IMAGE SIZE bytes large, or, with a + before it, larger by so much",
    "compact": "Give back the space in IMAGE that its disk does not need",
    "replay": "Replay the log of IMAGE, as any program does that opens it for writing",
    "repair": "Repair what can be repaired in IMAGE without guessing",
    "write": "Write bytes at OFFSET into the disk in IMAGE",
}
"""Those of ``vhdx-img``."""
LISTS = {"vhdx-inspect": LOOKING, "vhdx-img": CHANGING}
ABOUT = {
    "vhdx-inspect": (
        "Look into VHD and VHDX images, in files and on SMB shares. No image is ever written.\n\n"
        "IMAGE is a path, smb://[domain;user@]host[:port]/share/path, or \\\\host\\share\\path."
    ),
    "vhdx-img": (
        "Create and change VHD and VHDX images, in files and on SMB shares.\n\n"
        "IMAGE is a path, smb://[domain;user@]host[:port]/share/path, or \\\\host\\share\\path. Whatever a command is "
        "stopped in, the images stay readable; the same command again finishes."
    ),
}
CODES = (
    "Exit codes: 0 done; 1 failed; 2 damaged, or the parent is missing; 4 refused; 5 in use; 6 no space; 7 not "
    "allowed; 8 salvaged in part; 64 wrong usage; 70 a bug; 130 stopped; 141 nobody reads the output."
)
"""What `vhdx.cli.exits` says of them all."""
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
"""What some of them are called in other programs."""


def meant(word: str) -> str:
    """The command, with its program, that a *word* which is none was meant for; empty where none comes near."""
    homes = {**dict.fromkeys(LOOKING, "vhdx-inspect"), **dict.fromkeys(CHANGING, "vhdx-img")}
    word = word.lower()
    name = KNOWN_AS.get(word, word)
    if name not in homes:
        from difflib import get_close_matches  # noqa: PLC0415

        name = next(iter(get_close_matches(name, homes, n=1)), "")
    return f"{homes[name]} {name}" if name else ""
