"""From a criterion's question to a verdict.

A claim about a trained network is *supported* where, by the level of the present look, every group
lies on the claimed side and beats its references: what the same question finds in the untrained
network, and in a control, which may be a null. A claim of no difference, that a mean lies between
two bounds, is then called *equivalent*. It is *contradicted* where some group lies on the other
side, *at threshold* where its interval lies in a band around the bound, else *open*, with the
number of seeds that would decide. Rows without a seed are exact, and inside or outside.
``docs/verdicts.md`` says why.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from feature_alignment.audit import inference
from feature_alignment.audit.criterion import (
    AT_THRESHOLD,
    CONTRADICTED,
    EQUIVALENT,
    OPEN,
    SUPPORTED,
    UNFIT,
    Gap,
    Question,
    Range,
    Scale,
)
from feature_alignment.audit.judging import back
from feature_alignment.audit.looks import ERROR, LOOKS, level, look_of

BAND = 0.1
"""Half the width of the band around a bound, as a share of the distance from no effect to it."""


@dataclass(frozen=True)
class Outcome:
    """A verdict and what it rests on, on the scale of the values themselves.

    Attributes:
        verdict: One of :data:`~feature_alignment.audit.criterion.VERDICTS`.
        reason: Why it is no other, where there is more to say than the interval does.
        estimate: The mean over seeds of the group nearest to the other side.
        low: The lower end of its interval at the level of the look.
        high: The upper end.
        least: The lower end of the claimed side.
        most: The upper end.
        scale: The scale on which values were averaged.
        p: The p-value of the nearer verdict, for all looks; none of exact values.
        group: Which group it is, such as ``layer conv1``, where there are several.
        values: One per seed in that group.
        seeds: The seeds that the verdict rests on.
        needed: The number of seeds at which an open verdict would fall with probability 80 %.
        beaten: By reference, whether it is beaten, and whether the claim holds there.
    """

    verdict: str
    reason: str = ""
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    least: float = -math.inf
    most: float = math.inf
    scale: Scale = "plain"
    p: float | None = None
    group: str = ""
    values: list[float] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    needed: int | None = None
    beaten: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Group:
    """One group at its look: its seeds' values, interval, and p-values spent over looks."""

    key: tuple
    seeds: list[int]
    held: int
    values: np.ndarray
    outside: float
    inside: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def alike(self) -> bool:
        return bool(inference.alike(self.values[:, None])[0])


