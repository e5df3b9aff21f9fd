"""Control C1: experiment E3 with one learning rate for all depths."""

from feature_alignment.papers.lou2022.plots.peaks import COLUMNS, figure

__all__ = ["COLUMNS", "figure"]
