"""Repairs that need no guessing, with undo.

Fixes are found one at a time, each on the result of the previous ones: first on a sketch in memory, and on the file
itself only if a check finds no error in the result. An undo file saves the previous bytes before each change.
Contradictory, overlapping or missing structures cannot be repaired without guessing: such a file is refused unchanged.
"""
