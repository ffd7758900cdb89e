/* A stand-in for virtdisk.dll, for tests of who calls it. It is no provider of virtual disks.
 *
 * It shows that what a caller passes arrives where a 64-bit Windows expects it, that buffers that are too small, calls
 * that are pending, progress, cancelling and failures are handled, and it records every call. What it takes and refuses
 * is our reading of Microsoft's documentation, not Microsoft's behaviour.
 *
 * The structures are declared here by hand, as the documentation has them. facts.h, which is made of Microsoft's
 * metadata, asserts each of their members at compile time and defines every number.
 *
 * The handle of a disk is one end of a pipe, and a call that is pending is a read from it into the caller's OVERLAPPED,
 * so that waiting, cancelling and closing go the ways of the system. The other end writes when the call is done.
 *
 * The environment says what is to happen:
 *   STANDIN_TRACE            the file to which calls are added, a line of JSON for each
 *   STANDIN_ANSWER_function  the code that a function answers with, instead of doing anything
 *   STANDIN_RESULT_function  the code that a pending call of it ends with
 *   STANDIN_PACE             how long calls take: "now", not pending at all; "thread" (if unset), done by a thread;
 *                            "looks", done when its progress was looked at four times; "never", until it is cancelled
 */
#undef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#define _INC_VIRTDISK /* keeps windows.h from declaring its own, older structures */
#include <windows.h>

#include <winternl.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

NTSTATUS NTAPI NtQueryEvent(HANDLE event, int kind, void *found, ULONG size, ULONG *used); /* in no header */

typedef struct { ULONG DeviceId; GUID VendorId; } VIRTUAL_STORAGE_TYPE;

typedef struct { DWORD OperationStatus; ULONGLONG CurrentValue; ULONGLONG CompletionValue; } VIRTUAL_DISK_PROGRESS;

typedef struct {
    ULONG Version;
    union {
        struct { ULONG RWDepth; } Version1;
        struct { BOOL GetInfoOnly; BOOL ReadOnly; GUID ResiliencyGuid; } Version2;
        struct { BOOL GetInfoOnly; BOOL ReadOnly; GUID ResiliencyGuid; GUID SnapshotId; } Version3;
    };
} OPEN_VIRTUAL_DISK_PARAMETERS;

typedef struct {
    ULONG Version;
    union {
        struct {
            GUID UniqueId; ULONGLONG MaximumSize; ULONG BlockSizeInBytes; ULONG SectorSizeInBytes;
            PCWSTR ParentPath; PCWSTR SourcePath;
        } Version1;
        struct {
            GUID UniqueId; ULONGLONG MaximumSize; ULONG BlockSizeInBytes; ULONG SectorSizeInBytes;
            ULONG PhysicalSectorSizeInBytes; PCWSTR ParentPath; PCWSTR SourcePath; ULONG OpenFlags;
            VIRTUAL_STORAGE_TYPE ParentVirtualStorageType; VIRTUAL_STORAGE_TYPE SourceVirtualStorageType;
            GUID ResiliencyGuid;
        } Version2;
        struct {
            GUID UniqueId; ULONGLONG MaximumSize; ULONG BlockSizeInBytes; ULONG SectorSizeInBytes;
            ULONG PhysicalSectorSizeInBytes; PCWSTR ParentPath; PCWSTR SourcePath; ULONG OpenFlags;
            VIRTUAL_STORAGE_TYPE ParentVirtualStorageType; VIRTUAL_STORAGE_TYPE SourceVirtualStorageType;
            GUID ResiliencyGuid; PCWSTR SourceLimitPath; VIRTUAL_STORAGE_TYPE BackingStorageType;
        } Version3;
        struct {
            GUID UniqueId; ULONGLONG MaximumSize; ULONG BlockSizeInBytes; ULONG SectorSizeInBytes;
            ULONG PhysicalSectorSizeInBytes; PCWSTR ParentPath; PCWSTR SourcePath; ULONG OpenFlags;
            VIRTUAL_STORAGE_TYPE ParentVirtualStorageType; VIRTUAL_STORAGE_TYPE SourceVirtualStorageType;
            GUID ResiliencyGuid; PCWSTR SourceLimitPath; VIRTUAL_STORAGE_TYPE BackingStorageType;
            GUID PmemAddressAbstractionType; ULONGLONG DataAlignment;
        } Version4;
    };
} CREATE_VIRTUAL_DISK_PARAMETERS;

