"""The numbers of virtdisk.h that this package uses, each under the end of its name there.

The first word of a class's text is Microsoft's name of the enumeration. Versions of zero are left
out.
"""

from enum import IntEnum, IntFlag
from uuid import UUID

VENDOR_UNKNOWN = UUID(int=0)
VENDOR_MICROSOFT = UUID("ec984aec-a0f9-47e9-901f-71415a66345b")
"""VIRTUAL_STORAGE_TYPE_VENDOR_…: who provides the support for a format."""

RW_DEPTH_DEFAULT = 1
"""OPEN_VIRTUAL_DISK_RW_DEPTH_DEFAULT: how many layers of a chain are opened for writing."""

MAXIMUM_CHANGE_TRACKING_ID_LENGTH = 256
"""VIRTUAL_DISK_MAXIMUM_CHANGE_TRACKING_ID_LENGTH: in characters."""

ERROR_SUCCESS = 0
ERROR_INSUFFICIENT_BUFFER = 122
ERROR_IO_PENDING = 997
ERROR_NOT_FOUND = 1168

WAIT_OBJECT_0 = 0
WAIT_TIMEOUT = 258
INFINITE = 0xFFFFFFFF
"""Of WaitForSingleObject; milliseconds."""


class Device(IntEnum):
    """VIRTUAL_STORAGE_TYPE_DEVICE: the format of an image. UNKNOWN lets Windows look."""

    UNKNOWN = 0
    ISO = 1
    VHD = 2
    VHDX = 3
    VHDSET = 4


class AccessMask(IntFlag):
    """VIRTUAL_DISK_ACCESS_MASK: what a handle of version 1 may do."""

    NONE = 0
    ATTACH_RO = 0x010000
    ATTACH_RW = 0x020000
    DETACH = 0x040000
    GET_INFO = 0x080000
    CREATE = 0x100000
    METAOPS = 0x200000
    READ = 0x0D0000
    ALL = 0x3F0000
    WRITABLE = 0x320000


class OpenVersion(IntEnum):
    """OPEN_VIRTUAL_DISK_VERSION: which part of OPEN_VIRTUAL_DISK_PARAMETERS counts."""

    VERSION_1 = 1
    VERSION_2 = 2
    VERSION_3 = 3


class OpenFlag(IntFlag):
    """OPEN_VIRTUAL_DISK_FLAG: how an image is opened."""

    NONE = 0
    NO_PARENTS = 0x1
    BLANK_FILE = 0x2
    BOOT_DRIVE = 0x4
    CACHED_IO = 0x8
    CUSTOM_DIFF_CHAIN = 0x10
    PARENT_CACHED_IO = 0x20
    VHDSET_FILE_ONLY = 0x40
    IGNORE_RELATIVE_PARENT_LOCATOR = 0x80
    NO_WRITE_HARDENING = 0x100
    SUPPORT_COMPRESSED_VOLUMES = 0x200
    SUPPORT_SPARSE_FILES_ANY_FS = 0x400
    SUPPORT_ENCRYPTED_FILES = 0x800


class CreateVersion(IntEnum):
    """CREATE_VIRTUAL_DISK_VERSION: which part of CREATE_VIRTUAL_DISK_PARAMETERS counts."""

    VERSION_1 = 1
    VERSION_2 = 2
    VERSION_3 = 3
    VERSION_4 = 4


class CreateFlag(IntFlag):
    """CREATE_VIRTUAL_DISK_FLAG: how an image is created."""

    NONE = 0
    FULL_PHYSICAL_ALLOCATION = 0x1
    PREVENT_WRITES_TO_SOURCE_DISK = 0x2
    DO_NOT_COPY_METADATA_FROM_PARENT = 0x4
    CREATE_BACKING_STORAGE = 0x8
    USE_CHANGE_TRACKING_SOURCE_LIMIT = 0x10
    PRESERVE_PARENT_CHANGE_TRACKING_STATE = 0x20
    VHD_SET_USE_ORIGINAL_BACKING_STORAGE = 0x40
    SPARSE_FILE = 0x80
    PMEM_COMPATIBLE = 0x100
    SUPPORT_COMPRESSED_VOLUMES = 0x200
    SUPPORT_SPARSE_FILES_ANY_FS = 0x400


