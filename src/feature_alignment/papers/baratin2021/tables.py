"""Collect the tables of figures 1–4 and of the appendix from the measurements of the networks."""

from collections.abc import Callable, Sequence

import pandas as pd

from feature_alignment import command
from feature_alignment.papers.baratin2021.rings import RINGS
from feature_alignment.run.collecting import (
    Collection,
    collect_figure,
    layer_places,
    with_column,
)

EASY_FITTED = 0.9
"""Accuracy on the easy examples from which on they count as fitted."""

RANDOM_LABELS = "random_labels"

Table = pd.DataFrame
SERIES = ["run", "seed"]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of one figure; see ``--help`` for the arguments."""
    collect_figure("feature_alignment.papers.baratin2021.tables", __doc__, FIGURES, argv)


def eigenfunctions(collection: Collection) -> Table:
    """Return all rows, with ``radius`` (of the ring's middle) where a measure is ring by ring."""
    table = collection.measurements
    ring = table["measure"].str.extract(r"^angular_mean_(\d+)$")[0].astype("Float64")
    named = table.assign(measure=table["measure"].where(ring.isna(), "angular_mean"))
    return with_column(named, "radius", (ring + 0.5) / RINGS)


def spectrum(collection: Collection) -> Table:
    """Return accuracies and spectra; ``stretch`` is the largest eigenvalue over the median."""
    collection = collection.with_condition("label_noise", _label_noise)
    table = collection.measurements
    chosen = table[
        table["layer"].isna() & (table["measure"] != "alignment") & (table["measure"] != "loss")
    ]
    by_measure = chosen.set_index([*SERIES, "step", "split"])
    largest, median = (
        by_measure[by_measure["measure"] == f"eigenvalue_{which}"]
        for which in ("largest", "median")
    )
    ratio = (largest["value"] / median["value"]).reindex(largest.index)
    stretch = largest.assign(measure="stretch", value=ratio).reset_index()
    return pd.concat([chosen, stretch], ignore_index=True)


def alignment(collection: Collection) -> Table:
    """Return accuracies and alignments, by layer too, with the layer's place as ``depth``.

    Derived: ``maximum_alignment`` of the whole kernel along the run; at the end of the run,
    ``final_layer_alignment`` by layer and ``layer_spread``, the largest of them over the least.
    """
    collection = collection.with_condition("label_noise", _label_noise)
    table = collection.measurements
    table = table[table["measure"].isin(["accuracy", "alignment"])]
    table = with_column(table, "depth", layer_places(table))
    whole = table[(table["measure"] == "alignment") & table["layer"].isna()]
    layers = table[(table["measure"] == "alignment") & table["layer"].notna()]
    highest = whole.loc[whole.groupby([*SERIES, "split"])["value"].idxmax()]
    ends = table.groupby(SERIES)["step"].transform("max")[layers.index]
    final = layers[layers["step"] == ends]
    groups = final.groupby([*SERIES, "split"])["value"]
    spread = final.loc[groups.idxmax()].assign(
        measure="layer_spread",
        value=(groups.max() / groups.min()).to_numpy(),
        layer=pd.NA,
        depth=pd.NA,
    )
    return pd.concat(
        [
            table,
            highest.assign(measure="maximum_alignment"),
            final.assign(measure="final_layer_alignment"),
            spread,
        ],
        ignore_index=True,
    )


def learning_rate(collection: Collection) -> Table:
    """Return what :func:`spectrum` and :func:`alignment` return, once each."""
    spectra, alignments = spectrum(collection), alignment(collection)
    alignments = alignments[alignments["measure"] != "accuracy"]
    return pd.concat([with_column(spectra, "depth", pd.NA), alignments], ignore_index=True)


def difficulty(collection: Collection) -> Table:
    """Return the rows of figure 4; see :func:`_easy_against_difficult`."""
    return _easy_against_difficult(collection.with_condition("difficult", _difficulty))


def depth(collection: Collection) -> Table:
    """Return the rows of the figure on depth; see :func:`_easy_against_difficult`."""
    return _easy_against_difficult(
        collection.with_condition("depth", lambda spec: spec["settings"]["model"]["hidden_layers"])
    )


def _easy_against_difficult(collection: Collection) -> Table:
    """Return accuracies and alignments of the whole kernel, and what is derived from them.

    ``alignment_ratio`` is easy over difficult. Once for each run and seed, at its last step:
    ``maximum_ratio`` (in figure 4 also ``maximum_ratio_random_labels`` or
    ``maximum_ratio_other_dataset``); of the alignment on easy examples, ``onset_step``, where half
    of its rise from start to maximum is done, and ``rise_factor``, the step where three quarters
    are over that where one quarter is; of that on difficult examples, ``growth_before`` and
    ``growth_after`` the first time that the easy ones are fitted, or up to the end if they never
    are, as factors.
    """
    table = collection.measurements
    table = table[
        table["layer"].isna() & table["measure"].isin(["accuracy", "alignment"])
    ].reset_index(drop=True)
    table = table.sort_values([*SERIES, "step"], kind="stable", ignore_index=True)
    alignments = table[table["measure"] == "alignment"].set_index([*SERIES, "step"])
    easy, difficult = (alignments[alignments["split"] == split] for split in ("easy", "difficult"))
    quotient = (easy["value"] / difficult["value"]).reindex(easy.index)
    ratio = easy.assign(measure="alignment_ratio", value=quotient, split=pd.NA).reset_index()
    derived = []
    for (run, seed), ratios in ratio.groupby(SERIES, sort=False):
        at = {
            name: part["value"].loc[run, seed]
            for name, part in (("easy", easy), ("difficult", difficult))
        }
        mine = table[(table["run"] == run) & (table["seed"] == seed)]
        accuracy = mine[(mine["measure"] == "accuracy") & (mine["split"] == "easy")]
        fitted = accuracy.loc[accuracy["value"] >= EASY_FITTED, "step"]
        values = {"maximum_ratio": ratios["value"].max()}
        if "difficult" in ratios:
            random = ratios["difficult"].iloc[0] == RANDOM_LABELS
            kind = "random_labels" if random else "other_dataset"
            values[f"maximum_ratio_{kind}"] = values["maximum_ratio"]
        values["onset_step"] = _first_reaching(at["easy"], 0.5)
        quarter, three_quarters = (
            max(_first_reaching(at["easy"], share), 1) for share in (0.25, 0.75)
        )
        values["rise_factor"] = three_quarters / quarter
        hard = at["difficult"]
        since = fitted.min() if len(fitted) else hard.index[-1]
        values["growth_before"] = hard[since] / hard.iloc[0]
        values["growth_after"] = hard.iloc[-1] / hard[since]
        last = ratios.iloc[[-1]]
        derived += [last.assign(measure=name, value=value) for name, value in values.items()]
    return pd.concat([table, ratio, *derived], ignore_index=True)


def _first_reaching(curve: pd.Series, share: float) -> float:
    """Return the first step at which a share of the rise from start to maximum is done."""
    start = curve.iloc[0]
    return float(curve.index[curve >= start + share * (curve.max() - start)].min())


def _label_noise(spec: dict) -> float:
    return spec["settings"]["dataset"]["label_noise"]


def _difficulty(spec: dict) -> str:
    """Return what makes the difficult examples difficult: random labels, or their dataset."""
    difficult = spec["settings"]["difficult"]
    return RANDOM_LABELS if difficult["label_noise"] else difficult["name"]


FIGURES: dict[str, Callable[[Collection], Table]] = {
    "fig1_eigenfunctions": eigenfunctions,
    "a1_half_disk": eigenfunctions,
    "fig2_spectrum": spectrum,
    "fig3_alignment": alignment,
    "fig4_difficulty": difficulty,
    "a2_depth": depth,
    "a3_resnet": alignment,
    "a4_learning_rate": learning_rate,
}


if __name__ == "__main__":
    command.run(main)
