"""How the three models, and their protocols, look in every figure of the paper."""

from feature_alignment.plots import style

COLOURS = {
    "full": style.COLOURS["green"],
    "fixed": style.COLOURS["blue"],
    "adaptive": style.COLOURS["orange"],
    "ridge": style.COLOURS["purple"],
}
NAMES = {
    "full": "network",
    "fixed": "fixed features",
    "adaptive": "adaptive features",
    "ridge": "fixed features, exact ridge",
}
PROTOCOLS = {
    "published": "new images every epoch,\nselected on test",
    "corrected": "one subset,\nselected on held-out",
    "corrected-oracle": "one subset,\nselected on test",
}
