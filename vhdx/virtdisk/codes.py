"""What virtdisk.dll answers: each code with Microsoft's name, the kind of error that it becomes, and what to do.

The numbers and names are those of winerror.h and ntstatus.h; what they mean here is told in our own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vhdx.errors import (
    Cancelled,
    Error,
    FormatError,
    InUse,
    OutOfSpace,
    ParentMismatch,
    ParentNotFound,
    Unrecognised,
    UnsupportedFeature,
    WouldLoseData,
)

Kind = type[Error] | type[OSError]


@dataclass(frozen=True, slots=True)
class Code:
    """An answer of Windows. *structure* is the part of the file that it is about, for a FormatError."""

    name: str
    kind: Kind
    meaning: str
    remedy: str
    structure: str = ""


_CHECK = "see `vhdx-inspect check`; `vhdx-img repair` mends what can be mended without guessing"
_CHAIN = "see `vhdx-inspect chain`"
_FULL_BACKUP = "make a full backup, and begin to track changes anew"
_GIVE_UP_SIZE = "choose a larger size, or shrink the partitions on the disk first"
_NO_SMALLEST = "the smallest size that loses nothing could not be found"
_FULLY_SHRUNK = "the disk cannot become smaller without losing data"
_TRUNCATES = "the new size would cut off data of the disk"

DISK_CODES: Mapping[int, Code] = MappingProxyType({
    0x803A0001: Code(
        "ERROR_QUERY_STORAGE_ERROR", OSError,
        "the storage under virtual disks reported an error", "see the event log of the host",
    ),
    0xC03A0001: Code(
        "ERROR_VHD_DRIVE_FOOTER_MISSING", FormatError, "there is none at the end of the file", _CHECK, "footer",
    ),
    0xC03A0002: Code(
        "ERROR_VHD_DRIVE_FOOTER_CHECKSUM_MISMATCH", FormatError, "its checksum is wrong", _CHECK, "footer",
    ),
    0xC03A0003: Code("ERROR_VHD_DRIVE_FOOTER_CORRUPT", FormatError, "it is damaged", _CHECK, "footer"),
    0xC03A0004: Code(
        "ERROR_VHD_FORMAT_UNKNOWN", Unrecognised,
        "Windows knows no format of virtual disks that looks like this", "see `vhdx-inspect info`", "file",
    ),
    0xC03A0005: Code(
        "ERROR_VHD_FORMAT_UNSUPPORTED_VERSION", UnsupportedFeature,
        "Windows does not support this version of the format", "convert the image with `vhdx-img convert`",
    ),
    0xC03A0006: Code(
        "ERROR_VHD_SPARSE_HEADER_CHECKSUM_MISMATCH", FormatError, "its checksum is wrong", _CHECK,
        "dynamic disk header",
    ),
    0xC03A0007: Code(
        "ERROR_VHD_SPARSE_HEADER_UNSUPPORTED_VERSION", UnsupportedFeature,
        "Windows does not support this version of the dynamic disk header",
        "convert the image with `vhdx-img convert`",
    ),
    0xC03A0008: Code(
        "ERROR_VHD_SPARSE_HEADER_CORRUPT", FormatError, "it is damaged", _CHECK, "dynamic disk header",
    ),
    0xC03A0009: Code(
        "ERROR_VHD_BLOCK_ALLOCATION_FAILURE", OutOfSpace,
        "Windows could not allocate a block in the image", "make room on the volume or share that holds the file",
    ),
    0xC03A000A: Code(
        "ERROR_VHD_BLOCK_ALLOCATION_TABLE_CORRUPT", FormatError, "it is damaged", _CHECK, "block allocation table",
    ),
    0xC03A000B: Code(
        "ERROR_VHD_INVALID_BLOCK_SIZE", UnsupportedFeature,
        "Windows does not support this block size",
        "take 512 KiB or 2 MiB for a VHD, 1 MiB to 256 MiB for a VHDX; `vhdx-img convert` changes it",
    ),
    0xC03A000C: Code(
        "ERROR_VHD_BITMAP_MISMATCH", FormatError,
        "it does not go with the blocks that the file holds", _CHECK, "sector bitmap",
    ),
    0xC03A000D: Code(
        "ERROR_VHD_PARENT_VHD_NOT_FOUND", ParentNotFound,
        "Windows found no file at the recorded paths", f"{_CHAIN}; `vhdx-img relink` records where the parent is",
    ),
    0xC03A000E: Code(
        "ERROR_VHD_CHILD_PARENT_ID_MISMATCH", ParentMismatch,
        "the file at the parent's path has another identifier than the recorded parent",
        f"{_CHAIN}; put the right file there, or record its path with `vhdx-img relink`",
    ),
    0xC03A000F: Code(
        "ERROR_VHD_CHILD_PARENT_TIMESTAMP_MISMATCH", ParentMismatch,
        "the parent was modified after the child was created, by its time stamp",
        f"{_CHAIN}; bring the parent back as it was, or, if only its time stamp changed, use `vhdx-img relink`",
    ),
    0xC03A0010: Code(
        "ERROR_VHD_METADATA_READ_FAILURE", OSError,
        "Windows could not read the metadata of the image", "check the volume or share that holds the file",
    ),
    0xC03A0011: Code(
        "ERROR_VHD_METADATA_WRITE_FAILURE", OSError,
        "Windows could not write the metadata of the image", "check the volume or share that holds the file",
    ),
    0xC03A0012: Code(
        "ERROR_VHD_INVALID_SIZE", Error,
        "Windows does not allow this size of a disk",
        "take a multiple of the sector size: up to 2040 GiB for a VHD, up to 64 TiB for a VHDX",
    ),
    0xC03A0013: Code(
        "ERROR_VHD_INVALID_FILE_SIZE", FormatError,
        "its length does not go with what it says of itself", _CHECK, "file",
    ),
    0xC03A0014: Code(
        "ERROR_VIRTDISK_PROVIDER_NOT_FOUND", UnsupportedFeature,
        "this Windows has no support for the format of the image",
        "check the format that was asked for; use this package's own engine",
    ),
    0xC03A0015: Code(
        "ERROR_VIRTDISK_NOT_VIRTUAL_DISK", Error, "this is not a virtual disk", "name the file of an image",
    ),
    0xC03A0016: Code(
        "ERROR_VHD_PARENT_VHD_ACCESS_DENIED", PermissionError,
        "Windows denies access to the file of a parent", "give this account the right to read it",
    ),
    0xC03A0017: Code(
        "ERROR_VHD_CHILD_PARENT_SIZE_MISMATCH", ParentMismatch,
        "the parent has another size than the disk expects", f"{_CHAIN}; bring the parent back as it was",
    ),
    0xC03A0018: Code(
        "ERROR_VHD_DIFFERENCING_CHAIN_CYCLE_DETECTED", FormatError,
        "the chain leads back to the image itself", f"{_CHAIN}; `vhdx-img relink` records another parent",
        "parent locator",
    ),
    0xC03A0019: Code(
        "ERROR_VHD_DIFFERENCING_CHAIN_ERROR_IN_PARENT", Error,
        "a parent further up the chain could not be opened", f"{_CHAIN}, which names it and the reason",
    ),
    0xC03A001A: Code(
        "ERROR_VIRTUAL_DISK_LIMITATION", UnsupportedFeature,
        "Windows refuses image files that are compressed, encrypted or sparse, or have integrity streams (ReFS)",
        "take that off the file (`compact /u`, `cipher /d`, `fsutil sparse setflag FILE 0`, `Set-FileIntegrity FILE "
        "-Enable $false`), or copy it to a folder that does not give it",
    ),
    0xC03A001B: Code(
        "ERROR_VHD_INVALID_TYPE", Error,
        "this cannot be done to an image of this type (fixed, dynamic or differencing)",
        "see `vhdx-inspect info` for the type",
    ),
    0xC03A001C: Code(
        "ERROR_VHD_INVALID_STATE", Error,
        "this cannot be done to the image in its present state", "detach it, and open it in another way",
    ),
    0xC03A001D: Code(
        "ERROR_VIRTDISK_UNSUPPORTED_DISK_SECTOR_SIZE", UnsupportedFeature,
        "Windows does not support images on a disk with this sector size", "move the file to another disk",
    ),
    0xC03A001E: Code(
        "ERROR_VIRTDISK_DISK_ALREADY_OWNED", InUse, "the disk has another owner", "detach it there first",
    ),
    0xC03A001F: Code(
        "ERROR_VIRTDISK_DISK_ONLINE_AND_WRITABLE", InUse,
        "the disk is online and can be written", "take it offline, or make it read-only, first",
    ),
    0xC03A0020: Code(
        "ERROR_CTLOG_TRACKING_NOT_INITIALIZED", Error,
        "no changes are tracked for this disk", "begin to track changes first",
    ),
    0xC03A0021: Code(
        "ERROR_CTLOG_LOGFILE_SIZE_EXCEEDED_MAXSIZE", Error,
        "the file of tracked changes has become as large as it may", _FULL_BACKUP,
    ),
    0xC03A0022: Code(
        "ERROR_CTLOG_VHD_CHANGED_OFFLINE", Error,
        "the image was changed while its changes were not tracked", _FULL_BACKUP,
    ),
    0xC03A0023: Code(
        "ERROR_CTLOG_INVALID_TRACKING_STATE", Error,
        "changes are not tracked, or are already", "ask for the state of change tracking first",
    ),
    0xC03A0024: Code(
        "ERROR_CTLOG_INCONSISTENT_TRACKING_FILE", FormatError,
        "it is not in a valid state", _FULL_BACKUP, "file of tracked changes",
    ),
    0xC03A0025: Code("ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA", WouldLoseData, _TRUNCATES, _GIVE_UP_SIZE),
    0xC03A0026: Code(
        "ERROR_VHD_COULD_NOT_COMPUTE_MINIMUM_VIRTUAL_SIZE", Error,
        _NO_SMALLEST, "name a size: Windows finds it for disks with partitions that it knows",
    ),
    0xC03A0027: Code(
        "ERROR_VHD_ALREADY_AT_OR_BELOW_MINIMUM_VIRTUAL_SIZE", WouldLoseData, _FULLY_SHRUNK, _GIVE_UP_SIZE,
    ),
    0xC03A0028: Code(
        "ERROR_VHD_METADATA_FULL", Error,
        "the metadata of the image have no room for another item", "remove an item that is not needed",
    ),
    0xC03A0029: Code(
        "ERROR_VHD_INVALID_CHANGE_TRACKING_ID", Error,
        "this is no identifier of tracked changes", "use one that the disk has given",
    ),
    0xC03A002A: Code(
        "ERROR_VHD_CHANGE_TRACKING_DISABLED", Error,
        "changes of this disk are not tracked", "begin to track changes, and make a full backup",
    ),
    0xC03A0030: Code(
        "ERROR_VHD_MISSING_CHANGE_TRACKING_INFORMATION", Error,
        "what changed since this identifier is no longer known", _FULL_BACKUP,
    ),
    0xC03A0031: Code("STATUS_VHD_RESIZE_WOULD_TRUNCATE_DATA", WouldLoseData, _TRUNCATES, _GIVE_UP_SIZE),
    0xC03A0032: Code(
        "STATUS_VHD_COULD_NOT_COMPUTE_MINIMUM_VIRTUAL_SIZE", Error,
        _NO_SMALLEST, "name a size: Windows finds it for disks with partitions that it knows",
    ),
    0xC03A0033: Code(
        "STATUS_VHD_ALREADY_AT_OR_BELOW_MINIMUM_VIRTUAL_SIZE", WouldLoseData, _FULLY_SHRUNK, _GIVE_UP_SIZE,
    ),
    0xC03A0034: Code(
        "ERROR_VHD_UNEXPECTED_ID", Error,
        "an identifier is not the one that was expected", f"{_CHAIN}; check which file was meant",
    ),
    0xC05CFF0A: Code(
        "ERROR_VHD_SHARED", InUse, "the disk is shared by several machines", "take it from all but one first",
    ),
    0xC05CFF0C: Code(
        "ERROR_VHDSET_BACKING_STORAGE_NOT_FOUND", FileNotFoundError,
        "the file that the VHD set stands for is missing", "put it back beside the .vhds file",
    ),
})  # fmt: skip
"""The codes of virtual disks."""

_SHARE = "check that the server runs and that the share and the path exist"
_HELD = "close it there and try again"
_ROOM = "make room and try again"
_ATTRIBUTE = "take the attribute off the file, or copy it to a folder that does not give it"
_MEDIUM = "check the disk or the network, and see the event log of the host"

SYSTEM_CODES: Mapping[int, Code] = MappingProxyType({
    2: Code("ERROR_FILE_NOT_FOUND", FileNotFoundError, "no such file", "check the path"),
    3: Code("ERROR_PATH_NOT_FOUND", FileNotFoundError, "no such directory", "check the path"),
    5: Code("ERROR_ACCESS_DENIED", PermissionError, "Windows denies access", "check the rights of this account"),
    8: Code("ERROR_NOT_ENOUGH_MEMORY", OSError, "Windows has no memory left", "close other programs and try again"),
    15: Code("ERROR_INVALID_DRIVE", FileNotFoundError, "no such drive", "check the path"),
    19: Code("ERROR_WRITE_PROTECT", PermissionError, "the medium is write-protected", "use another"),
    21: Code("ERROR_NOT_READY", OSError, "the device is not ready", _MEDIUM),
    23: Code("ERROR_CRC", OSError, "the medium could not be read", _MEDIUM),
    32: Code("ERROR_SHARING_VIOLATION", InUse, "somebody else has it open", _HELD),
    33: Code("ERROR_LOCK_VIOLATION", InUse, "somebody else has locked it", _HELD),
    38: Code(
        "ERROR_HANDLE_EOF", FormatError, "it ends before the bytes that were asked for",
        "see `vhdx-inspect check`", "file",
    ),
    39: Code("ERROR_HANDLE_DISK_FULL", OutOfSpace, "the volume is full", _ROOM),
    50: Code(
        "ERROR_NOT_SUPPORTED", UnsupportedFeature,
        "Windows does not support this here", "use this package's own engine",
    ),
    53: Code("ERROR_BAD_NETPATH", FileNotFoundError, "the server was not found", _SHARE),
    64: Code("ERROR_NETNAME_DELETED", ConnectionError, "the connection to the share was lost", _SHARE),
    65: Code(
        "ERROR_NETWORK_ACCESS_DENIED", PermissionError,
        "the server denies access over the network", "check the rights of this account",
    ),
    67: Code("ERROR_BAD_NET_NAME", FileNotFoundError, "the server has no such share", _SHARE),
    80: Code("ERROR_FILE_EXISTS", FileExistsError, "it exists already", "choose another name"),
    87: Code(
        "ERROR_INVALID_PARAMETER", Error,
        "Windows takes an argument for invalid", "check sizes, flags and the format; older versions know fewer",
    ),
    112: Code("ERROR_DISK_FULL", OutOfSpace, "the volume is full", _ROOM),
    120: Code(
        "ERROR_CALL_NOT_IMPLEMENTED", UnsupportedFeature,
        "this Windows cannot do this", "use this package's own engine",
    ),
    121: Code("ERROR_SEM_TIMEOUT", OSError, "the device did not answer in time", _MEDIUM),
    123: Code("ERROR_INVALID_NAME", Error, "this is not a valid name of a file", "check the path"),
    170: Code("ERROR_BUSY", InUse, "it is in use", _HELD),
    183: Code("ERROR_ALREADY_EXISTS", FileExistsError, "it exists already", "choose another name"),
    267: Code("ERROR_DIRECTORY", Error, "the directory's name is not valid", "check the path"),
    618: Code(
        "ERROR_UNSUPPORTED_COMPRESSION", UnsupportedFeature, "the file or its volume is compressed", _ATTRIBUTE,
    ),
    665: Code(
        "ERROR_FILE_SYSTEM_LIMITATION", UnsupportedFeature,
        "the file system cannot hold an image in this way",
        "use a local path for a file of this machine; on NTFS, copy a file that is very fragmented",
    ),
    995: Code("ERROR_OPERATION_ABORTED", Cancelled, "it was cancelled", "run it again to finish"),
    1117: Code("ERROR_IO_DEVICE", OSError, "the device failed", _MEDIUM),
    1223: Code("ERROR_CANCELLED", Cancelled, "it was cancelled", "run it again to finish"),
    1314: Code(
        "ERROR_PRIVILEGE_NOT_HELD", PermissionError,
        "the account lacks a privilege", "run it as an administrator, or with the right to manage volumes",
    ),
    1392: Code("ERROR_FILE_CORRUPT", FormatError, "it is damaged and cannot be read", _CHECK, "file"),
    1393: Code("ERROR_DISK_CORRUPT", OSError, "the structure of the volume is damaged", "check the volume (`chkdsk`)"),
    6002: Code("ERROR_FILE_ENCRYPTED", UnsupportedFeature, "the file is encrypted (EFS)", _ATTRIBUTE),
})  # fmt: skip
"""The codes of Windows that its functions for virtual disks are known to return, too."""
