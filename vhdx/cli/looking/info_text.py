"""The text output of ``vhdx-inspect info``, from the same record that ``--json`` prints."""

from vhdx.cli.plain import exact_size, size_text

TYPE_CHECKING = False  # typing takes longer to load than an image takes to be looked at
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def info_lines(record: "Mapping[str, Any]", parent: "Iterable[tuple[str, str]]" = ()) -> list[str]:
    """The lines; *parent* holds labels and texts about the parent."""
    block_size, log = record["block_size"], record["log"]
    rows = [
        ("image", record["path"]),
        ("format", f"{record['format']}, {record['type']}"),
        ("virtual size", exact_size(record["virtual_size"])),
        ("file size", f"{exact_size(record['file_size'])}, {size_text(record['allocated'])} on disk"),
        ("block size", "none" if block_size is None else size_text(block_size)),
        ("sector sizes", f"{record['logical_sector_size']} bytes logical, {record['physical_sector_size']} physical"),
        ("disk id", record["disk_id"] or "none"),
        ("linkage", record["linkage"] or "none"),
        ("creator", record["creator"] or "not recorded"),
    ]
    if log["state"] != "none":
        rows.append(("log", _log(log)))
    rows += parent
    rows += [("warning", warning) for warning in record["warnings"]]
    return [f"{label + ':' if label else '':<14} {text}" for label, text in rows]


def _log(log: "Mapping[str, Any]") -> str:
    if log["state"] == "clean":
        return "clean"
    changes = f"{log['entries']} entries" if log["entries"] != 1 else "1 entry"
    return f"dirty: {changes} to replay; the image is shown as after the replay"
