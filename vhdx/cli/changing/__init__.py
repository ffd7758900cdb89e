"""The subcommands of ``vhdx-img``, one to a file: each has a ``command``."""
