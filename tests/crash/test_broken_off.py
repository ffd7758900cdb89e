"""A commit that is broken off (Ctrl-C) and a disk that is used on: the next commit makes up for it, crash or not."""

import pytest

from tests.crash.test_vhd import Log, wrong_sectors
from tests.support.crash import crash_states
from tests.support.disks import MIB, counting_ids, pattern
from tests.support.memory import MemoryFileSystem
from tests.support.recording import RecordingFileSystem
from tests.support.wrappers import DATA_CHANGES, Fault, WatchedFileSystem
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.verbs.engine import NativeEngine

VHDX, VHD, _ = ImageFormat
PART = 4096


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize("over_parent", [False, True], ids=["alone", "over a parent"])
@pytest.mark.parametrize("format", [VHDX, VHD], ids=str)
def test_a_flush_is_broken_off_and_the_disk_used_on(format: ImageFormat, over_parent: bool, at: int) -> None:
    memory, engine = MemoryFileSystem(), NativeEngine(new_id=counting_ids(1))
    block = MIB if format is VHDX else 64 << 10
    engine.create(memory, "disk", 3 * block, CreateOptions(format=format, block_size=block))
    with engine.open_chain(memory, "disk", writable=1, format=format) as chain:
        chain.write(0, pattern(1, 2 * block))
    path = "disk"
    if over_parent:
        engine.create_child(memory, "child", "disk", parent_format=format)
        path = "child"
    recorder, log = RecordingFileSystem(memory), Log()
    fault = Fault(-1, KeyboardInterrupt(), kinds=DATA_CHANGES)
    chain = engine.open_chain(WatchedFileSystem(recorder, fault), path, writable=1, format=format)
    content = bytearray(chain.read(0, chain.size))

    def write(offset: int, data: bytes) -> None:
        chain.write(offset, data)
        content[offset : offset + len(data)] = data
        log.note(recorder, bytes(content), durable=False)

    log.note(recorder, bytes(content), durable=True)
    write(PART, pattern(2, PART))
    write(2 * block, pattern(3, PART))
    fault.at = fault.seen + at
    try:
        chain.flush()
    except KeyboardInterrupt:
        pass
    else:
        log.note(recorder, bytes(content), durable=True)
    fault.at = -1
    # More of the same blocks, of which the table in the file may tell by now.
    write(4 * PART, pattern(4, PART))
    write(2 * block + 4 * PART, pattern(5, PART))
    chain.flush()
    log.note(recorder, bytes(content), durable=True)
    chain.close()
    for state in crash_states(recorder, samples=20, exhaustive=0 if format is VHDX else 3):
        with engine.open_chain(state.files, path, format=format) as found:
            bad = wrong_sectors(found.read(0, found.size), log.allowed(state.event_index))
        assert not bad, f"{state.description}: sectors at {bad[:4]} are neither old nor new"
