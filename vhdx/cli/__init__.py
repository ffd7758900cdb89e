"""The two commands: ``vhdx-inspect`` is read-only, ``vhdx-img`` creates and modifies images.

Each subcommand is a module that is imported on demand, and imports the engine in turn.
"""
