"""Writes to one image on a share that is a millisecond away: sixteen at once, against one after the other."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.content import MIB
from benchmarks.links import link
from benchmarks.measuring import Case, Contender, WrongResult
from tests.support.smbd import Smbd, unavailable
from vhdx.chain.chain import Chain
from vhdx.image.base import CreateOptions, ImageFormat
from vhdx.storage.smb import Credentials, SmbPool
from vhdx.verbs.engine import NativeEngine

SIZE, PIECE, WRITES = 64 * MIB, 4096, 512
DEEP = 16
HALF_A_ROUND_TRIP = 0.0005
FAST = 10e9
KINDS = {
    "VHDX": CreateOptions(),
    "VHD": CreateOptions(format=ImageFormat.VHD),
    "raw": CreateOptions(format=ImageFormat.RAW),
}
DEEPLY, ONE_BY_ONE = f"{DEEP} at once", "one by one"


def missing() -> str | None:
    """Why there is no share here, or None."""
    return unavailable()


def cases(directory: Path, size: int) -> Iterator[Case]:  # noqa: ARG001  it is the number of writes that counts
    """Writes of 4 KiB over what is there, for each format."""
    with ExitStack() as stack:
        server, pool = stack.enter_context(Smbd()), stack.enter_context(SmbPool())
        server.add_share("depth", directory)
        port = stack.enter_context(link(server.host, server.port, FAST, delay=HALF_A_ROUND_TRIP))
        credentials = Credentials(server.user, server.password)
        files = pool.share(server.host, "depth", port=port, credentials=credentials)
        engine = NativeEngine()
        for kind, options in KINDS.items():
            engine.create(files, kind, SIZE, options)
            chain = stack.enter_context(engine.open_chain(files, kind, writable=1, format=options.format))
            chain.write(0, bytes([255]) * WRITES * PIECE)
            chain.flush()
            contenders = [
                Contender(DEEPLY, partial(_deeply, chain, 2), verify=_verified(chain, 2)),
                Contender(ONE_BY_ONE, partial(_one_by_one, chain, 1), verify=_verified(chain, 1)),
            ]
            yield Case(f"write to {kind}", "smb, 1 ms", contenders, {ONE_BY_ONE: 1 / 6}, WRITES)


def _write(chain: Chain, value: int, number: int) -> None:
    chain.write(number * PIECE, bytes([value, number % 251]) * (PIECE // 2))


def _one_by_one(chain: Chain, value: int) -> None:
    for number in range(WRITES):
        _write(chain, value, number)
    chain.flush()


def _deeply(chain: Chain, value: int) -> None:
    with ThreadPoolExecutor(DEEP) as threads:
        for done in threads.map(partial(_write, chain, value), range(WRITES)):
            assert done is None
    chain.flush()


def _verified(chain: Chain, value: int) -> Callable[[], None]:
    def verify() -> None:
        for number in range(WRITES):
            if chain.read(number * PIECE, PIECE) != bytes([value, number % 251]) * (PIECE // 2):
                raise WrongResult(f"write {number} is not there")

    return verify