typedef struct {
    ULONG Version;
    union {
        struct { ULONGLONG VirtualSize; ULONGLONG PhysicalSize; ULONG BlockSize; ULONG SectorSize; } Size;
        GUID Identifier;
        struct { BOOL ParentResolved; WCHAR ParentLocationBuffer[1]; } ParentLocation;
        GUID ParentIdentifier;
        ULONG ParentTimestamp;
        VIRTUAL_STORAGE_TYPE VirtualStorageType;
        ULONG ProviderSubtype;
        BOOL Is4kAligned;
        BOOL IsLoaded;
        struct { ULONG LogicalSectorSize; ULONG PhysicalSectorSize; BOOL IsRemote; } PhysicalDisk;
        ULONG VhdPhysicalSectorSize;
        ULONGLONG SmallestSafeVirtualSize;
        ULONG FragmentationPercentage;
        GUID VirtualDiskId;
        struct { BOOL Enabled; BOOL NewerChanges; WCHAR MostRecentId[1]; } ChangeTrackingState;
    };
} GET_VIRTUAL_DISK_INFO;

typedef struct {
    ULONG Version;
    union {
        PCWSTR ParentFilePath;
        GUID UniqueIdentifier;
        struct { ULONG ChildDepth; PCWSTR ParentFilePath; } ParentPathWithDepthInfo;
        ULONG VhdPhysicalSectorSize;
        GUID VirtualDiskId;
        BOOL ChangeTrackingEnabled;
        struct { GUID LinkageId; PCWSTR ParentFilePath; } ParentLocator;
    };
} SET_VIRTUAL_DISK_INFO;

typedef struct {
    ULONG Version;
    union {
        struct { ULONG MergeDepth; } Version1;
        struct { ULONG MergeSourceDepth; ULONG MergeTargetDepth; } Version2;
    };
} MERGE_VIRTUAL_DISK_PARAMETERS;

typedef struct { ULONG Version; union { struct { ULONG Reserved; } Version1; }; } COMPACT_VIRTUAL_DISK_PARAMETERS;
typedef struct { ULONG Version; union { struct { ULONGLONG NewSize; } Version1; }; } RESIZE_VIRTUAL_DISK_PARAMETERS;
typedef struct { ULONG Version; union { struct { ULONGLONG NewSize; } Version1; }; } EXPAND_VIRTUAL_DISK_PARAMETERS;

typedef struct {
    ULONG Version;
    union { struct { PCWSTR MirrorVirtualDiskPath; } Version1; };
} MIRROR_VIRTUAL_DISK_PARAMETERS;

typedef struct { ULONGLONG ByteOffset; ULONGLONG ByteLength; ULONGLONG Reserved; } QUERY_CHANGES_VIRTUAL_DISK_RANGE;

typedef struct {
    ULONG Version;
    union {
        struct { ULONG Reserved; } Version1;
        struct { ULONGLONG RestrictedOffset; ULONGLONG RestrictedLength; } Version2;
    };
} ATTACH_VIRTUAL_DISK_PARAMETERS;

#include "facts.h"

#define EXPORT __declspec(dllexport) DWORD WINAPI
#define LOOKS 4
#define FALLS 3 /* the look at which progress is told in another unit, and has fallen, as it may */
#define LONGEST 2048
#define STATUS_OF_CANCELLED 0xC0000120u

/* ---- a disk: what its file holds, and what is open ---- */

typedef struct {
    char mark[8];
    ULONG device, block, sector, physical, subtype, tracking;
    ULONGLONG size;
    GUID identifier, disk, parent_identifier;
    WCHAR parent[LONGEST];
} Stored;

typedef struct {
    HANDLE handle, other;
    WCHAR path[LONGEST];
    Stored stored;
    BOOL attached;
    volatile LONG looks;
    DWORD result;
    char byte;
} Disk;

static Disk *disks[1024];
static volatile LONG disk_count;

static Disk *disk_of(HANDLE handle) {
    DWORD flags;
    if (!GetHandleInformation(handle, &flags)) return NULL;
    for (LONG i = disk_count - 1; i >= 0; i--)
        if (disks[i]->handle == handle) return disks[i];
    return NULL;
}

