"""The structures of virtdisk.h, with Microsoft's names, as a 64-bit Windows lays them out.

Only types of a fixed width are used, so that ctypes lays them out alike on every 64-bit platform. Text is UTF-16 that
`vhdx.virtdisk.text` makes.
"""

import ctypes
from ctypes import c_int32, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from uuid import UUID

from vhdx.virtdisk.constants import VENDOR_MICROSOFT, VENDOR_UNKNOWN, Device

PCWSTR = ctypes.POINTER(c_uint16)


class GUID(ctypes.Structure):
    _fields_ = [("Data1", c_uint32), ("Data2", c_uint16), ("Data3", c_uint16), ("Data4", c_uint8 * 8)]


class VIRTUAL_STORAGE_TYPE(ctypes.Structure):
    _fields_ = [("DeviceId", c_uint32), ("VendorId", GUID)]


class _OverlappedOffset(ctypes.Structure):
    _fields_ = [("Offset", c_uint32), ("OffsetHigh", c_uint32)]


class _OverlappedPlace(ctypes.Union):
    _anonymous_ = ("_offset",)
    _fields_ = [("_offset", _OverlappedOffset), ("Pointer", c_void_p)]


class OVERLAPPED(ctypes.Structure):
    _anonymous_ = ("_place",)
    _fields_ = [("Internal", c_size_t), ("InternalHigh", c_size_t), ("_place", _OverlappedPlace), ("hEvent", c_void_p)]


class VIRTUAL_DISK_PROGRESS(ctypes.Structure):
    _fields_ = [("OperationStatus", c_uint32), ("CurrentValue", c_uint64), ("CompletionValue", c_uint64)]


class _OpenVersion1(ctypes.Structure):
    _fields_ = [("RWDepth", c_uint32)]


class _OpenVersion2(ctypes.Structure):
    _fields_ = [("GetInfoOnly", c_int32), ("ReadOnly", c_int32), ("ResiliencyGuid", GUID)]


class _OpenVersion3(ctypes.Structure):
    _fields_ = [*_OpenVersion2._fields_, ("SnapshotId", GUID)]


class _OpenVersions(ctypes.Union):
    _fields_ = [("Version1", _OpenVersion1), ("Version2", _OpenVersion2), ("Version3", _OpenVersion3)]


class OPEN_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    _anonymous_ = ("_versions",)
    _fields_ = [("Version", c_uint32), ("_versions", _OpenVersions)]


class _CreateVersion1(ctypes.Structure):
    _fields_ = [
        ("UniqueId", GUID),
        ("MaximumSize", c_uint64),
        ("BlockSizeInBytes", c_uint32),
        ("SectorSizeInBytes", c_uint32),
        ("ParentPath", PCWSTR),
        ("SourcePath", PCWSTR),
    ]


class _CreateVersion2(ctypes.Structure):
    _fields_ = [
        ("UniqueId", GUID),
        ("MaximumSize", c_uint64),
        ("BlockSizeInBytes", c_uint32),
        ("SectorSizeInBytes", c_uint32),
        ("PhysicalSectorSizeInBytes", c_uint32),
        ("ParentPath", PCWSTR),
        ("SourcePath", PCWSTR),
        ("OpenFlags", c_uint32),
        ("ParentVirtualStorageType", VIRTUAL_STORAGE_TYPE),
        ("SourceVirtualStorageType", VIRTUAL_STORAGE_TYPE),
        ("ResiliencyGuid", GUID),
    ]


class _CreateVersion3(ctypes.Structure):
    _fields_ = [
        *_CreateVersion2._fields_,
        ("SourceLimitPath", PCWSTR),
        ("BackingStorageType", VIRTUAL_STORAGE_TYPE),
    ]


class _CreateVersion4(ctypes.Structure):
    _fields_ = [*_CreateVersion3._fields_, ("PmemAddressAbstractionType", GUID), ("DataAlignment", c_uint64)]


class _CreateVersions(ctypes.Union):
    _fields_ = [
        ("Version1", _CreateVersion1),
        ("Version2", _CreateVersion2),
        ("Version3", _CreateVersion3),
        ("Version4", _CreateVersion4),
    ]


class CREATE_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    _anonymous_ = ("_versions",)
    _fields_ = [("Version", c_uint32), ("_versions", _CreateVersions)]


class _InfoSize(ctypes.Structure):
    _fields_ = [
        ("VirtualSize", c_uint64),
        ("PhysicalSize", c_uint64),
        ("BlockSize", c_uint32),
        ("SectorSize", c_uint32),
    ]


class _InfoParentLocation(ctypes.Structure):
    _fields_ = [("ParentResolved", c_int32), ("ParentLocationBuffer", c_uint16 * 1)]


class _InfoPhysicalDisk(ctypes.Structure):
    _fields_ = [("LogicalSectorSize", c_uint32), ("PhysicalSectorSize", c_uint32), ("IsRemote", c_int32)]


class _InfoChangeTracking(ctypes.Structure):
    _fields_ = [("Enabled", c_int32), ("NewerChanges", c_int32), ("MostRecentId", c_uint16 * 1)]


