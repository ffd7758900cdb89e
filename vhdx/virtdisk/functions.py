"""What each function of Windows takes and returns."""

import ctypes
from collections.abc import Mapping
from ctypes import c_int32, c_uint32, c_uint64, c_void_p
from types import MappingProxyType
from typing import Any

from vhdx.virtdisk.structures import (
    ATTACH_VIRTUAL_DISK_PARAMETERS,
    COMPACT_VIRTUAL_DISK_PARAMETERS,
    CREATE_VIRTUAL_DISK_PARAMETERS,
    EXPAND_VIRTUAL_DISK_PARAMETERS,
    GET_VIRTUAL_DISK_INFO,
    MERGE_VIRTUAL_DISK_PARAMETERS,
    MIRROR_VIRTUAL_DISK_PARAMETERS,
    OPEN_VIRTUAL_DISK_PARAMETERS,
    OVERLAPPED,
    PCWSTR,
    QUERY_CHANGES_VIRTUAL_DISK_RANGE,
    RESIZE_VIRTUAL_DISK_PARAMETERS,
    SET_VIRTUAL_DISK_INFO,
    VIRTUAL_DISK_PROGRESS,
    VIRTUAL_STORAGE_TYPE,
)

_P = ctypes.POINTER
_HANDLE, _FLAGS, _SECURITY = c_void_p, c_uint32, c_void_p

VIRTDISK: Mapping[str, tuple[Any, ...]] = MappingProxyType({
    "CreateVirtualDisk": (
        _P(VIRTUAL_STORAGE_TYPE), PCWSTR, c_uint32, _SECURITY, _FLAGS, c_uint32,
        _P(CREATE_VIRTUAL_DISK_PARAMETERS), _P(OVERLAPPED), _P(_HANDLE),
    ),
    "OpenVirtualDisk": (
        _P(VIRTUAL_STORAGE_TYPE), PCWSTR, c_uint32, _FLAGS, _P(OPEN_VIRTUAL_DISK_PARAMETERS), _P(_HANDLE),
    ),
    "AddVirtualDiskParent": (_HANDLE, PCWSTR),
    "GetVirtualDiskInformation": (_HANDLE, _P(c_uint32), _P(GET_VIRTUAL_DISK_INFO), _P(c_uint32)),
    "SetVirtualDiskInformation": (_HANDLE, _P(SET_VIRTUAL_DISK_INFO)),
    "MergeVirtualDisk": (_HANDLE, _FLAGS, _P(MERGE_VIRTUAL_DISK_PARAMETERS), _P(OVERLAPPED)),
    "CompactVirtualDisk": (_HANDLE, _FLAGS, _P(COMPACT_VIRTUAL_DISK_PARAMETERS), _P(OVERLAPPED)),
    "ResizeVirtualDisk": (_HANDLE, _FLAGS, _P(RESIZE_VIRTUAL_DISK_PARAMETERS), _P(OVERLAPPED)),
    "ExpandVirtualDisk": (_HANDLE, _FLAGS, _P(EXPAND_VIRTUAL_DISK_PARAMETERS), _P(OVERLAPPED)),
    "MirrorVirtualDisk": (_HANDLE, _FLAGS, _P(MIRROR_VIRTUAL_DISK_PARAMETERS), _P(OVERLAPPED)),
    "BreakMirrorVirtualDisk": (_HANDLE,),
    "QueryChangesVirtualDisk": (
        _HANDLE, PCWSTR, c_uint64, c_uint64, _FLAGS, _P(QUERY_CHANGES_VIRTUAL_DISK_RANGE), _P(c_uint32), _P(c_uint64),
    ),
    "AttachVirtualDisk": (
        _HANDLE, _SECURITY, _FLAGS, c_uint32, _P(ATTACH_VIRTUAL_DISK_PARAMETERS), _P(OVERLAPPED),
    ),
    "DetachVirtualDisk": (_HANDLE, _FLAGS, c_uint32),
    "GetVirtualDiskPhysicalPath": (_HANDLE, _P(c_uint32), PCWSTR),
    "GetVirtualDiskOperationProgress": (_HANDLE, _P(OVERLAPPED), _P(VIRTUAL_DISK_PROGRESS)),
})  # fmt: skip
"""The arguments of the functions of virtdisk.dll, each of which returns VIRTDISK_RETURNS, a code."""

VIRTDISK_RETURNS = c_uint32

KERNEL: Mapping[str, tuple[Any, tuple[Any, ...]]] = MappingProxyType({
    "CreateEventW": (_HANDLE, (c_void_p, c_int32, c_int32, PCWSTR)),
    "WaitForSingleObject": (c_uint32, (_HANDLE, c_uint32)),
    "CancelIoEx": (c_int32, (_HANDLE, _P(OVERLAPPED))),
    "CloseHandle": (c_int32, (_HANDLE,)),
})
"""What the functions of kernel32.dll that go with them return, and their arguments."""
