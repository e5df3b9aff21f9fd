"""The tables of the joint figures, from the measurements of their networks."""

import math
from collections.abc import Iterator

import pandas as pd
import scipy  # which loads its parts when they are used

from feature_alignment.measures.hierarchy import profile
from feature_alignment.run.collecting import Collect, Collection, Table, layer_places, with_column
from feature_alignment.tables import tidy

ANSATZ = ("uc_nfa_pearson", "c_nfa_pearson")
CONDITIONS = ("network",)
FITS = ("loss", "accuracy")


def both_instruments(collection: Collection) -> Table:
    """Return alignment and ansatz of the layers that have both, and how they go together.

    Rows by ``network``: ``alignment`` of a layer on both splits, ``uc_nfa_pearson`` and
    ``c_nfa_pearson``, ``loss`` and ``accuracy``; and ``uc_nfa_rank_correlation`` and
    ``c_nfa_rank_correlation``, Spearman's rank correlation over layers of either with the alignment
    on training examples, at each measurement.
    """
    measured = collection.measurements
    ansatz = measured[measured["measure"].isin(ANSATZ)]
    pairs = {(row.run, row.layer) for row in ansatz.itertuples()}
    both = pd.Series(
        [
            (run, layer) in pairs
            for run, layer in zip(measured["run"], measured["layer"], strict=True)
        ],
        index=measured.index,
    )
    kept = (both & measured["measure"].isin(["alignment", *ANSATZ])) | measured["measure"].isin(
        ["loss", "accuracy"]
    )
    chosen = measured[kept]
    found = tidy(list(rank_correlations(chosen)), CONDITIONS)[chosen.columns]
    return pd.concat([chosen, found], ignore_index=True)


def rank_correlations(table: Table) -> Iterator[dict]:
    """Yield the rank correlations of every measurement at which three layers or more have both."""
    keys = ["paper", "run", "seed", "step", "epoch", *CONDITIONS]
    aligned = table[(table["measure"] == "alignment") & (table["split"] == "train")]
    for measure in ANSATZ:
        own = table[table["measure"] == measure]
        pairs = own.merge(aligned, on=[*keys, "layer"], suffixes=("", "_alignment"))
        for place, rows in pairs.groupby(keys, sort=False):
            if len(rows) >= 3:
                value = scipy.stats.spearmanr(rows["value"], rows["value_alignment"]).statistic
                name = measure.replace("_pearson", "_rank_correlation")
                yield {**dict(zip(keys, place, strict=True)), "measure": name, "value": value}


CONVERGENCE = (
    "fact_pearson",
    "fact_cosine",
    "uc_nfa_pearson",
    "uc_nfa_cosine",
    "best_uc_nfa_pearson",
    "distance_from_rest",
    *FITS,
)


def convergence(collection: Collection) -> Table:
    """Return the rows of R1 by ``weight_decay``: FACT and the ansatz in every layer, and fits."""
    measured = collection.measurements
    return measured[measured["measure"].isin(CONVERGENCE)].reset_index(drop=True)


def linear_exponents(collection: Collection) -> Table:
    """Return the rows of R2 by ``hidden_layers`` and ``weight_decay``.

    ``loss`` and ``accuracy``, ``best_exponent`` and ``best_uc_nfa_pearson`` of every layer;
    ``relative_exponent``, the best exponent over the predicted 1 / (L − l + 1) of layer l of L
    (the readout is the last); and ``exponent_error``, the absolute logarithm of that.
    """
    measured = collection.measurements
    kept = measured[measured["measure"].isin(["best_exponent", "best_uc_nfa_pearson", *FITS])]
    best = kept[kept["measure"] == "best_exponent"]
    layer = best["layer"].str.removeprefix("linear").astype(int)
    relative = best["value"] * (best["hidden_layers"] + 1 - layer + 1)
    parts = [
        kept,
        best.assign(measure="relative_exponent", value=relative),
        best.assign(measure="exponent_error", value=relative.map(math.log).abs()),
    ]
    return pd.concat(parts, ignore_index=True)


def output_scale(collection: Collection) -> Table:
    """Return the rows of R3 by ``output_scale``, and what is derived from them.

    ``loss``, ``accuracy`` and ``alignment`` of the whole kernel; and once for each seed and scale,
    at its last step: at the first measurement at which the training loss is what all scales of the
    seed reach, ``matched_alignment`` and ``matched_accuracy_gap``, the accuracy on easy examples
    less that on difficult ones, and on test examples ``matched_test_error``; and ``onset_lead``,
    the base-2 logarithm of the steps until half of the fall of the training loss is done over those
    until half of the rise of the alignment is. Once for each seed, with the largest scale,
    ``error_rank_correlation``: Spearman's, over scales, of the matched test error with the matched
    alignment.
    """
    measured = collection.measurements
    kept = measured[measured["measure"].isin(["alignment", *FITS]) & measured["layer"].isna()]
    return pd.concat([kept, *_of_scales(kept)], ignore_index=True)[kept.columns]


