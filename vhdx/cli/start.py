"""The installed scripts. They import the rest inside a guard, so that an early Ctrl-C prints one line.

This module and its parent packages therefore import only modules that every interpreter has already loaded.
"""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_COMPLETION = "_VHDX_INSPECT_COMPLETE"
"""Set by a shell that asks how the command line may go on."""
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
        if _written(_known(name, sys.argv[1:])):
            os._exit(0)  # nothing is open and nothing is left to be written
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


def _known(name: str, words: list[str]) -> str:
    """The answer to what is asked most often, if it takes no more than a glance; empty where the program has to run."""
    if words == ["--version"]:
        from vhdx.version import VERSION  # noqa: PLC0415

        return f"{name} {VERSION}\n"
    if words in (["--help"], ["-h"]):
        from vhdx.cli.front import front_page  # noqa: PLC0415

        return front_page(name)
    if name == "vhdx-inspect" and words[:1] == ["info"] and _COMPLETION not in os.environ:
        places = [word for word in words[1:] if word != "--json"]
        if len(places) == 1 and len(words) <= 3 and not places[0].startswith("-"):
            from vhdx.cli.looking.glance import info  # noqa: PLC0415

            return info(places[0], as_json="--json" in words)
    return ""


def _written(text: str) -> bool:
    """Whether all of *text* went to stdout. If not, nothing did, and who tries again can say why."""
    stream = sys.stdout
    if not text or stream is None or not (text.isascii() or stream.encoding.lower() == "utf-8"):
        return False
    data = text.encode()
    try:
        return os.write(stream.fileno(), data) == len(data)
    except (OSError, ValueError):
        return False
