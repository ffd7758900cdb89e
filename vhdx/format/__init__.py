"""Structures of MS-VHDX and VHD 1.0: parse and build. No I/O, no clock, no random numbers."""