def _of_scales(kept: Table) -> Iterator[pd.DataFrame]:
    for _, own in kept.groupby(["run", "seed"], sort=False):
        courses = {
            scale: rows.pivot(index="step", columns=["measure", "split"], values="value")
            for scale, rows in own.groupby("output_scale")
        }
        reached = max(course["loss", "train"].min() for course in courses.values())
        derived = []
        for scale, course in courses.items():
            matched = course[course["loss", "train"] <= reached].iloc[0]
            gap = matched["accuracy", "easy"] - matched["accuracy", "difficult"]
            loss, aligned = course["loss", "train"], course["alignment", "easy"]
            onset = _first(aligned, aligned.iloc[0], aligned.max())
            values = {
                "matched_alignment": matched["alignment", "easy"],
                "matched_test_error": 1 - matched["accuracy", "test"],
                "matched_accuracy_gap": gap,
                "onset_lead": math.log2(_first(-loss, -loss.iloc[0], -loss.min()) / onset),
            }
            last = own[own["output_scale"] == scale].iloc[[-1]].assign(split=pd.NA)
            derived += [last.assign(measure=name, value=value) for name, value in values.items()]
        found = pd.concat(derived)
        yield found
        pairs = found.pivot(index="output_scale", columns="measure", values="value")
        matched = pairs["matched_alignment"], pairs["matched_test_error"]
        value = scipy.stats.spearmanr(*matched).statistic
        yield found.iloc[[-1]].assign(measure="error_rank_correlation", value=value)


def _first(course: pd.Series, start: float, end: float) -> int:
    """Return the first step, but not 0, at which half of the way from start to end is done."""
    return max(1, (course >= (start + end) / 2).idxmax())


def six_alignments(collection: Collection) -> Table:
    """Return the rows of R5 by ``weight_decay``: the six alignments above chance, and fits."""
    measured = collection.measurements
    kept = measured["measure"].isin(FITS) | measured["measure"].str.endswith("_above_chance")
    return measured[kept].reset_index(drop=True)


def noise_and_depth(collection: Collection) -> Table:
    """Return the rows of R4 by ``noise`` (``dropout`` or ``label noise``) and its ``strength``.

    Networks without noise are there once for each, with strength 0. Before training and at the
    end: ``loss`` and ``accuracy``; on test examples ``alignment`` of every layer, by
    ``layer_index``; of the curve over layers l ``peak_layer``, smoothed as
    :func:`feature_alignment.measures.hierarchy.profile` does, ``peak_move``, it minus that of the
    network without noise of the same seed, and ``alignment_centre``, Σ_l l A_l / Σ_l A_l.
    """
    measured = collection.measurements
    table = with_column(measured, "layer_index", layer_places(measured))
    aligned = (table["measure"] == "alignment") & (table["split"] == "test")
    layers = table[aligned & table["layer"].notna()]
    shapes = pd.concat([*map(_shape, _curves(layers))])
    kept = pd.concat([layers, shapes, table[table["measure"].isin(FITS)]], ignore_index=True)
    parts = []
    for noise, column, other in NOISES:
        rows = with_column(kept[kept[other] == 0], "noise", noise)
        rows = with_column(rows, "strength", rows[column]).drop(columns=[column, other])
        peaks = rows[rows["measure"] == "peak_layer"].assign(started=lambda own: own["step"] > 0)
        without = peaks[peaks["strength"] == 0].set_index(["seed", "started"])["value"]
        keys = pd.MultiIndex.from_frame(peaks[["seed", "started"]])
        moves = peaks["value"] - without.reindex(keys).to_numpy()
        parts += [rows, peaks.assign(measure="peak_move", value=moves).drop(columns="started")]
    return pd.concat(parts, ignore_index=True)


NOISES = (("dropout", "dropout", "label_noise"), ("label noise", "label_noise", "dropout"))
"""The names of both kinds, and the columns of each and of the other."""


def _curves(layers: Table) -> Iterator[Table]:
    for _, curve in layers.groupby(["run", "seed", "step"], sort=False):
        yield curve.sort_values("layer_index")


def _shape(curve: Table) -> Table:
    """Return where a curve of alignment over layers peaks, and its centre."""
    place, value = curve["layer_index"].astype(float), curve["value"]
    found = {
        "peak_layer": place.iloc[profile(value.tolist()).peak - 1],
        "alignment_centre": (place * value).sum() / value.sum(),
    }
    row = curve.iloc[[0]].assign(layer=pd.NA, layer_index=pd.NA)
    return pd.concat([row.assign(measure=name, value=value) for name, value in found.items()])


TABLES: dict[str, Collect] = {
    "both_instruments": both_instruments,
    "r1_convergence": convergence,
    "r2_linear_exponents": linear_exponents,
    "r3_output_scale": output_scale,
    "r4_noise_and_depth": noise_and_depth,
    "r5_six_alignments": six_alignments,
}
