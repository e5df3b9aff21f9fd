"""One claim at several scales: its verdict at each, and which of them is the strongest."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from feature_alignment.audit.criterion import NOT_RUN, OPEN, UNFIT
from feature_alignment.audit.ledger import read_ledger
from feature_alignment.run.spec import SCALES

UNDECIDED = (OPEN, UNFIT)
REHEARSAL = "smoke"
"""The scale that reads stand-ins for data, whose verdicts do not count next to those of others."""

Row = Mapping


def published_ledgers(reference: Path) -> dict[str, list[dict]]:
    """Return the published ledgers by scale, the smallest first, without that of the rehearsal.

    Args:
        reference: The folder ``reference``, with ``<scale>/ledger.json``.
    """
    judged = [scale for scale in SCALES if scale != REHEARSAL]
    paths = {scale: reference / scale / "ledger.json" for scale in judged}
    return {scale: read_ledger(path) for scale, path in paths.items() if path.is_file()}


def across(ledgers: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Row]]:
    """Return the rows of every claim by scale, by its id.

    A row of another wording than that of the last ledger given that has the claim is left out: it
    is about another claim.
    """
    latest = {row["id"]: row for rows in ledgers.values() for row in rows}
    found: dict[str, dict[str, Row]] = {}
    for scale in [scale for scale in SCALES if scale in ledgers]:
        for row in ledgers[scale]:
            if all(row[key] == latest[row["id"]][key] for key in ("statement", "asks", "class")):
                found.setdefault(row["id"], {})[scale] = row
    return found


def strongest(rows: Mapping[str, Row]) -> str:
    """Return the scale whose verdict on a claim is the strongest.

    A verdict that fell is stronger than one that is open or unfit, and any of them than *not run*;
    of two such, that at the larger scale is, whatever it says.

    Args:
        rows: The claim's rows by scale.
    """

    def strength(scale: str) -> tuple[int, int]:
        verdict = rows[scale]["verdict"]
        fallen = 0 if verdict == NOT_RUN else 1 if verdict in UNDECIDED else 2
        return fallen, SCALES.index(scale)

    return max(rows, key=strength)


def strongest_rows(ledgers: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Return of every claim the row at the scale whose verdict is the strongest."""
    return [rows[strongest(rows)] for rows in across(ledgers).values()]