static Disk *open_handle(PCWSTR path, const Stored *stored) {
    WCHAR name[64];
    Disk *disk = VirtualAlloc(NULL, sizeof *disk, MEM_COMMIT, PAGE_READWRITE);
    wsprintfW(name, L"\\\\.\\pipe\\standin-%u-%u", GetCurrentProcessId(), (unsigned)disk_count);
    disk->handle = CreateNamedPipeW(name, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED, PIPE_TYPE_BYTE, 1, 16, 16, 0, NULL);
    disk->other = CreateFileW(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    lstrcpynW(disk->path, path, LONGEST);
    disk->stored = *stored;
    disks[disk_count] = disk;
    InterlockedIncrement(&disk_count);
    return disk;
}

static DWORD store(Disk *disk) {
    DWORD count;
    HANDLE file = CreateFileW(disk->path, GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) return GetLastError();
    BOOL done = WriteFile(file, &disk->stored, sizeof disk->stored, &count, NULL);
    CloseHandle(file);
    return done ? ERROR_SUCCESS : ERROR_DISK_FULL;
}

static DWORD load(PCWSTR path, Stored *stored) {
    DWORD count;
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) return GetLastError();
    BOOL done = ReadFile(file, stored, sizeof *stored, &count, NULL);
    CloseHandle(file);
    return done && count == sizeof *stored && !memcmp(stored->mark, "STANDIN", 8) ? ERROR_SUCCESS : ERROR_FILE_CORRUPT;
}

static HANDLE events[256];
static volatile LONG event_count, counted_from;

/* How many of the handles that the caller has to close are open: of disks, and of the events of requests. */
EXPORT StandInHandles(void) {
    LONG basic[2];
    DWORD found = 0;
    for (LONG i = counted_from; i < disk_count; i++)
        found += GetFileType(disks[i]->handle) == FILE_TYPE_PIPE && disk_of(disks[i]->handle) == disks[i];
    for (LONG i = 0; i < event_count; i++) found += !NtQueryEvent(events[i], 0, basic, sizeof basic, NULL);
    return found;
}

static void note(const OVERLAPPED *overlapped) {
    LONG known = 0;
    if (!overlapped) return;
    while (known < event_count && events[known] != overlapped->hEvent) known++;
    if (known == event_count) events[InterlockedIncrement(&event_count) - 1] = overlapped->hEvent;
}

/* Count only what is opened from now on. */
EXPORT StandInForget(void) {
    counted_from = disk_count;
    event_count = 0;
    return 0;
}

/* ---- the trace ---- */

static char line[65536];
static size_t length;

static void put(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    length += vsnprintf(line + length, sizeof line - length, format, arguments);
    va_end(arguments);
}

static void begin(const char *function) { length = 0; put("{\"function\": \"%s\"", function); }
static void number(const char *key, ULONGLONG value) { put(", \"%s\": %I64u", key, value); }

static void text(const char *key, PCWSTR value) {
    if (!value) { put(", \"%s\": null", key); return; }
    put(", \"%s\": \"", key);
    for (; *value; value++) put("\\u%04x", *value);
    put("\"");
}

static void guid(const char *key, const GUID *value) {
    put(", \"%s\": \"%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x\"", key, value->Data1, value->Data2,
        value->Data3, value->Data4[0], value->Data4[1], value->Data4[2], value->Data4[3], value->Data4[4],
        value->Data4[5], value->Data4[6], value->Data4[7]);
}

static void end(void) {
    char path[MAX_PATH];
    DWORD count;
    put("}\n");
    if (!GetEnvironmentVariableA("STANDIN_TRACE", path, sizeof path)) return;
    HANDLE file = CreateFileA(path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS, 0, NULL);
    WriteFile(file, line, (DWORD)length, &count, NULL);
    CloseHandle(file);
}

/* ---- what the environment asks for ---- */

static DWORD asked(const char *kind, const char *function) {
    char name[128], value[32];
    wsprintfA(name, "STANDIN_%s_%s", kind, function);
    return GetEnvironmentVariableA(name, value, sizeof value) ? strtoul(value, NULL, 0) : 0;
}

static BOOL pace(const char *wanted) {
    char value[32];
    return GetEnvironmentVariableA("STANDIN_PACE", value, sizeof value) && !strcmp(value, wanted);
}

/* ---- calls that take long ---- */

static void complete(Disk *disk) {
    DWORD count;
    WriteFile(disk->other, "x", 1, &count, NULL);
}

static DWORD WINAPI soon(void *disk) {
    Sleep(30);
    complete(disk);
    return 0;
}

static DWORD pend(Disk *disk, const char *function, OVERLAPPED *overlapped) {
    DWORD code = asked("RESULT", function);
    if (!overlapped || pace("now")) return code;
    if (!overlapped->hEvent || overlapped->Internal || overlapped->Offset || overlapped->OffsetHigh)
        return ERROR_INVALID_PARAMETER;
    disk->result = code;
    disk->looks = 0;
    if (ReadFile(disk->handle, &disk->byte, 1, NULL, overlapped)) return ERROR_INVALID_STATE;
    if (GetLastError() != ERROR_IO_PENDING) return GetLastError();
    if (!pace("never") && !pace("looks")) CloseHandle(CreateThread(NULL, 0, soon, disk, 0, NULL));
    return ERROR_IO_PENDING;
}

