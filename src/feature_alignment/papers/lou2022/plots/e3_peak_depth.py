"""Experiment E3: the most aligned layer against depth, and the laws for it."""

from feature_alignment.papers.lou2022.plots.peaks import COLUMNS, figure

__all__ = ["COLUMNS", "figure"]
