"""The rings over which eigenfunctions on the disk are averaged."""

RINGS = 10
"""Their number; they have equal widths, up to radius 1."""