EXPORT GetVirtualDiskOperationProgress(HANDLE handle, OVERLAPPED *overlapped, VIRTUAL_DISK_PROGRESS *progress) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "GetVirtualDiskOperationProgress");
    if (answer) return answer;
    if (!disk) return ERROR_INVALID_HANDLE;
    if (!overlapped || !progress) return ERROR_INVALID_PARAMETER;
    LONG looks = InterlockedIncrement(&disk->looks);
    progress->CurrentValue = looks == FALLS ? 1 : looks < LOOKS ? looks : LOOKS;
    progress->CompletionValue = looks == FALLS ? 2 * LOOKS : LOOKS;
    switch ((DWORD)overlapped->Internal) {
    case STATUS_PENDING:
        progress->OperationStatus = ERROR_IO_PENDING;
        if (looks == LOOKS && pace("looks")) complete(disk);
        break;
    case STATUS_OF_CANCELLED:
        progress->OperationStatus = ERROR_OPERATION_ABORTED;
        break;
    default:
        progress->OperationStatus = disk->result;
    }
    return ERROR_SUCCESS;
}

/* ---- creating and opening ---- */

static BOOL is_type(const VIRTUAL_STORAGE_TYPE *type) {
    static const GUID microsoft = VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT, unknown = VIRTUAL_STORAGE_TYPE_VENDOR_UNKNOWN;
    const GUID *vendor = type->DeviceId == VIRTUAL_STORAGE_TYPE_DEVICE_UNKNOWN ? &unknown : &microsoft;
    return type->DeviceId <= VIRTUAL_STORAGE_TYPE_DEVICE_VHDSET && !memcmp(&type->VendorId, vendor, sizeof *vendor);
}

EXPORT CreateVirtualDisk(VIRTUAL_STORAGE_TYPE *type, PCWSTR path, ULONG mask, void *security, ULONG flags,
                         ULONG provider_flags, CREATE_VIRTUAL_DISK_PARAMETERS *given, OVERLAPPED *overlapped,
                         HANDLE *handle) {
    DWORD answer = asked("ANSWER", "CreateVirtualDisk");
    Stored stored = {.mark = "STANDIN"}, parent;
    note(overlapped);
    begin("CreateVirtualDisk");
    if (!type || !path || !given || !handle || given->Version != CREATE_VIRTUAL_DISK_VERSION_2)
        return ERROR_INVALID_PARAMETER;
    number("device", type->DeviceId); text("path", path); number("mask", mask); number("flags", flags);
    guid("UniqueId", &given->Version2.UniqueId); number("MaximumSize", given->Version2.MaximumSize);
    number("BlockSizeInBytes", given->Version2.BlockSizeInBytes);
    number("SectorSizeInBytes", given->Version2.SectorSizeInBytes);
    number("PhysicalSectorSizeInBytes", given->Version2.PhysicalSectorSizeInBytes);
    text("ParentPath", given->Version2.ParentPath); text("SourcePath", given->Version2.SourcePath);
    number("OpenFlags", given->Version2.OpenFlags);
    number("parent device", given->Version2.ParentVirtualStorageType.DeviceId);
    number("source device", given->Version2.SourceVirtualStorageType.DeviceId);
    guid("ResiliencyGuid", &given->Version2.ResiliencyGuid); number("overlapped", overlapped != NULL);
    end();
    if (answer) return answer;
    if (mask || security || provider_flags || !is_type(type) || !is_type(&given->Version2.ParentVirtualStorageType)
        || !is_type(&given->Version2.SourceVirtualStorageType)) return ERROR_INVALID_PARAMETER;
    stored.device = type->DeviceId;
    stored.size = given->Version2.MaximumSize;
    stored.block = given->Version2.BlockSizeInBytes;
    stored.sector = given->Version2.SectorSizeInBytes;
    stored.physical = given->Version2.PhysicalSectorSizeInBytes;
    stored.identifier = given->Version2.UniqueId;
    stored.subtype = flags & CREATE_VIRTUAL_DISK_FLAG_FULL_PHYSICAL_ALLOCATION ? 2 : 3;
    if (given->Version2.ParentPath) {
        answer = load(given->Version2.ParentPath, &parent);
        if (answer == ERROR_FILE_NOT_FOUND) return ERROR_VHD_PARENT_VHD_NOT_FOUND;
        if (answer) return answer;
        stored.subtype = 4;
        stored.size = parent.size;
        stored.parent_identifier = parent.identifier;
        lstrcpynW(stored.parent, given->Version2.ParentPath, LONGEST);
    } else if (!given->Version2.SourcePath && (!stored.size || stored.size % 512)) {
        return ERROR_VHD_INVALID_SIZE;
    }
    HANDLE file = CreateFileW(path, GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) return GetLastError();
    CloseHandle(file);
    Disk *disk = open_handle(path, &stored);
    if ((answer = store(disk))) return answer;
    *handle = disk->handle;
    return pend(disk, "CreateVirtualDisk", overlapped);
}

