"""The tables of lejeune2024's figures, from the measurements of its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from feature_alignment.papers.lejeune2024.selection import (
    PROTOCOLS,
    by_kind,
    curves,
    differences,
    distances,
    published_ratios,
    ratios,
    ridge_errors,
    selected,
    with_variant,
)
from feature_alignment.run.collecting import (
    SERIES,
    Collect,
    Collection,
    Table,
    is_last,
    with_column,
    with_place,
)
from feature_alignment.tables import COLUMNS, tidy

CONDITIONS = ("dataset", "protocol", "variant", "model", "n_train")
ERRORS = [level / 100 for level in (*range(90, 60, -5), 60, 50, 40, 30, 25, 20, 15, 12, 10, 7, 5)]
"""Test errors whose first epoch is looked for."""
KERNELS = {"fixed": "initial", "full": "final", "adaptive": "adaptive"}
"""Which kernel the tangent kernel of each model is."""


def penalties(collection: Collection) -> Table:
    """Return the curves by their argument ``v``; nothing in them is random, so no seed is told."""
    return with_place(collection.measurements.assign(seed=pd.NA), "v")


def kernel_alignment(collection: Collection) -> Table:
    """Return the cosines of kernels with K_y by the student's target, and other end results.

    ``sign_minus_smooth`` and ``centered_sign_minus_smooth`` are differences, between the targets,
    of ``cosine_averaged`` and ``centered_cosine_averaged``.
    """
    measured = collection.measurements
    kept = measured["measure"].str.contains("cosine") | measured["measure"].isin(
        ["loss", "path_identity_error", "teacher_loss", "teacher_sign_agreement"]
    )
    chosen = measured[kept & is_last(measured, [*SERIES, "target"])]
    found = []
    for name, measure in (
        ("sign_minus_smooth", "cosine_averaged"),
        ("centered_sign_minus_smooth", "centered_cosine_averaged"),
    ):
        rows = chosen[chosen["measure"] == measure].set_index(["paper", "run", "seed", "target"])
        wide = rows["value"].unstack("target")
        difference = (wide["sign"] - wide["smooth"]).rename("value").reset_index()
        found.append(difference.assign(measure=name))
    return pd.concat([chosen, *found], ignore_index=True)


def kernel_diagonal(collection: Collection) -> Table:
    """Return the medians of the kernels' diagonals near and far from the teacher's boundary."""
    measured = collection.measurements
    kept = measured["measure"].str.startswith(("diagonal", "peak_ratio"))
    return measured[kept].reset_index(drop=True)


def kernel_terms(collection: Collection) -> Table:
    """Return what is measured of statements without a figure, by variant and target.

    Measures of :func:`feature_alignment.papers.lejeune2024.teacher_student.readings`: those of
    layers' terms, ``likeness_…``, ``centered_likeness_…`` and ``boundary_rank…``. And, over layers,
    ``last_term_lead``, ``term_alignment_averaged`` of the last layer minus the highest of the
    others, ``last_term_lead_initial``, the same of ``term_alignment_initial``, and
    ``earlier_share``, the ``term_share`` of all layers but the last; ``sign_minus_smooth_share``
    is its difference between the targets.
    """
    measured = with_variant(collection)
    kept = measured["measure"].str.contains("likeness|boundary_rank|term_")
    chosen = measured[kept].reset_index(drop=True)
    found = []
    keys = [*SERIES, "target"]
    for measure, rows in chosen[chosen["layer"].notna()].groupby("measure", sort=False):
        for _, layers in rows.groupby(keys, sort=False):  # in the order of depth
            values = layers["value"].to_numpy()
            if measure == "term_share":
                name, value = "earlier_share", values[:-1].sum()
            else:
                ending = measure.removeprefix("term_alignment").removesuffix("_averaged")
                name, value = f"last_term_lead{ending}", values[-1] - values[:-1].max()
            found.append(layers.iloc[[-1]].assign(layer=pd.NA, measure=name, value=value))
    summary = pd.concat(found, ignore_index=True)
    shares = summary[summary["measure"] == "earlier_share"]
    wide = {target: rows.set_index(SERIES) for target, rows in shares.groupby("target")}
    difference = wide["sign"]["value"] - wide["smooth"]["value"]
    contrast = wide["sign"].assign(
        target=pd.NA, measure="sign_minus_smooth_share", value=difference
    )
    return pd.concat([chosen, summary, contrast.reset_index()], ignore_index=True)


def text_settings(collection: Collection) -> Table:
    """Return by variant what :func:`kernel_alignment` and :func:`kernel_diagonal` do."""
    told = replace(collection, measurements=with_variant(collection))
    of_run = told.measurements.drop_duplicates("run").set_index("run")["variant"]
    table = pd.concat([kernel_alignment(told), kernel_diagonal(told)], ignore_index=True)
    return table.assign(variant=table["run"].map(of_run))


def kernel_regression(collection: Collection) -> Table:
    """Return how regressions and the network fit unseen images, by target and ``model``.

    Measures ``error``, ``unexplained`` and ``ridge``, see
    :func:`feature_alignment.papers.lejeune2024.teacher_student.regressions`; the model is
    ``network`` or the kernel. ``error_minus_network`` and, with the prefix ``initial_``, that of
    K_0; ``gain``, by how much less than with K_0 is unexplained.
    """
    measured = collection.measurements
    parts = measured["measure"].str.extract(
        r"^(?:regression_)?(?P<first>network|error|unexplained|ridge)_(?P<second>\w+)$"
    )
    swapped = parts["first"] == "network"
    model = parts["second"].mask(swapped, "network")
    measure = parts["first"].mask(swapped, parts["second"])
    table = with_column(measured.assign(measure=measure), "model", model)
    table = table[table["measure"].notna()].reset_index(drop=True)
    keys = [*SERIES, "target"]
    wide = table.pivot_table("value", keys, ["measure", "model"])
    places = pd.MultiIndex.from_frame(table[keys])
    own = {name: table["measure"] == name for name in ("error", "unexplained")}
    regressed = table["model"] != "network"
    added = [
        table.assign(
            measure="error_minus_network",
            value=table["value"].to_numpy() - wide["error", "network"][places].to_numpy(),
        )[own["error"] & regressed],
        table.assign(
            measure="initial_error_minus_network",
            value=(wide["error", "initial"] - wide["error", "network"])[places].to_numpy(),
        )[own["error"] & regressed],
        table.assign(
            measure="gain",
            value=wide["unexplained", "initial"][places].to_numpy() - table["value"].to_numpy(),
        )[own["unexplained"] & (table["model"] != "initial")],
    ]
    return pd.concat([table, *added], ignore_index=True)


def kernel_spectra(collection: Collection) -> Table:
    """Return ``eigenvalue_share`` by target, kernel and rank, and alignments with classes.

    The target ``classes`` is that of the networks of figure 4 at the largest number of images:
    their kernel at the start (``initial``), of the trained network (``final``) and of the adapted
    features (``adaptive``), with ``kernel_alignment`` on test images and ``alignment_gain``, that
    alignment minus the initial one.
    """
    measured = collection.measurements
    students = measured[measured["target"].notna() & measured["at"].notna()]
    kernels = students["measure"].str.removeprefix("eigenvalue_")
    spectra = with_place(with_column(students, "kernel", kernels), "rank")
    spectra = spectra.assign(measure="eigenvalue_share")
    trained = measured[measured["n_train"] == measured["n_train"].max()]
    kept = trained[trained["measure"].isin(["eigenvalue_share", "kernel_alignment"])]
    own = with_place(with_column(kept, "kernel", kept["model"].map(KERNELS)), "rank")
    own = own.assign(target="classes")
    aligned = own[own["measure"] == "kernel_alignment"]
    initial = aligned[aligned["kernel"] == "initial"].set_index(["run", "seed"])["value"]
    places = pd.MultiIndex.from_frame(aligned[["run", "seed"]])
    gains = aligned.assign(
        measure="alignment_gain", value=aligned["value"].to_numpy() - initial[places].to_numpy()
    )
    joined = pd.concat([spectra, own, gains[gains["kernel"] != "initial"]], ignore_index=True)
    return joined.drop(columns=["model", "n_train"])


def sample_complexity(collection: Collection) -> Table:
    """Return test errors by dataset, protocol, model and number of images.

    Per seed: ``error`` on the test set at the selected epoch, ``selected_epoch``,
    ``stopped_epoch``, ``last_error`` where this selection stops, ``train_error`` at the end of the
    training, when all selections have stopped, ``cut_off``, 1 where that was the last epoch
    allowed, ``distinct_images`` seen up to the selected epoch and, per image of the x axis,
    ``distinct_ratio``; ``published_error``, what the paper's figure shows. Differences of models
    on the same images: ``adaptive_minus_fixed``, ``fixed_minus_full``; of the selections,
    ``selection_cost``, corrected minus corrected-oracle. The latter stops as the paper does, so
    that it differs from the published protocol by its images alone. The model ``ridge`` is ridge
    regression on the fixed features, see :func:`robustness`.
    """
    trained, solved = by_kind(collection)
    rows = list(selected(trained))
    return table([*rows, *differences(rows), *ridge_errors(solved)])


def sample_ratios(collection: Collection) -> Table:
    """Return how many times as many images the fixed features need as the adaptive ones.

    Per seed: ``mean_ratio`` over the errors that both reach, ``log10_mean_ratio``, its logarithm,
    and, for each number of images of the adaptive features, ``sample_ratio``, see
    :mod:`feature_alignment.measures.sample_complexity`; where the curves give a bound alone, its
    measure ends in ``_below`` (the ratio is at most that) or ``_above``. Over seeds, with
    bootstrap intervals: ``mean_ratio_low`` and ``mean_ratio_high``, ``sample_ratio_low`` and
    ``sample_ratio_high``. With the prefix ``published_`` the same of the paper's figure, of which
    all numbers of images are taken; with ``exact_`` the same for exact ridge regression on the
    fixed features in place of their training.
    """
    trained, solved = by_kind(collection)
    rows = [*selected(trained), *ridge_errors(solved)]
    return table(
        [*ratios(rows, ""), *published_ratios(collection), *ratios(rows, "exact_", fixed="ridge")]
    )


def optimisation_speed(collection: Collection) -> Table:
    """Return the first epoch at which each model's test error is at most each of :data:`ERRORS`.

    ``epochs_to_error`` by ``test_error``; ``epochs_ratio``, those of the fixed features over
    those of the adaptive ones, where both get there.
    """
    rows = []
    for identity, _, curve in curves(collection):
        protocol = next(iter(PROTOCOLS[identity.pop("subset")]))
        for level in ERRORS:
            reached = curve.index[(curve["test"] <= level) & (curve.index > 0)]
            if len(reached):
                condition = {"protocol": protocol, "test_error": level}
                value = {"measure": "epochs_to_error", "value": reached[0]}
                rows.append({**identity, **condition, **value})
    keys = ["paper", "seed", "dataset", "protocol", "variant", "n_train", "test_error"]
    epochs = pd.DataFrame(rows).pivot(index=keys, columns="model", values="value")
    ratio = (epochs["fixed"] / epochs["adaptive"]).dropna()
    rows += [
        {**dict(zip(keys, place, strict=True)), "measure": "epochs_ratio", "value": value}
        for place, value in ratio.items()
    ]
    return table(rows, "test_error")


def robustness(collection: Collection) -> Table:
    """Return the errors of the variants at the numbers of images that all of them have.

    Measures of :func:`sample_complexity`, protocols with a held-out set alone. Ridge regression on
    the tangent kernel is the model ``ridge``: ``error`` with the ridge that the held-out images
    select, ``oracle_error`` with the one that the test images do; ``ridge_minus_fixed``, error
    minus that of the fixed features trained on the same images. ``adaptive_minus_baseline`` is the
    error of adaptive features minus that of fixed ones in the baseline, on the same images.
    """
    trained, solved = by_kind(collection)
    rows = [row for row in selected(trained) if row["protocol"] == "corrected"]
    ridges = list(ridge_errors(solved))
    sizes = set.intersection(
        *({r["n_train"] for r in rows if r["run"] == run} for run in trained.specs)
    )
    rows += differences(rows)
    kept = [row for row in rows if row["n_train"] in sizes]
    adapted = [row for row in kept if row.get("model") == "adaptive"]
    return table(
        [
            *kept,
            *ridges,
            *distances(ridges, rows, "ridge_minus_fixed"),
            *distances(adapted, rows, "adaptive_minus_baseline"),
        ]
    )


def learned_displacements(collection: Collection) -> Table:
    """Return ``singular_value`` of each layer's displacement at the end, by ``rank``."""
    measured = with_variant(collection)
    chosen = measured[measured["measure"] == "singular_value"]
    return with_place(chosen, "rank").astype({"rank": int}).reset_index(drop=True)


def table(rows: Sequence[Mapping], *conditions: str) -> Table:
    """Return rows as a tidy table with the conditions of this paper."""
    known = {*COLUMNS, *CONDITIONS, *conditions}
    kept = [{k: v for k, v in row.items() if k in known} for row in rows]
    return tidy(kept, [*CONDITIONS, *conditions])


TABLES: dict[str, Collect] = {
    "fig2_penalties": penalties,
    "fig1_kernel_alignment": kernel_alignment,
    "fig3_kernel_diagonal": kernel_diagonal,
    "fig4_sample_complexity": sample_complexity,
    "c1_sample_ratios": sample_ratios,
    "c2_optimisation_speed": optimisation_speed,
    "c3_robustness": robustness,
    "n1_learned_displacements": learned_displacements,
    "n2_kernel_spectra": kernel_spectra,
    "n3_terms": kernel_terms,
    "n4_text_settings": text_settings,
    "c4_kernel_regression": kernel_regression,
}