def decide(
    asked: Question | Gap, references: Mapping[str, Question | Gap] | None = None
) -> Outcome:
    """Return the verdict on a question.

    Args:
        asked: What the claim asks of trained networks.
        references: The same question of the untrained network, and in a control, by name.

    Raises:
        ValueError: If there is no value, or one is not a number, or a reference does not pair up.
    """
    if isinstance(asked, Gap):
        return Outcome(OPEN if asked.censored else UNFIT, reason=asked.why)
    levels = [name for name in asked.values.index.names if name not in ("seed", "replicate")]
    values = _by_seed(asked.values, levels)
    ends = {"scale": asked.scale, "least": back(asked.claimed.least, asked.scale)}
    ends["most"] = back(asked.claimed.most, asked.scale)
    if values.index.get_level_values("seed").isna().all():
        return _exact(asked, values, levels, ends)
    groups = [_judged(key, rows, asked) for key, rows in _split(values, levels)]
    if any(group is None for group in groups):
        few = min(
            rows.index.get_level_values("seed").nunique() for _, rows in _split(values, levels)
        )
        mean = min((float(rows.mean()) for _, rows in _split(values, levels)), key=_room(asked))
        return Outcome(
            OPEN,
            reason=f"the first look is at {LOOKS[0]} seeds",
            estimate=back(mean, asked.scale),
            seeds=sorted({int(seed) for seed in values.index.get_level_values("seed")}),
            needed=LOOKS[0] if few < LOOKS[0] else None,
            **ends,
        )
    must = inference.needed(len(groups), asked.share)
    outside = np.array([group.outside for group in groups])
    inside = np.array([group.inside for group in groups])
    supports = inference.at_least_so_many(outside, must)
    contradicts = inference.at_least_so_many(inside, len(groups) - must + 1)
    effects = [(group, asked.claimed) for group in groups]
    beaten, reasons = {}, []
    for name, reference in (references or {}).items():
        found = _against(reference, asked, values, levels, name)
        beaten[name] = {"holds": found.holds, "beaten": found.p <= ERROR}
        supports = max(supports, 1.0 if found.holds else found.p)
        effects += [(group, Range(0.0, strict=True)) for group in found.groups]
        if found.holds:
            reasons.append(f"it holds {WHERE[name]} too")
        elif found.p > ERROR:
            reasons.append(f"not told from what is found {WHERE[name]}")
    order = sorted(range(len(groups)), key=lambda i: (outside[i], -_room(asked)(groups[i].mean)))
    worst = groups[order[must - 1]]
    if contradicts <= ERROR:
        order = sorted(range(len(groups)), key=lambda i: (inside[i], _room(asked)(groups[i].mean)))
        worst = groups[order[len(groups) - must]]
    needed, hopeless = None, any(found["holds"] for found in beaten.values())
    if supports <= ERROR:
        exact = asked.points is not None
        verdict = EQUIVALENT if asked.claimed.is_two_sided and not exact else SUPPORTED
        reasons = []
    elif contradicts <= ERROR:
        verdict, reasons = CONTRADICTED, []
    elif asked.claimed.shares_its_edge(worst.low, worst.high, _band(asked)):
        verdict = AT_THRESHOLD
    else:
        verdict = OPEN
        if not hopeless:
            needed = _needed(asked, effects, len(groups))
            many = f"more than {LOOKS[-1]}" if needed is None else needed
            reasons.append(f"{many} seeds would decide")
    waiting = max(groups, key=lambda group: group.held - len(group.seeds))
    if waiting.held > len(waiting.seeds):
        after = LOOKS[look_of(len(waiting.seeds))]
        reasons.append(f"{len(waiting.seeds)} of {waiting.held} seeds; the next look is at {after}")
    return Outcome(
        verdict,
        reason="; ".join(reasons),
        estimate=back(worst.mean, asked.scale),
        low=back(worst.low, asked.scale) if math.isfinite(worst.low) else math.nan,
        high=back(worst.high, asked.scale) if math.isfinite(worst.high) else math.nan,
        p=min(supports, contradicts),
        group=_group_name(levels, worst.key, [group.key for group in groups]),
        values=[back(float(value), asked.scale) for value in worst.values],
        seeds=worst.seeds,
        needed=needed,
        beaten=beaten,
        **ends,
    )


def _needed(asked: Question, effects: list[tuple[_Group, Range]], own: int) -> int | None:
    """Return the number of seeds at which an open verdict would fall, of groups and references."""
    if not all(np.isfinite(group.values).all() for group, _ in effects):
        return None
    now = min(len(group.seeds) for group, _ in effects)
    counts = [
        inference.exact_seeds_needed(asked.points, group.mean, now)
        if asked.points is not None and place < own
        else inference.exact_seeds_needed(2, 1.0, now)
        for place, (group, _) in enumerate(effects)
        if group.alike or (asked.points is not None and place < own)
    ]
    rest = [
        (group, claimed)
        for place, (group, claimed) in enumerate(effects)
        if not (group.alike or (asked.points is not None and place < own))
    ]
    if rest:
        counts.append(
            inference.seeds_needed(
                np.array([group.mean for group, _ in rest]),
                np.array([group.values.std(ddof=1) for group, _ in rest]),
                [claimed for _, claimed in rest],
                share=asked.share if len(rest) == own else 1.0,
                now=now,
            )
        )
    return None if None in counts else max(counts)


WHERE = {"untrained": "in the untrained network", "control": "in the control"}
"""References, and how a reason names them."""


