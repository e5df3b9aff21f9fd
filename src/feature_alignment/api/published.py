"""A user's run next to the published ones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from feature_alignment.api.extras import needs
from feature_alignment.provenance import SOURCE_ROOT
from feature_alignment.tables import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCE = SOURCE_ROOT.parent / "reference"


def against(
    table: pd.DataFrame,
    name: str,
    *,
    measures: Sequence[str] = (),
    scale: str = "laptop",
    reference: Path | str = REFERENCE,
) -> Figure:
    """Draw a run over the published curves of a figure.

    Args:
        table: :attr:`Probe.table`, or several one under the other.
        name: ``<paper>/<figure>``, such as those that ``feature-alignment list`` prints.
        measures: Which measures; those that both tables have where none is named.
        scale: Of the published table.
        reference: The folder of published tables, ``reference/`` of the repository.

    Returns:
        A figure: a row for each dataset of the published table, a panel for each measure.

    Raises:
        ValueError: If there is no such published table, or the tables have no measure or axis of
            time in common.
    """
    with needs("plots"):
        from feature_alignment.api.drawing import compared
    return compared(table, published(name, scale=scale, reference=reference), name, measures)


def published(
    name: str, *, scale: str = "laptop", reference: Path | str = REFERENCE
) -> pd.DataFrame:
    """Return the published table of a figure.

    Raises:
        ValueError: If there is none: says which there are, or where they come from.
    """
    folder = Path(reference) / scale / "tables"
    path = folder / f"{name}.csv"
    if not folder.is_dir():
        raise ValueError(
            f"no published tables in {folder}: they are part of the repository and not of the "
            "installed package; clone it, and name its folder with reference=…/reference"
        )
    if not path.is_file():
        known = sorted(f"{part.parent.name}/{part.stem}" for part in folder.glob("*/*.csv"))
        near = difflib.get_close_matches(name, known, n=4, cutoff=0)
        raise ValueError(f"no published table {name!r}; near it: {', '.join(near)}")
    return read_table(path)