EXPORT OpenVirtualDisk(VIRTUAL_STORAGE_TYPE *type, PCWSTR path, ULONG mask, ULONG flags,
                       OPEN_VIRTUAL_DISK_PARAMETERS *given, HANDLE *handle) {
    DWORD answer = asked("ANSWER", "OpenVirtualDisk");
    Stored stored;
    begin("OpenVirtualDisk");
    if (!type || !path || !given || !handle) return ERROR_INVALID_PARAMETER;
    number("device", type->DeviceId); text("path", path); number("mask", mask); number("flags", flags);
    number("Version", given->Version);
    switch (given->Version) {
    case OPEN_VIRTUAL_DISK_VERSION_1: number("RWDepth", given->Version1.RWDepth); break;
    case OPEN_VIRTUAL_DISK_VERSION_3: guid("SnapshotId", &given->Version3.SnapshotId); /* fall through */
    case OPEN_VIRTUAL_DISK_VERSION_2:
        number("GetInfoOnly", given->Version2.GetInfoOnly); number("ReadOnly", given->Version2.ReadOnly);
        guid("ResiliencyGuid", &given->Version2.ResiliencyGuid);
    }
    end();
    if (answer) return answer;
    if (!is_type(type) || !given->Version || given->Version > OPEN_VIRTUAL_DISK_VERSION_3) return ERROR_INVALID_PARAMETER;
    if ((given->Version == OPEN_VIRTUAL_DISK_VERSION_1) != (mask != 0)) return ERROR_INVALID_PARAMETER;
    if ((answer = load(path, &stored))) return answer;
    if (type->DeviceId && type->DeviceId != stored.device) return ERROR_VIRTDISK_PROVIDER_NOT_FOUND;
    *handle = open_handle(path, &stored)->handle;
    return ERROR_SUCCESS;
}

EXPORT AddVirtualDiskParent(HANDLE handle, PCWSTR path) {
    Stored stored;
    begin("AddVirtualDiskParent"); text("path", path); end();
    return disk_of(handle) ? load(path, &stored) : ERROR_INVALID_HANDLE;
}

/* ---- asking and setting ---- */

#define FITS(bytes) if (*size < (needed = (ULONG)(bytes))) break
#define PLACE(member) offsetof(GET_VIRTUAL_DISK_INFO, member)

