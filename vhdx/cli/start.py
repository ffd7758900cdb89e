"""The installed scripts. They load the rest under a guard: Ctrl-C ends them in one line however early it comes.

So what is imported here, and in the packages above, is no more than every interpreter has loaded already.
"""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_INTERRUPTED = 130
"""`vhdx.cli.exits.Exit.INTERRUPTED`, which may not be loaded yet."""


def img() -> "NoReturn":
    """``vhdx-img``."""
    _start("vhdx-img", "vhdx.cli.img")


def inspect() -> "NoReturn":
    """``vhdx-inspect``."""
    _start("vhdx-inspect", "vhdx.cli.inspect")


def _start(name: str, module: str) -> "NoReturn":
    # What is loaded stays, so looking through it for garbage again and again only costs time.
    gc.set_threshold(50_000, 20, 20)
    try:
        from importlib import import_module  # noqa: PLC0415

        import_module(module).main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = _INTERRUPTED
        # Written at once: what is half loaded may not be able to print.
        try:  # noqa: SIM105  contextlib may not be loaded
            os.write(2, f"{name}: stopped\n".encode())
        except OSError:  # nobody listens
            pass
    import signal  # noqa: PLC0415

    # It is over: what is left to do takes no time, and must not be interrupted with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
