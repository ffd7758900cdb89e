"""VHDX images."""