class InfoKind(IntEnum):
    """GET_VIRTUAL_DISK_INFO_VERSION: what is asked of a disk."""

    SIZE = 1
    IDENTIFIER = 2
    PARENT_LOCATION = 3
    PARENT_IDENTIFIER = 4
    PARENT_TIMESTAMP = 5
    VIRTUAL_STORAGE_TYPE = 6
    PROVIDER_SUBTYPE = 7
    IS_4K_ALIGNED = 8
    PHYSICAL_DISK = 9
    VHD_PHYSICAL_SECTOR_SIZE = 10
    SMALLEST_SAFE_VIRTUAL_SIZE = 11
    FRAGMENTATION = 12
    IS_LOADED = 13
    VIRTUAL_DISK_ID = 14
    CHANGE_TRACKING_STATE = 15


class SettingKind(IntEnum):
    """SET_VIRTUAL_DISK_INFO_VERSION: what is changed of a disk."""

    PARENT_PATH = 1
    IDENTIFIER = 2
    PARENT_PATH_WITH_DEPTH = 3
    PHYSICAL_SECTOR_SIZE = 4
    VIRTUAL_DISK_ID = 5
    CHANGE_TRACKING_STATE = 6
    PARENT_LOCATOR = 7


class MergeVersion(IntEnum):
    """MERGE_VIRTUAL_DISK_VERSION: which part of MERGE_VIRTUAL_DISK_PARAMETERS counts."""

    VERSION_1 = 1
    VERSION_2 = 2


class CompactVersion(IntEnum):
    """COMPACT_VIRTUAL_DISK_VERSION: which part of COMPACT_VIRTUAL_DISK_PARAMETERS counts."""

    VERSION_1 = 1


class CompactFlag(IntFlag):
    """COMPACT_VIRTUAL_DISK_FLAG: what a compact leaves out."""

    NONE = 0
    NO_ZERO_SCAN = 0x1
    NO_BLOCK_MOVES = 0x2


class ResizeVersion(IntEnum):
    """RESIZE_VIRTUAL_DISK_VERSION: which part of RESIZE_VIRTUAL_DISK_PARAMETERS counts."""

    VERSION_1 = 1


class ResizeFlag(IntFlag):
    """RESIZE_VIRTUAL_DISK_FLAG: how small a disk may become."""

    NONE = 0
    ALLOW_UNSAFE_VIRTUAL_SIZE = 0x1
    RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE = 0x2


class ExpandVersion(IntEnum):
    """EXPAND_VIRTUAL_DISK_VERSION: which part of EXPAND_VIRTUAL_DISK_PARAMETERS counts."""

    VERSION_1 = 1


class MirrorVersion(IntEnum):
    """MIRROR_VIRTUAL_DISK_VERSION: which part of MIRROR_VIRTUAL_DISK_PARAMETERS counts."""

    VERSION_1 = 1


class MirrorFlag(IntFlag):
    """MIRROR_VIRTUAL_DISK_FLAG: where a mirror is written."""

    NONE = 0
    EXISTING_FILE = 0x1
    SKIP_MIRROR_ACTIVATION = 0x2
    ENABLE_SMB_COMPRESSION = 0x4
    IS_LIVE_MIGRATION = 0x8


class AttachVersion(IntEnum):
    """ATTACH_VIRTUAL_DISK_VERSION: which part of ATTACH_VIRTUAL_DISK_PARAMETERS counts."""

    VERSION_1 = 1
    VERSION_2 = 2


class AttachFlag(IntFlag):
    """ATTACH_VIRTUAL_DISK_FLAG: how a disk is attached."""

    NONE = 0
    READ_ONLY = 0x1
    NO_DRIVE_LETTER = 0x2
    PERMANENT_LIFETIME = 0x4
    NO_LOCAL_HOST = 0x8
    NO_SECURITY_DESCRIPTOR = 0x10
    BYPASS_DEFAULT_ENCRYPTION_POLICY = 0x20
    NON_PNP = 0x40
    RESTRICTED_RANGE = 0x80
    SINGLE_PARTITION = 0x100
    REGISTER_VOLUME = 0x200
    AT_BOOT = 0x400


class Subtype(IntEnum):
    """The kinds of image that GET_VIRTUAL_DISK_INFO.ProviderSubtype names, as in the footer of a VHD."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4
