"""Set the measured peak of alignment against the equilibrium layer and against simpler laws."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch

from feature_alignment.measures import smooth_information as smooth
from feature_alignment.measures.hierarchy import UNTRAINED, profile
from feature_alignment.measures.information import (
    KAPPA,
    backward_correlations,
    equilibrium_layer,
    forward_distances,
    leading_order_equilibrium,
    mean_field_equilibrium,
)
from feature_alignment.run.collecting import Table, layer_places, with_column

INPUT_CORRELATIONS = (0.1, 0.3, 0.5)
DEPTHS = (10, 20, 30, 40, 50, 60, 80, 100, 200, 500, 1000, 2000, 5000, 10000)
EXAMPLE_CORRELATION = 0.3
TOLERANCE_SHARE, TOLERANCE_LAYERS = 0.2, 2.0
CONSTANTS = {"third": 1 / 3, "threefold": 3.0}
"""Constants a of (1 - c) = a c̃ that would set the equilibrium elsewhere."""
FITTED_CONSTANTS = np.geomspace(0.01, 100, 401)


def against_theory(table: Table) -> Table:
    """Return how peaks over depth compare with laws that say where they should be.

    Args:
        table: Final rows of networks of several depths, with the columns ``dataset`` and
            ``depth``, as :mod:`feature_alignment.papers.lou2022.tables` makes them.

    Returns:
        For each dataset, split, seed and replicate of it, with e = the equilibrium layer of the
        infinitely wide network at each depth L, and p = the peak layer there:
        ``distance_mean_field``, the root mean square over depths of p − e, in layers; the same for
        the equilibrium of the network itself as initialised (``distance_finite_width``), for
        κ^{1/5} L^{3/5} (``distance_leading_order``), for L/2 (``distance_half``), and for the
        constant that fits the peaks best
        (``distance_constant``); ``scaled_distance``, the mean over depths of
        |p − e| / max(0.2 e, 2); ``exponent``, the slope of log p against log L, and
        ``exponent_mean_field``, that of log e; and ``crossing_constant``, the a from 0.01 to 100
        for which the layers where 1 − c = a c̃ are nearest to the peaks. The same of the peaks of
        untrained networks, ``initial_peak_layer``, under names that begin with ``initial_``.

        For each dataset, split and depth, without a seed: ``mean_curve_peak``,
        ``mean_curve_near_low`` and ``mean_curve_near_high`` of the alignments averaged over seeds
        and then smoothed. For each dataset, at a range of depths: ``mean_field_curve``,
        ``mean_field_curve_third`` and ``mean_field_curve_threefold`` with these constants a,
        ``leading_order_curve`` and ``half_curve``, the laws themselves.

    References:
        lou2022, equilibrium layers of fully connected ReLU networks.
    """
    rows: list[dict] = []
    for dataset, own in table.groupby("dataset", sort=False):
        common = {"paper": own["paper"].iloc[0], "dataset": dataset}
        units = [name for name in ("seed", "replicate") if name in own]
        for unit, of_unit in own.dropna(subset=units).groupby(units, sort=False):
            for start in ("", UNTRAINED):
                for split, peaks in _of(of_unit, f"{start}peak_layer").groupby("split", sort=False):
                    where = {**common, "split": split, **dict(zip(units, unit, strict=True))}
                    rows += [
                        {**where, "measure": f"{start}{measure}", "value": value}
                        for measure, value in _laws(peaks, of_unit).items()
                    ]
        rows += [{**common, **row} for row in _mean_curves(own)]
        correlation = _of(own, "input_correlation")["value"].mean()
        for depth in np.unique(np.geomspace(5, 1.5 * own["depth"].max(), 40).round().astype(int)):
            curves = {
                "mean_field_curve": mean_field_equilibrium(correlation, int(depth)),
                "leading_order_curve": leading_order_equilibrium(int(depth)),
                "half_curve": depth / 2,
            }
            for name, constant in CONSTANTS.items():
                law = mean_field_equilibrium(correlation, int(depth), constant)
                curves[f"mean_field_curve_{name}"] = law
            place = {**common, "depth": depth}
            rows += [{**place, "measure": m, "value": v} for m, v in curves.items()]
    return pd.DataFrame(rows).reindex(columns=table.columns)


def against_smooth_theory(table: Table, activation: str, bias_variance: float) -> Table:
    """Return the laws of the equilibrium layer for a smooth activation on the edge of chaos.

    Args:
        table: Final rows of networks of several depths.
        activation: Its name in :mod:`feature_alignment.measures.smooth_information`.
        bias_variance: σ_b².

    Returns:
        At a range of depths L, for the mean correlation of the table's inputs:
        ``mean_field_curve``, ``leading_order_curve``, β^{1/3} L^{2/3}, and ``relu_curve``, the
        equilibrium layer of ReLU networks for the same inputs. And, for c^1 = 0.3 whatever the
        inputs: ``equilibrium_exponent``, the mean slope of the equilibrium layer from L to 10 L of
        the logarithms, and ``distance_over_limit``, (1 − c^L) L / β.
    """
    edge = smooth.edge_of_chaos(activation, bias_variance)
    common = {name: table[name].iloc[0] for name in ("paper", "dataset")}
    correlation = _of(table, "input_correlation")["value"].mean()
    inputs = (correlation * edge.variance - bias_variance) / (edge.variance - bias_variance)
    rows: list[dict] = []

    def add(depth: int, measure: str, value: float) -> None:
        rows.append({**common, "depth": depth, "measure": measure, "value": value})

    for depth in np.unique(np.geomspace(5, 1.5 * table["depth"].max(), 40).round().astype(int)):
        law = smooth.mean_field_equilibrium(correlation, int(depth), edge)
        add(depth, "mean_field_curve", law)
        add(depth, "leading_order_curve", smooth.leading_order_equilibrium(depth, edge))
        add(depth, "relu_curve", mean_field_equilibrium(inputs, int(depth)))
    distances = smooth.forward_distances(EXAMPLE_CORRELATION, max(DEPTHS), edge)
    equilibria = {
        depth: equilibrium_layer(
            distances[:depth], smooth.backward_correlations(distances[:depth], edge)
        )
        for depth in DEPTHS
    }
    for depth, equilibrium in equilibria.items():
        add(depth, "distance_over_limit", distances[depth - 1].item() * depth / edge.beta)
        if 10 * depth in equilibria:
            slope = math.log10(equilibria[10 * depth] / equilibrium)
            add(depth, "equilibrium_exponent", slope)
    return pd.DataFrame(rows).reindex(columns=table.columns)


def _of(table: Table, measure: str) -> Table:
    return table[table["measure"] == measure]


def _laws(peaks: Table, of_seed: Table) -> Mapping[str, float]:
    """Compare the peaks of one seed, one per depth, with each law."""
    by_depth = peaks.set_index("depth")["value"].sort_index()
    depths, found = by_depth.index.to_numpy(dtype=float), by_depth.to_numpy()

    def predicted(measure: str) -> np.ndarray:
        values = _of(of_seed, measure).set_index("depth")["value"]
        return values.reindex(by_depth.index).to_numpy()

    exact = predicted("equilibrium_layer_mean_field")
    laws = {
        "mean_field": exact,
        "finite_width": predicted("equilibrium_layer"),
        "leading_order": leading_order_equilibrium(depths),
        "half": depths / 2,
        "constant": np.full_like(found, found.mean()),
    }
    distances = {
        f"distance_{law}": float(np.sqrt(np.mean((found - values) ** 2)))
        for law, values in laws.items()
    }
    allowed = np.maximum(TOLERANCE_SHARE * exact, TOLERANCE_LAYERS)
    scaled = {
        "scaled_distance": float(np.mean(np.abs(found - exact) / allowed)),
        "crossing_constant": _crossing_constant(found, depths, predicted("input_correlation")),
    }
    if len(depths) < 2:
        return distances | scaled
    slopes = {
        "exponent": float(np.polyfit(np.log(depths), np.log(found), 1)[0]),
        "exponent_mean_field": float(np.polyfit(np.log(depths), np.log(exact), 1)[0]),
    }
    return distances | scaled | slopes


def _crossing_constant(found: np.ndarray, depths: np.ndarray, correlations: np.ndarray) -> float:
    """Return the a for which layers where 1 − c = a c̃ are nearest to the peaks that were found."""
    missed = np.zeros(len(FITTED_CONSTANTS))
    for peak, depth, correlation in zip(found, depths, correlations, strict=True):
        distances = forward_distances(correlation, int(depth))
        kept = backward_correlations(distances)
        layers = [equilibrium_layer(distances, constant * kept) for constant in FITTED_CONSTANTS]
        missed += (peak - np.array(layers)) ** 2
    return float(FITTED_CONSTANTS[np.argmin(missed)])


def _mean_curves(table: Table) -> Iterator[dict]:
    """Yield the peak of the curve averaged over seeds, and the layers near it."""
    curves = table[(table["measure"] == "alignment") & table["layer_index"].notna()]
    for (depth, split), rows in curves.groupby(["depth", "split"], sort=False):
        mean = rows.groupby("layer_index")["value"].mean().sort_index()
        shape = profile(mean)
        place = mean.index.tolist()
        values = {
            "mean_curve_peak": place[shape.peak - 1],
            "mean_curve_near_low": place[shape.near[0] - 1],
            "mean_curve_near_high": place[shape.near[-1] - 1],
        }
        for measure, value in values.items():
            yield {"depth": depth, "split": split, "measure": measure, "value": value}


def information(table: Table) -> Table:
    """Return measured and predicted information by layer, and the laws of the equilibrium layer.

    Args:
        table: What :func:`feature_alignment.papers.lou2022.information.initial_information`
            measured, and final alignments, with the columns ``depth`` and ``width``.

    Returns:
        The rows with ``layer_index`` and ``input_correlation`` (empty) as further columns;
        ``forward_ratio`` and ``backward_ratio``, measured over predicted, by layer;
        and, from the recursion alone, for several c^1 and depths L: ``equilibrium_curve``,
        ``leading_order_curve``, ``equilibrium_over_leading_order``, and ``distance_over_limit``,
        (1 − c^L) L² / κ; ``equilibrium_exponent``, the mean slope from L to 10 L of the logarithms.
    """
    table = with_column(table, "layer_index", layer_places(table))
    table = with_column(table, "input_correlation", pd.NA)
    parts = [table]
    keys = ["run", "seed", "layer"]
    for name, measure in (("forward", "forward_distance"), ("backward", "backward_correlation")):
        measured = _of(table, measure)
        expected = _of(table, f"{measure}_mean_field").set_index(keys)["value"]
        matching = expected.reindex(pd.MultiIndex.from_frame(measured[keys])).to_numpy()
        ratio = measured["value"].to_numpy() / matching
        parts.append(measured.assign(measure=f"{name}_ratio", value=ratio))
    rows = []
    curves = forward_distances(torch.tensor(INPUT_CORRELATIONS), max(DEPTHS))
    for correlation, distances in zip(INPUT_CORRELATIONS, curves.T, strict=True):
        equilibria = {
            depth: equilibrium_layer(distances[:depth], backward_correlations(distances[:depth]))
            for depth in DEPTHS
        }
        for depth, equilibrium in equilibria.items():
            leading = leading_order_equilibrium(depth)
            values = {
                "equilibrium_curve": equilibrium,
                "leading_order_curve": leading,
                "equilibrium_over_leading_order": equilibrium / leading,
                "distance_over_limit": distances[depth - 1].item() * depth**2 / KAPPA,
            }
            if 10 * depth in equilibria:
                values["equilibrium_exponent"] = math.log10(equilibria[10 * depth] / equilibrium)
            place = {"paper": "lou2022", "depth": depth, "input_correlation": correlation}
            rows += [{**place, "measure": m, "value": v} for m, v in values.items()]
    parts.append(pd.DataFrame(rows).reindex(columns=table.columns))
    return pd.concat(parts, ignore_index=True)