def census(asked: Question | Gap) -> Outcome:
    """Return the verdict on a check or an identity: whether every seed passes."""
    if isinstance(asked, Gap):
        return Outcome(UNFIT, reason=asked.why)
    levels = [name for name in asked.values.index.names if name != "seed"]
    values = asked.values
    if values.empty or values.isna().any():
        raise ValueError("no values are left to judge; check the claim's 'where' and measures")
    passes = all(asked.claimed.holds(value, value) for value in values)
    worst = values.map(_room(asked)).argmin()
    key = values.index[worst]
    seeds = sorted({int(seed) for seed in values.index.get_level_values("seed").dropna()})
    name = dict(zip(values.index.names, key if isinstance(key, tuple) else (key,), strict=True))
    told = [
        f"{level} {_plain(name[level])}" for level in levels if len(set(_at(values, level))) > 1
    ]
    if not pd.isna(name["seed"]):
        told.append(f"seed {name['seed']:g}")
    return Outcome(
        SUPPORTED if passes else CONTRADICTED,
        estimate=back(float(values.iloc[worst]), asked.scale),
        least=back(asked.claimed.least, asked.scale),
        most=back(asked.claimed.most, asked.scale),
        scale=asked.scale,
        group=", ".join(told),
        values=[] if seeds else [back(float(values.iloc[worst]), asked.scale)],
        seeds=seeds,
    )


def _at(values: pd.Series, level: str) -> pd.Index:
    return values.index.get_level_values(level)


def _room(asked: Question):
    return lambda value: min(value - asked.claimed.least, asked.claimed.most - value)


def _band(asked: Question) -> float:
    """Return half the width of the band around a bound, on the scale of the question."""
    if asked.band is not None:
        return asked.band
    claimed = asked.claimed
    if claimed.is_two_sided:
        return BAND * (claimed.most - claimed.least) / 2
    edge = claimed.least if math.isfinite(claimed.least) else claimed.most
    return BAND * abs(edge)


def _by_seed(values: pd.Series, levels: list[str]) -> pd.Series:
    """Return one value per seed and group, the mean over its replicates.

    Raises:
        ValueError: If there is no value, or one is missing.
    """
    if values.empty:
        raise ValueError("no rows are left to judge; check the claim's 'where' and measures")
    if values.isna().any():
        raise ValueError(f"values are not finite or do not pair up: {values.to_dict()}")
    if "replicate" in values.index.names:
        values = values.groupby(level=["seed", *levels], dropna=False).mean()
    return values


def _split(values: pd.Series, levels: list[str]) -> list[tuple[tuple, pd.Series]]:
    if not levels:
        return [((), values)]
    found = values.groupby(level=levels, dropna=False)
    return [(key if isinstance(key, tuple) else (key,), rows) for key, rows in found]


def _exact(asked: Question, values: pd.Series, levels: list[str], ends: Mapping) -> Outcome:
    order = values.map(_room(asked)).to_numpy().argsort(kind="stable")
    must = inference.needed(len(values), asked.share)
    worst = order[len(values) - must]
    passing = sum(asked.claimed.holds(value, value) for value in values)
    value = back(float(values.iloc[worst]), asked.scale)
    keys = [key[1:] if isinstance(key, tuple) else () for key in values.index]
    return Outcome(
        SUPPORTED if passing >= must else CONTRADICTED,
        estimate=value,
        low=value,
        high=value,
        group=_group_name(levels, keys[worst], keys),
        values=[value],
        **ends,
    )


def _judged(key: tuple, rows: pd.Series, asked: Question) -> _Group | None:
    """Return a group judged at its look; none where there are too few seeds for the first."""
    rows = rows.droplevel([name for name in rows.index.names if name != "seed"]).sort_index()
    look = look_of(len(rows))
    if look == 0:
        return None
    held, rows = len(rows), rows.iloc[: LOOKS[look - 1]]
    values = rows.to_numpy(dtype=float)[:, None]
    outside, inside, low, high = tested(values, asked, look)
    return _Group(
        key=key,
        seeds=[int(seed) for seed in rows.index],
        held=held,
        values=values[:, 0],
        outside=float(outside[0]),
        inside=float(inside[0]),
        low=float(low[0]),
        high=float(high[0]),
    )


