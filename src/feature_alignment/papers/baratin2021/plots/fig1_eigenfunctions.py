"""Figure 1: eigenfunctions of the tangent kernel of a network that learns a disk."""

from feature_alignment.papers.baratin2021.plots.disks import ARRAYS, COLUMNS, figure

__all__ = ["ARRAYS", "COLUMNS", "figure"]
