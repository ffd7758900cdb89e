"""A closed image is not written any more, whoever waits for its turn."""

import threading

import pytest

from tests.support.disks import MIB, counting_ids
from tests.support.memory import MemoryFileSystem
from vhdx.errors import Error
from vhdx.extents import Range
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.verbs.engine import NativeEngine

SHAPES = {
    "vhdx": CreateOptions(block_size=MIB),
    "vhd": CreateOptions(format=ImageFormat.VHD),
    "vhd-fixed": CreateOptions(format=ImageFormat.VHD, fixed=True),
    "raw": CreateOptions(format=ImageFormat.RAW),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_writer_that_waited_is_refused(name: str) -> None:
    files, engine, shape = MemoryFileSystem(), NativeEngine(counting_ids()), SHAPES[name]
    engine.create(files, "disk", 4 * MIB, shape)
    chain = engine.open_chain(files, "disk", writable=1, format=shape.format)
    outcome: list[BaseException] = []

    def write() -> None:
        try:
            chain.write(MIB, b"late")
        except BaseException as error:  # noqa: BLE001  told by the thread that started this one
            outcome.append(error)

    late = threading.Thread(target=write)
    with chain.leaf.allocate([Range(0, 512)]) as (place,):
        late.start()
        assert place.file_offset is not None
        chain.leaf.storage.write([(place.file_offset, b"x" * 512)])
        closing = threading.Thread(target=chain.close)
        closing.start()
    closing.join(20)
    late.join(20)
    assert not closing.is_alive()
    assert not late.is_alive()
    with engine.open_chain(files, "disk", format=shape.format) as again:
        assert again.read(0, 512) == b"x" * 512
        assert again.read(MIB, 4) in (b"late", bytes(4))
        assert (again.read(MIB, 4) == b"late") != bool(outcome)
    with pytest.raises(Error, match="closed; open it again"):
        chain.leaf.allocate([Range(0, 512)]).__enter__()
