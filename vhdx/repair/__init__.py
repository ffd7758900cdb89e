"""Repairs that need no guessing, and their undo.

The fixes are found one after another, each on the file as those before it leave it: first on a sketch, where nothing
reaches the file, and only when a check finds no error in the outcome on the file itself. An undo file holds what was
there before each change. What two structures say differently, what lies on something else, what is missing: that is
not for a program to decide, and the file is refused as it is.
"""