EXPORT GetVirtualDiskInformation(HANDLE handle, ULONG *size, GET_VIRTUAL_DISK_INFO *info, ULONG *used) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "GetVirtualDiskInformation");
    ULONG needed = sizeof *info;
    Stored unused;
    if (!disk) return ERROR_INVALID_HANDLE;
    if (!size || !info || *size < sizeof *info) return ERROR_INVALID_PARAMETER;
    begin("GetVirtualDiskInformation"); number("Version", info->Version); number("size", *size); end();
    if (answer == ERROR_INSUFFICIENT_BUFFER) { *size += 1; return answer; } /* however much it is */
    if (answer) return answer;
    Stored *stored = &disk->stored;
    switch (info->Version) {
    case GET_VIRTUAL_DISK_INFO_SIZE:
        info->Size.VirtualSize = stored->size; info->Size.PhysicalSize = sizeof *stored;
        info->Size.BlockSize = stored->block; info->Size.SectorSize = stored->sector; break;
    case GET_VIRTUAL_DISK_INFO_IDENTIFIER: info->Identifier = stored->identifier; break;
    case GET_VIRTUAL_DISK_INFO_PARENT_LOCATION: {
        if (stored->subtype != 4) return ERROR_VHD_INVALID_TYPE;
        BOOL found = load(stored->parent, &unused) == ERROR_SUCCESS;
        size_t path = lstrlenW(stored->parent) + 1, all = found ? path : 2 * path + 1;
        FITS(PLACE(ParentLocation.ParentLocationBuffer) + all * sizeof(WCHAR));
        info->ParentLocation.ParentResolved = found;
        lstrcpyW(info->ParentLocation.ParentLocationBuffer, stored->parent);
        if (!found) {
            lstrcpyW(info->ParentLocation.ParentLocationBuffer + path, stored->parent);
            info->ParentLocation.ParentLocationBuffer[path] = L'?';
            info->ParentLocation.ParentLocationBuffer[2 * path] = 0;
        }
        break;
    }
    case GET_VIRTUAL_DISK_INFO_PARENT_IDENTIFIER:
        if (stored->subtype != 4) return ERROR_VHD_INVALID_TYPE;
        info->ParentIdentifier = stored->parent_identifier; break;
    case GET_VIRTUAL_DISK_INFO_PARENT_TIMESTAMP: info->ParentTimestamp = 4000000000u; break;
    case GET_VIRTUAL_DISK_INFO_VIRTUAL_STORAGE_TYPE: {
        static const GUID microsoft = VIRTUAL_STORAGE_TYPE_VENDOR_MICROSOFT;
        info->VirtualStorageType.DeviceId = stored->device; info->VirtualStorageType.VendorId = microsoft; break;
    }
    case GET_VIRTUAL_DISK_INFO_PROVIDER_SUBTYPE: info->ProviderSubtype = stored->subtype; break;
    case GET_VIRTUAL_DISK_INFO_IS_4K_ALIGNED: info->Is4kAligned = TRUE; break;
    case GET_VIRTUAL_DISK_INFO_PHYSICAL_DISK:
        info->PhysicalDisk.LogicalSectorSize = 512; info->PhysicalDisk.PhysicalSectorSize = 4096;
        info->PhysicalDisk.IsRemote = TRUE; break;
    case GET_VIRTUAL_DISK_INFO_VHD_PHYSICAL_SECTOR_SIZE: info->VhdPhysicalSectorSize = stored->physical; break;
    case GET_VIRTUAL_DISK_INFO_SMALLEST_SAFE_VIRTUAL_SIZE: info->SmallestSafeVirtualSize = stored->size / 2; break;
    case GET_VIRTUAL_DISK_INFO_FRAGMENTATION: info->FragmentationPercentage = 17; break;
    case GET_VIRTUAL_DISK_INFO_IS_LOADED: info->IsLoaded = disk->attached; break;
    case GET_VIRTUAL_DISK_INFO_VIRTUAL_DISK_ID: info->VirtualDiskId = stored->disk; break;
    case GET_VIRTUAL_DISK_INFO_CHANGE_TRACKING_STATE:
        FITS(PLACE(ChangeTrackingState.MostRecentId) + 41 * sizeof(WCHAR));
        info->ChangeTrackingState.Enabled = stored->tracking; info->ChangeTrackingState.NewerChanges = TRUE;
        lstrcpyW(info->ChangeTrackingState.MostRecentId, L"rctX:00112233:4455:6677:8899:aabbccddeef"); break;
    default: return ERROR_INVALID_PARAMETER;
    }
    if (*size < needed) { *size = needed; return ERROR_INSUFFICIENT_BUFFER; }
    if (used) *used = needed;
    return ERROR_SUCCESS;
}

