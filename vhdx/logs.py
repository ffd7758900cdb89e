"""Lines for the log, at DEBUG, under the names of the modules that write them."""

import sys


def debug(name: str, message: str, *arguments: object) -> None:
    """Log *message*, with *arguments* put in only where somebody listens, to the logger *name*.

    Nothing where `logging` is not loaded: then nobody can have asked for it, and a command starts sooner without it.
    """
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger(name).debug(message, *arguments, stacklevel=2)
