"""The subcommands of ``vhdx-inspect``, one to a file: each has a ``command``."""
