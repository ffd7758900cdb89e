"""The two commands: ``vhdx-inspect``, which only looks, and ``vhdx-img``, which creates and changes.

Each subcommand is one file; it is imported when it is called, and imports the engine in its turn.
"""