def p_values(values: np.ndarray, asked: Question) -> tuple[np.ndarray, np.ndarray]:
    """Return one-sided p-values, per group, of lying outside the claimed side, and of lying inside.

    Args:
        values: Shape (n, G).
        asked: The question.
    """
    if asked.points is not None:
        positive, negative = inference.rank_tails(values, asked.points)
        rises = math.isfinite(asked.claimed.least)
        return (positive, negative) if rises else (negative, positive)
    if not np.isfinite(values).all():  # what has no value lies outside every range
        inside = np.vectorize(lambda value: asked.claimed.holds(value, value))(values)
        return inference.rank_tails(np.where(inside, 1.0, -1.0), 2)
    return inference.sides(values, asked.claimed)


def tested(values: np.ndarray, asked: Question, look: int) -> tuple[np.ndarray, ...]:
    """Return p-values of lying outside and inside, spent over looks, and the ends of intervals.

    Args:
        values: Shape (n, G).
        asked: The question.
        look: The look, 1, 2, ….
    """
    outside, inside = (np.minimum(1, 2 * ERROR / level(look) * p) for p in p_values(values, asked))
    if asked.points is not None or not np.isfinite(values).all():
        return outside, inside, np.full(outside.shape, -math.inf), np.full(inside.shape, math.inf)
    return outside, inside, *inference.intervals(values, level(look))


@dataclass(frozen=True)
class _Reference:
    holds: bool
    p: float
    groups: list[_Group]


def _against(
    reference: Question | Gap, asked: Question, values: pd.Series, levels: list[str], name: str
) -> _Reference:
    """Judge whether the claim beats what the same question finds elsewhere, in every group.

    Of a claim that something lies above a bound it is how far it lies above the reference; of one
    that it lies near a value, how much nearer it is than the reference.

    Raises:
        ValueError: If values and reference do not pair up.
    """
    if isinstance(reference, Gap):
        raise ValueError(f"{name}: {reference.why}")
    known = [level for level in levels if level in reference.values.index.names]
    other = _by_seed(reference.values, known)
    paired = values.index.droplevel([level for level in levels if level not in known])
    if known:
        other = other.reorder_levels(paired.names)
    else:  # one level alone may still be that of a multi-index
        other.index, paired = (index.get_level_values("seed") for index in (other.index, paired))
    if not paired.isin(other.index).all():
        raise ValueError(f"{name}: expected the seeds and groups of the claim, got others")
    other = pd.Series(other.reindex(paired).to_numpy(), index=values.index)
    claimed = asked.claimed
    if claimed.is_two_sided:
        middle = (claimed.least + claimed.most) / 2
        ahead = (other - middle).abs() - (values - middle).abs()
    else:
        ahead = values - other if math.isfinite(claimed.least) else other - values
    beats = Question(ahead, Range(0.0, strict=True))
    groups = [_judged(key, rows, beats) for key, rows in _split(ahead, levels)]
    holding = [_judged(key, rows, asked) for key, rows in _split(other, levels)]
    must = inference.needed(len(groups), asked.share)
    p = inference.at_least_so_many(np.array([group.outside for group in groups]), must)
    held = inference.at_least_so_many(np.array([group.outside for group in holding]), must)
    return _Reference(held <= ERROR, p, groups)


def _plain(part: Hashable) -> str:
    return f"{part:g}" if isinstance(part, float) else str(part)


def _group_name(levels: list[str], key: tuple, among: list[tuple]) -> str:
    """Return such as ``dataset mnist, depth 10``, of the levels in which groups differ."""
    parts = {
        level: _plain(part)
        for level, part, every in zip(levels, key, zip(*among, strict=True), strict=True)
        if len(set(every)) > 1 and not pd.isna(part)
    }
    return ", ".join(f"{level} {part}" for level, part in parts.items())
