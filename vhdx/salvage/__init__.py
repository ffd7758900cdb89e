"""Salvage: what can still be read of a damaged image, sector by sector, and what is lost, with the reason.

Opening an image refuses it when a structure breaks a rule. Here a damaged structure is used as far as its fields are
sound, and each such use is noted. A range counts as lost when the file does not say for certain what it holds: its
block is outside the file, shares its place with something else, or its entry breaks a rule. What is lost is never
replaced by a guess, nor by what a parent holds.
"""
