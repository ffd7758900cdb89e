"""Implementations of the driver's entry points, by topic; these modules may import Cinder."""