EXPORT SetVirtualDiskInformation(HANDLE handle, SET_VIRTUAL_DISK_INFO *info) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "SetVirtualDiskInformation");
    Stored parent;
    PCWSTR path = NULL;
    if (!disk) return ERROR_INVALID_HANDLE;
    begin("SetVirtualDiskInformation"); number("Version", info->Version);
    switch (info->Version) {
    case SET_VIRTUAL_DISK_INFO_PARENT_PATH: path = info->ParentFilePath; break;
    case SET_VIRTUAL_DISK_INFO_IDENTIFIER:
        guid("UniqueIdentifier", &info->UniqueIdentifier); disk->stored.identifier = info->UniqueIdentifier; break;
    case SET_VIRTUAL_DISK_INFO_PARENT_PATH_WITH_DEPTH:
        number("ChildDepth", info->ParentPathWithDepthInfo.ChildDepth);
        path = info->ParentPathWithDepthInfo.ParentFilePath; break;
    case SET_VIRTUAL_DISK_INFO_PHYSICAL_SECTOR_SIZE:
        number("VhdPhysicalSectorSize", info->VhdPhysicalSectorSize);
        disk->stored.physical = info->VhdPhysicalSectorSize; break;
    case SET_VIRTUAL_DISK_INFO_VIRTUAL_DISK_ID:
        guid("VirtualDiskId", &info->VirtualDiskId); disk->stored.disk = info->VirtualDiskId; break;
    case SET_VIRTUAL_DISK_INFO_CHANGE_TRACKING_STATE:
        number("ChangeTrackingEnabled", info->ChangeTrackingEnabled);
        disk->stored.tracking = info->ChangeTrackingEnabled; break;
    case SET_VIRTUAL_DISK_INFO_PARENT_LOCATOR:
        guid("LinkageId", &info->ParentLocator.LinkageId); text("ParentFilePath", info->ParentLocator.ParentFilePath);
        disk->stored.parent_identifier = info->ParentLocator.LinkageId;
        lstrcpynW(disk->stored.parent, info->ParentLocator.ParentFilePath, LONGEST); break;
    default: return ERROR_INVALID_PARAMETER;
    }
    if (path) {
        text("ParentFilePath", path);
        if (!answer && load(path, &parent)) answer = ERROR_VHD_PARENT_VHD_NOT_FOUND;
        disk->stored.parent_identifier = parent.identifier;
        lstrcpynW(disk->stored.parent, path, LONGEST);
    }
    end();
    return answer ? answer : store(disk);
}

/* ---- verbs ---- */

EXPORT MergeVirtualDisk(HANDLE handle, ULONG flags, MERGE_VIRTUAL_DISK_PARAMETERS *given, OVERLAPPED *overlapped) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "MergeVirtualDisk");
    if (!disk) return ERROR_INVALID_HANDLE;
    note(overlapped);
    begin("MergeVirtualDisk"); number("flags", flags); number("Version", given->Version);
    if (given->Version == MERGE_VIRTUAL_DISK_VERSION_1) number("MergeDepth", given->Version1.MergeDepth);
    else {
        number("MergeSourceDepth", given->Version2.MergeSourceDepth);
        number("MergeTargetDepth", given->Version2.MergeTargetDepth);
    }
    end();
    return answer ? answer : pend(disk, "MergeVirtualDisk", overlapped);
}

EXPORT CompactVirtualDisk(HANDLE handle, ULONG flags, COMPACT_VIRTUAL_DISK_PARAMETERS *given, OVERLAPPED *overlapped) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "CompactVirtualDisk");
    if (!disk) return ERROR_INVALID_HANDLE;
    note(overlapped);
    begin("CompactVirtualDisk"); number("flags", flags); number("Version", given->Version);
    number("Reserved", given->Version1.Reserved); end();
    return answer ? answer : pend(disk, "CompactVirtualDisk", overlapped);
}

EXPORT ResizeVirtualDisk(HANDLE handle, ULONG flags, RESIZE_VIRTUAL_DISK_PARAMETERS *given, OVERLAPPED *overlapped) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "ResizeVirtualDisk");
    if (!disk) return ERROR_INVALID_HANDLE;
    note(overlapped);
    begin("ResizeVirtualDisk"); number("flags", flags); number("Version", given->Version);
    number("NewSize", given->Version1.NewSize); end();
    if (answer) return answer;
    if (flags & RESIZE_VIRTUAL_DISK_FLAG_RESIZE_TO_SMALLEST_SAFE_VIRTUAL_SIZE) {
        if (given->Version1.NewSize) return ERROR_INVALID_PARAMETER;
        disk->stored.size /= 2;
    } else {
        if (given->Version1.NewSize < disk->stored.size / 2 && !(flags & RESIZE_VIRTUAL_DISK_FLAG_ALLOW_UNSAFE_VIRTUAL_SIZE))
            return ERROR_VHD_RESIZE_WOULD_TRUNCATE_DATA;
        disk->stored.size = given->Version1.NewSize;
    }
    return (answer = store(disk)) ? answer : pend(disk, "ResizeVirtualDisk", overlapped);
}

EXPORT ExpandVirtualDisk(HANDLE handle, ULONG flags, EXPAND_VIRTUAL_DISK_PARAMETERS *given, OVERLAPPED *overlapped) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "ExpandVirtualDisk");
    if (!disk) return ERROR_INVALID_HANDLE;
    note(overlapped);
    begin("ExpandVirtualDisk"); number("flags", flags); number("Version", given->Version);
    number("NewSize", given->Version1.NewSize); end();
    if (answer) return answer;
    disk->stored.size = given->Version1.NewSize;
    return (answer = store(disk)) ? answer : pend(disk, "ExpandVirtualDisk", overlapped);
}

