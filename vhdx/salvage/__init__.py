"""Salvage: reads a damaged image sector by sector, as far as possible, and reports what is lost and why.

Opening an image fails if a structure violates a rule. Salvage uses the valid fields of damaged structures and notes
each such use. A range is lost if its content cannot be determined for certain: its block is beyond end of file,
overlaps another structure, or has an invalid entry. Lost data is never replaced by a guess or by the parent's data.
"""