class _Infos(ctypes.Union):
    _fields_ = [
        ("Size", _InfoSize),
        ("Identifier", GUID),
        ("ParentLocation", _InfoParentLocation),
        ("ParentIdentifier", GUID),
        ("ParentTimestamp", c_uint32),
        ("VirtualStorageType", VIRTUAL_STORAGE_TYPE),
        ("ProviderSubtype", c_uint32),
        ("Is4kAligned", c_int32),
        ("IsLoaded", c_int32),
        ("PhysicalDisk", _InfoPhysicalDisk),
        ("VhdPhysicalSectorSize", c_uint32),
        ("SmallestSafeVirtualSize", c_uint64),
        ("FragmentationPercentage", c_uint32),
        ("VirtualDiskId", GUID),
        ("ChangeTrackingState", _InfoChangeTracking),
    ]


class GET_VIRTUAL_DISK_INFO(ctypes.Structure):
    _anonymous_ = ("_infos",)
    _fields_ = [("Version", c_uint32), ("_infos", _Infos)]


class _SettingParentWithDepth(ctypes.Structure):
    _fields_ = [("ChildDepth", c_uint32), ("ParentFilePath", PCWSTR)]


class _SettingParentLocator(ctypes.Structure):
    _fields_ = [("LinkageId", GUID), ("ParentFilePath", PCWSTR)]


class _Settings(ctypes.Union):
    _fields_ = [
        ("ParentFilePath", PCWSTR),
        ("UniqueIdentifier", GUID),
        ("ParentPathWithDepthInfo", _SettingParentWithDepth),
        ("VhdPhysicalSectorSize", c_uint32),
        ("VirtualDiskId", GUID),
        ("ChangeTrackingEnabled", c_int32),
        ("ParentLocator", _SettingParentLocator),
    ]


class SET_VIRTUAL_DISK_INFO(ctypes.Structure):
    _anonymous_ = ("_settings",)
    _fields_ = [("Version", c_uint32), ("_settings", _Settings)]


class _MergeVersion1(ctypes.Structure):
    _fields_ = [("MergeDepth", c_uint32)]


class _MergeVersion2(ctypes.Structure):
    _fields_ = [("MergeSourceDepth", c_uint32), ("MergeTargetDepth", c_uint32)]


class _MergeVersions(ctypes.Union):
    _fields_ = [("Version1", _MergeVersion1), ("Version2", _MergeVersion2)]


class MERGE_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    _anonymous_ = ("_versions",)
    _fields_ = [("Version", c_uint32), ("_versions", _MergeVersions)]


class _CompactVersion1(ctypes.Structure):
    _fields_ = [("Reserved", c_uint32)]


class _CompactVersions(ctypes.Union):
    _fields_ = [("Version1", _CompactVersion1)]


class COMPACT_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    _anonymous_ = ("_versions",)
    _fields_ = [("Version", c_uint32), ("_versions", _CompactVersions)]


class _NewSize(ctypes.Structure):
    _fields_ = [("NewSize", c_uint64)]


class _NewSizeVersions(ctypes.Union):
    _fields_ = [("Version1", _NewSize)]


class RESIZE_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    _anonymous_ = ("_versions",)
    _fields_ = [("Version", c_uint32), ("_versions", _NewSizeVersions)]


class EXPAND_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    _anonymous_ = ("_versions",)
    _fields_ = [("Version", c_uint32), ("_versions", _NewSizeVersions)]


class _MirrorVersion1(ctypes.Structure):
    _fields_ = [("MirrorVirtualDiskPath", PCWSTR)]


class _MirrorVersions(ctypes.Union):
    _fields_ = [("Version1", _MirrorVersion1)]


class MIRROR_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    _anonymous_ = ("_versions",)
    _fields_ = [("Version", c_uint32), ("_versions", _MirrorVersions)]


class QUERY_CHANGES_VIRTUAL_DISK_RANGE(ctypes.Structure):
    _fields_ = [("ByteOffset", c_uint64), ("ByteLength", c_uint64), ("Reserved", c_uint64)]


class _AttachVersion1(ctypes.Structure):
    _fields_ = [("Reserved", c_uint32)]


class _AttachVersion2(ctypes.Structure):
    _fields_ = [("RestrictedOffset", c_uint64), ("RestrictedLength", c_uint64)]


class _AttachVersions(ctypes.Union):
    _fields_ = [("Version1", _AttachVersion1), ("Version2", _AttachVersion2)]


class ATTACH_VIRTUAL_DISK_PARAMETERS(ctypes.Structure):
    _anonymous_ = ("_versions",)
    _fields_ = [("Version", c_uint32), ("_versions", _AttachVersions)]


def guid(value: UUID) -> GUID:
    """A UUID as Windows stores it."""
    return GUID.from_buffer_copy(value.bytes_le)


def uuid(value: GUID) -> UUID:
    """A GUID of Windows as a UUID."""
    return UUID(bytes_le=bytes(value))


def storage_type(device: Device) -> VIRTUAL_STORAGE_TYPE:
    """The type of an image of a format; for UNKNOWN, Windows looks what it is."""
    vendor = VENDOR_UNKNOWN if device is Device.UNKNOWN else VENDOR_MICROSOFT
    return VIRTUAL_STORAGE_TYPE(device, guid(vendor))