EXPORT MirrorVirtualDisk(HANDLE handle, ULONG flags, MIRROR_VIRTUAL_DISK_PARAMETERS *given, OVERLAPPED *overlapped) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "MirrorVirtualDisk");
    if (!disk) return ERROR_INVALID_HANDLE;
    if (!overlapped) return ERROR_INVALID_PARAMETER;
    note(overlapped);
    begin("MirrorVirtualDisk"); number("flags", flags); number("Version", given->Version);
    text("MirrorVirtualDiskPath", given->Version1.MirrorVirtualDiskPath); end();
    return answer ? answer : pend(disk, "MirrorVirtualDisk", overlapped);
}

EXPORT BreakMirrorVirtualDisk(HANDLE handle) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "BreakMirrorVirtualDisk");
    begin("BreakMirrorVirtualDisk"); end();
    if (!disk) return ERROR_INVALID_HANDLE;
    if (answer) return answer;
    complete(disk);
    return ERROR_SUCCESS;
}

/* Every 64 KiB that lies at a multiple of 1 MiB has changed. A call tells three such ranges at most. */
EXPORT QueryChangesVirtualDisk(HANDLE handle, PCWSTR since, ULONGLONG offset, ULONGLONG bytes, ULONG flags,
                               QUERY_CHANGES_VIRTUAL_DISK_RANGE *ranges, ULONG *count, ULONGLONG *processed) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "QueryChangesVirtualDisk");
    ULONG found = 0;
    ULONGLONG at;
    if (!disk) return ERROR_INVALID_HANDLE;
    begin("QueryChangesVirtualDisk"); text("since", since); number("offset", offset); number("length", bytes);
    number("flags", flags); number("count", *count); end();
    if (answer == ERROR_HANDLE_EOF) { *count = 0; *processed = 0; return ERROR_SUCCESS; } /* it gets no further */
    if (answer) return answer;
    for (at = (offset + 0xFFFFF) & ~0xFFFFFull; at < offset + bytes && found < 3 && found < *count; at += 0x100000) {
        ranges[found].ByteOffset = at;
        ranges[found].ByteLength = offset + bytes - at < 0x10000 ? offset + bytes - at : 0x10000;
        found++;
    }
    *processed = (at < offset + bytes ? at : offset + bytes) - offset;
    *count = found;
    return ERROR_SUCCESS;
}

EXPORT AttachVirtualDisk(HANDLE handle, void *security, ULONG flags, ULONG provider_flags,
                         ATTACH_VIRTUAL_DISK_PARAMETERS *given, OVERLAPPED *overlapped) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "AttachVirtualDisk");
    if (!disk) return ERROR_INVALID_HANDLE;
    note(overlapped);
    begin("AttachVirtualDisk"); number("flags", flags); number("Version", given->Version);
    if (given->Version == ATTACH_VIRTUAL_DISK_VERSION_2) {
        number("RestrictedOffset", given->Version2.RestrictedOffset);
        number("RestrictedLength", given->Version2.RestrictedLength);
    }
    end();
    if (answer) return answer;
    if (security || provider_flags) return ERROR_INVALID_PARAMETER;
    disk->attached = TRUE;
    return pend(disk, "AttachVirtualDisk", overlapped);
}

EXPORT DetachVirtualDisk(HANDLE handle, ULONG flags, ULONG provider_flags) {
    Disk *disk = disk_of(handle);
    begin("DetachVirtualDisk"); number("flags", flags); number("provider flags", provider_flags); end();
    if (!disk) return ERROR_INVALID_HANDLE;
    if (!disk->attached) return ERROR_NOT_FOUND;
    disk->attached = FALSE;
    return ERROR_SUCCESS;
}

EXPORT GetVirtualDiskPhysicalPath(HANDLE handle, ULONG *size, PWSTR path) {
    Disk *disk = disk_of(handle);
    DWORD answer = asked("ANSWER", "GetVirtualDiskPhysicalPath");
    ULONG needed = asked("SIZE", "GetVirtualDiskPhysicalPath");
    if (!disk) return ERROR_INVALID_HANDLE;
    begin("GetVirtualDiskPhysicalPath"); number("size", *size); end();
    if (answer) return answer;
    if (!disk->attached) return ERROR_NOT_READY;
    if (*size < needed || *size < 38) { *size = needed > 38 ? needed : 38; return ERROR_INSUFFICIENT_BUFFER; }
    lstrcpyW(path, L"\\\\.\\PhysicalDrive7");
    return ERROR_SUCCESS;
}
