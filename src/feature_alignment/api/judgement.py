"""Verdicts on a user's own tables, by the rules of the ledger."""

from collections.abc import Iterable, Mapping

import pandas as pd

from feature_alignment.audit.condition import select
from feature_alignment.audit.criteria import CRITERIA
from feature_alignment.audit.criterion import Gap, Question
from feature_alignment.audit.verdicts import Outcome, decide


def judge(
    tables: pd.DataFrame | Iterable[pd.DataFrame],
    criterion: str,
    *,
    where: str | None = None,
    untrained: Mapping | None = None,
    control: Mapping | None = None,
    **options: object,
) -> Outcome:
    """Judge a claim about runs with several seeds, as the ledger judges claims.

    Args:
        tables: Tidy tables, such as :attr:`Probe.table`, one for each seed or all in one.
        criterion: A criterion by name, such as ``increases``; see ``docs/verdicts.md``.
        where: A condition on the rows, such as ``"layer == 'fc' and epoch > 0"``.
        untrained: What the same question finds in the untrained network, which the claim has to
            beat: options and ``where`` that differ. ``None`` where the claim compares a network
            with itself before training.
        control: The same for a control.
        **options: Of the criterion, such as ``x="epoch"``, ``y="alignment"``, ``over=["layer"]``.

    Returns:
        The verdict with its estimate, interval, and the number of seeds that would decide. There
        is none before three seeds.

    Raises:
        ValueError: If there is no such criterion, an option is missing or unknown, or the rows do
            not fit.
    """
    table = tables if isinstance(tables, pd.DataFrame) else pd.concat(tables, ignore_index=True)
    if criterion not in CRITERIA:
        raise ValueError(f"no criterion {criterion!r}; there are: {', '.join(CRITERIA)}")
    references = {
        name: _asked(table, criterion, where, {**options, **changes})
        for name, changes in (("untrained", untrained), ("control", control))
        if changes is not None
    }
    return decide(_asked(table, criterion, where, options), references)


def _asked(
    table: pd.DataFrame, criterion: str, where: str | None, options: Mapping
) -> Question | Gap:
    options = dict(options)
    where = options.pop("where", where)
    chosen = CRITERIA[criterion]
    known, needed = chosen.schema["properties"], chosen.schema["required"]
    wrong = [name for name in options if name not in known]
    missing = [name for name in needed if name not in options]
    if wrong or missing:
        raise ValueError(
            f"{criterion} has no option {wrong[0]!r}"
            if wrong
            else f"{criterion} needs {missing[0]!r}"
        )
    return chosen(table if where is None else select(table, where), **options)
