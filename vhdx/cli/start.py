"""The installed scripts. They import the rest inside a guard, so that an early Ctrl-C prints one line.

This module and its parent packages therefore import only modules that every interpreter has already loaded.
"""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_INTERRUPTED = 130
"""`vhdx.cli.exits.Exit.INTERRUPTED`, which may not be imported yet."""


def img() -> "NoReturn":
    """``vhdx-img``."""
    _start("vhdx-img", "vhdx.cli.img")


def inspect() -> "NoReturn":
    """``vhdx-inspect``."""
    _start("vhdx-inspect", "vhdx.cli.inspect")


def _start(name: str, module: str) -> "NoReturn":
    # Imported modules stay alive, so frequent garbage collection only costs time.
    gc.set_threshold(50_000, 20, 20)
    try:
        from importlib import import_module  # noqa: PLC0415

        import_module(module).main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = _INTERRUPTED
        # Unbuffered: partially imported modules may not be able to print.
        try:  # noqa: SIM105  contextlib may not be loaded
            os.write(2, f"{name}: stopped\n".encode())
        except OSError:  # stderr is closed
            pass
    import signal  # noqa: PLC0415

    # The rest is short, and must not be interrupted with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
