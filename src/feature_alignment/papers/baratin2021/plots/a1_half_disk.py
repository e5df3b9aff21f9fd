"""Appendix: figure 1 for the half disk."""

from feature_alignment.papers.baratin2021.plots.disks import ARRAYS, COLUMNS, figure

__all__ = ["ARRAYS", "COLUMNS", "figure"]
