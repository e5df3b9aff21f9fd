"""A table for every figure, made as the workflow makes it, from measurements of made-up runs."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from feature_alignment.papers.baratin2021 import supernat
from feature_alignment.papers.baratin2021 import tables as baratin2021
from feature_alignment.papers.baratin2021.collect_complexity import complexity
from feature_alignment.papers.baratin2021.eigenfunctions import RINGS
from feature_alignment.papers.beaglehole2024 import tables as beaglehole2024
from feature_alignment.papers.joint import tables as joint
from feature_alignment.papers.lejeune2024 import tables as lejeune2024
from feature_alignment.papers.lejeune2024.penalties import curves
from feature_alignment.papers.lou2022 import tables as lou2022
from feature_alignment.run.collecting import Collection
from feature_alignment.tables import read_table, tidy, write_table

SEEDS = range(2)
LAYERS = ("conv1", "norm1", "conv2", "linear1")


def as_read(rows: Iterable[Mapping], conditions: Sequence[str] = ()) -> pd.DataFrame:
    """Return rows as a table that has been written and read back, as all tables are."""
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "table.csv", tidy(rows, conditions), {})
        return read_table(Path(folder) / "table.csv")


def collection(
    figure: str,
    rows: Iterable[Mapping],
    settings: Mapping[str, dict],
    paper: str = "baratin2021",
    conditions: Sequence[str] = (),
) -> Collection:
    """Return measurements of a paper's runs, whose settings are given by name."""
    specs = {
        run: {"paper": paper, "run": run, "scale": "smoke", "settings": chosen}
        for run, chosen in settings.items()
    }
    return Collection(figure, as_read(rows, conditions), specs, (), Path("unused"))


def readings(runs: Iterable[str], steps: Iterable[int], places: Iterable[tuple]) -> Iterator[dict]:
    """Yield a random value for every run, seed, step, and (measure, split, layer)."""
    draw = np.random.default_rng(0)
    steps, places = list(steps), list(places)
    for run in runs:
        for seed in SEEDS:
            for step in steps:
                for measure, split, layer in places:
                    yield {
                        "paper": "baratin2021",
                        "run": run,
                        "seed": seed,
                        "step": step,
                        "epoch": step / 4,
                        "layer": layer,
                        "split": split,
                        "measure": measure,
                        "value": draw.uniform(0.1, 0.9),
                    }


def disk(figure: str) -> Collection:
    """Measurements of eigenfunctions on the disk."""
    kinds = ("centered", "uncentered")
    measures = ("alignment", "eigenvalue_ratio", "effective_rank", "label_energy")
    places = [("loss", "train", None), ("accuracy", "train", None), ("trace", "grid", None)]
    places += [(f"{measure}_{kind}", "grid", None) for measure in measures for kind in kinds]
    places += [(f"angular_mean_{k}", "grid", None) for k in range(RINGS)]
    return collection(figure, readings(["disk"], [0, 10, 100], places), {"disk": {}})


def noise(figure: str, levels: Iterable[float] = (0.0, 0.5)) -> Collection:
    """Measurements of convolutional networks, a run per share of random labels."""
    values = ("largest", "mean", "median")
    measures = ["loss", "accuracy", "alignment", "effective_rank"]
    measures += [f"eigenvalue_{which}" for which in values]
    measures += [f"trace_ratio_{count}" for count in (1, 10, 40, 80, 160, 320)]
    places = [(measure, split, None) for split in ("train", "test") for measure in measures]
    places += [("alignment", split, layer) for split in ("train", "test") for layer in LAYERS]
    settings = {f"noise{level:.0%}": {"dataset": {"label_noise": level}} for level in levels}
    return collection(figure, readings(settings, [0, 5, 10, 30], places), settings)


def easy_difficult(figure: str, settings: Mapping[str, dict]) -> Collection:
    """Measurements of networks that see easy and difficult examples."""
    places = [
        (measure, split, None)
        for split in ("easy", "difficult", "test")
        for measure in ("loss", "accuracy")
    ]
    places += [
        ("alignment", split, layer)
        for split in ("easy", "difficult")
        for layer in (None, "linear1", "linear2")
    ]
    return collection(figure, readings(settings, [0, 5, 7, 10, 30], places), settings)


def kinds_of_difficulty(figure: str) -> Collection:
    """Runs with random labels and with another dataset."""
    settings = {
        "random_labels": {"difficult": {"name": "mnist", "label_noise": 1.0}},
        "other_dataset": {"difficult": {"name": "fashion_mnist", "label_noise": 0.0}},
    }
    return easy_difficult(figure, settings)


def depths(figure: str) -> Collection:
    """Runs of two depths."""
    settings = {f"depth{n}": {"model": {"hidden_layers": n}} for n in (3, 15)}
    return easy_difficult(figure, settings)


COLLECTIONS: dict[str, Callable[[str], Collection]] = {
    "fig1_eigenfunctions": disk,
    "fig2_spectrum": noise,
    "fig3_alignment": noise,
    "fig4_difficulty": kinds_of_difficulty,
    "a1_half_disk": disk,
    "a2_depth": depths,
    "a3_resnet": lambda figure: noise(figure, [0.0]),
    "a4_learning_rate": lambda figure: noise(figure, [0.0]),
}
"""The measurements behind each figure that ``experiments/baratin2021/tables.py`` collects."""


def sweeps(figure: str) -> Collection:
    """Measurements of networks of several widths, shares of random labels and learning rates."""
    measures = ["path_complexity", "path_complexity_coarse", "path_length", "kernel_trace"]
    measures += ["parameter_count", "frobenius_product", "spectral_complexity", "path_norm"]
    places = [(measure, None, None) for measure in (*measures, "distance_from_initialisation")]
    places += [(m, split, None) for m in ("loss", "accuracy") for split in ("train", "test")]
    settings = {
        f"{width}-{level}-{rate}": {
            "model": {"width": width},
            "dataset": {"label_noise": level},
            "learning_rate": rate,
            "stop": {"loss": 0.5},
        }
        for width, level, rate in (
            (16, 0.0, 0.1),
            (64, 0.0, 0.1),
            (64, 0.5, 0.1),
            (16, 0.0, 0.01),
            (64, 0.0, 0.01),
        )
    }
    return collection(figure, readings(settings, [0, 10], places), settings)


def regression() -> pd.DataFrame:
    """Return the table of SuperNat on very few examples."""
    settings = {
        "n_train": 8,
        "n_validation": 20,
        "dimension": 3,
        "noise_variance": 0.1,
        "learning_rate": 0.2,
        "steps": 20,
        "trials": 2,
    }
    spec = {"paper": "baratin2021", "run": "r", "settings": settings}
    return tidy(supernat.curves(spec), supernat.CONDITIONS)


NETWORKS = {
    "mlp": {"dataset": {"name": "digits"}, "model": {"hidden_layers": 2}},
    "vgg": {"dataset": {"name": "photo_patches"}, "model": {"architecture": "vgg11"}},
}


def ansatz_collection(figure: str) -> Collection:
    """Measurements of beaglehole2024's runs."""
    kinds = {
        "b4_convolutions": ("vgg", [{}], ("conv1", "conv2", "conv3", "conv4", "conv5")),
        "b5_initial_scale": ("mlp", [{"gain": 0.5}, {"gain": 2.0}], ("linear1", "linear2")),
        "b7_speed_limits": ("mlp", tasks_and_methods(), ("linear1", "linear2")),
        "b7c_favoured_layers": ("mlp", image_methods(), ("linear1", "linear2")),
    }
    if figure == "b6_early_alignment":
        return early_alignment(figure)
    if figure == "c1_exponents":
        parts = [kinds[name] for name in ("b5_initial_scale", "b4_convolutions")]
    else:
        parts = [kinds.get(figure, ("mlp", [{}], ("linear1", "linear2")))]
    rows, columns = [], []
    for run, conditions, layers in parts:
        columns += [name for name in conditions[0] if name not in columns]
        for condition in conditions:
            drawn = ansatz_rows(run, layers, len(rows))
            rows += [{**row, **condition} for row in drawn]
    settings = {run: NETWORKS[run] for run, _, _ in parts}
    return collection(figure, rows, settings, "beaglehole2024", columns)


def tasks_and_methods() -> list[dict]:
    """Return the conditions of trainings with speed limits."""
    methods = ("sgd", "favoured", "equal")
    tasks = ((3, 8), (4, 8))
    return [{"rank": r, "dimension": d, "method": m} for r, d in tasks for m in methods]


def image_methods() -> list[dict]:
    """Return the conditions of trainings in which one layer after the other is favoured."""
    return [{"method": method} for method in ("sgd", "equal", "layer 1", "layer 2")]


def ansatz_rows(run: str, layers: Iterable[str], draws: int) -> Iterator[dict]:
    """Yield measurements of one training of beaglehole2024 for every seed; losses fall."""
    draw = np.random.default_rng(draws)
    powers = [
        f"{kind}_power_{power}_{form}"
        for kind in ("uc_nfa", "c_nfa")
        for power in beaglehole2024.EXPONENTS
        for form in ("pearson", "cosine")
    ]
    of_layers = [*beaglehole2024.CORRELATIONS, *beaglehole2024.NULLS, *powers]
    of_layers += ["weight_change", "centred_share", "nfm_share", "agop_share"]
    for seed in SEEDS:
        for epoch in range(5):
            common = {"paper": "beaglehole2024", "run": run, "seed": seed}
            common |= {"step": epoch, "epoch": epoch}
            for split in ("train", "test"):
                for measure in ("loss", "relative_loss", "accuracy"):
                    value = (0.5 + 0.01 * seed) / (1 + epoch) + draw.uniform(0, 0.01)
                    yield {**common, "split": split, "measure": measure, "value": value}
            for layer in layers:
                for measure in of_layers:
                    value = 0.4 + 0.1 * epoch + draw.uniform(0, 0.05)
                    yield {
                        **common,
                        "split": "train",
                        "layer": layer,
                        "measure": measure,
                        "value": value,
                    }


def early_alignment(figure: str) -> Collection:
    """Measurements of quadratic networks at their first step."""
    draw = np.random.default_rng(0)
    measures = ["observed_cosine", "predicted_cosine", "relative_error", "unrelated_cosine"]
    measures += ["observed_pearson", "unrelated_pearson", "trained_cosine", "trained_error"]
    rows = [
        {
            "paper": "beaglehole2024",
            "run": "early",
            "seed": seed,
            "step": 0,
            "epoch": 0.0,
            "dimension": 16,
            "width": width,
            "examples": 64,
            "alpha": alpha,
            "epsilon": epsilon,
            "readout": readout,
            "measure": measure,
            "value": draw.uniform(0.1, 0.9),
        }
        for seed in SEEDS
        for width in (4, 16)
        for alpha in (0.0, 1.0)
        for epsilon in (0.0, 0.5, 1.0)
        for readout in ("normal", "student_t")
        for measure in measures
    ]
    conditions = ("dimension", "width", "examples", "alpha", "epsilon", "readout")
    return collection(figure, rows, {"early": {}}, "beaglehole2024", conditions)


def speed_limit_images() -> dict[str, np.ndarray]:
    """Return what ``experiments/beaglehole2024/speed_limits.py`` leaves beside its table."""
    draw = np.random.default_rng(0)
    return {
        "rank": np.array(3),
        "methods": np.array(["sgd", "favoured", "equal"]),
        "nfm": draw.standard_normal((3, 8, 8), dtype=np.float32),
        "agop": draw.standard_normal((3, 8, 8), dtype=np.float32),
    }


def both_instruments(figure: str) -> Collection:
    """Measurements of the joint figure's networks."""
    settings = {
        "mlp": {"model": {"architecture": "fully_connected"}},
        "vgg": {"model": {"architecture": "vgg11"}},
    }
    layers = [("linear1", "linear2", "linear3", "linear4"), ("conv1", "conv2", "conv3", "linear1")]
    rows = []
    for run, names in zip(settings, layers, strict=True):
        measured = names[:-1]  # the last layer has an alignment alone
        places = [(m, s, None) for m in ("loss", "accuracy") for s in ("train", "test")]
        places += [("alignment", s, layer) for s in ("train", "test") for layer in (None, *names)]
        places += [(m, "train", layer) for m in joint.ANSATZ for layer in measured]
        rows += [{**row, "paper": "joint"} for row in readings([run], [0, 4, 8], places)]
    return collection(figure, rows, settings, "joint")


def lou_collection(
    figure: str, rows: Iterable[Mapping], settings: Mapping[str, dict]
) -> Collection:
    """Return measurements of lou2022's runs, whose settings are given by name."""
    return collection(figure, rows, settings, paper="lou2022")


def hierarchies(figure: str) -> Collection:
    """Measurements of lou2022's trained networks, of several depths, rates and architectures."""
    varied = {
        "e1_hierarchy": [{"architecture": "vgg11"}, {"dataset": "mnist"}],
        "e2_information": [{"depth": 4}],
        "e3_peak_depth": [{"depth": 4}, {"depth": 6}],
        "c1_equal_rates": [{"depth": 4}, {"depth": 6}],
        "e4_architectures": [{"architecture": "vgg11"}, {"architecture": "resnet18"}],
        "e5_hyperparameters": [{"rate": 0.1}, {"rate": 0.2, "optimizer": "adam"}],
        "e6_evolution": [{"rate": 0.1}, {"rate": 0.001}],
        "c2_input_correlation": [{"offset": 0.0}, {"offset": 2.0}],
    }
    settings = {}
    for place, changes in enumerate(varied[figure]):
        model = {"architecture": changes.get("architecture", "fully_connected"), "width": 8}
        settings[f"run{place}"] = {
            "dataset": {"name": changes.get("dataset", "digits")},
            "model": model | {"depth": changes.get("depth", 4)},
            "learning_rate": changes.get("rate", 0.1),
            "batch_size": 10 * (1 + place),
            "optimizer": changes.get("optimizer", "sgd"),
            "input_offset": changes.get("offset", 0.0),
            "stop": {"losses": [0.5]},
        }
    rows = []
    for run, chosen in settings.items():
        layers = [f"linear{n}" for n in range(1, chosen["model"]["depth"] + 1)]
        places = [("alignment", split, at) for split in ("train", "test") for at in (None, *layers)]
        places += [(m, split, None) for split in ("train", "test") for m in ("loss", "accuracy")]
        rows += readings([run], [0, 10, 30], places)
        once = ("input_correlation", "equilibrium_layer", "equilibrium_layer_mean_field")
        information = [(measure, None, None) for measure in once]
        for measure in ("forward_distance", "backward_correlation"):
            ends = ("", "_mean_field")
            information += [(f"{measure}{end}", None, at) for end in ends for at in layers]
        rows += readings([run], [0], information)
        reached = readings([run], [0, 10, 30], [("losses_reached", None, None)])
        rows += [{**row, "value": float(row["step"] > 0)} for row in reached]
    return lou_collection(figure, [{**row, "paper": "lou2022"} for row in rows], settings)


STUDENT_MEASURES = (
    "loss",
    "path_identity_error",
    "teacher_loss",
    "teacher_sign_agreement",
    *(f"{kind}_{at}" for kind in ("diagonal", "peak") for at in ("near", "far", "ratio")),
    *(f"{c}cosine_{k}" for c in ("", "centered_") for k in ("initial", "averaged", "final")),
)


def tangent_settings(subset: str, dataset: str = "digits", **changes: object) -> dict:
    """Return the settings of a run of lejeune2024's figure 4 that its collector looks at."""
    published = {
        "sizes": [10, 100],
        "full": [0.3, 0.1],
        "fixed": [0.5, 0.3],
        "adaptive": [0.4, 0.2],
    }
    settings = {
        "dataset": {"name": dataset},
        "subset": subset,
        "variant": "baseline",
        "stop": {"patience": 20, "least_epochs": 0},
        "epochs": 1000,
        "published": published if subset == "fresh" or "ridges" in changes else None,
    }
    return settings | changes


TANGENT_RUNS = {
    "digits_published": tangent_settings("fresh"),
    "digits_corrected": tangent_settings("one"),
    "patches_corrected": tangent_settings("one", "photo_patches"),
    "digits_other": tangent_settings("one", variant="other"),
    "digits_ridge": tangent_settings("one", ridges=[0.1, 1.0]),
    "students": {},
}
TANGENT_FIGURES = {
    "fig1_kernel_alignment": ["students"],
    "fig3_kernel_diagonal": ["students"],
    "n1_learned_displacements": ["digits_corrected"],
    "n2_kernel_spectra": ["students", "digits_corrected"],
    "fig4_sample_complexity": [
        "digits_published",
        "digits_corrected",
        "patches_corrected",
        "digits_ridge",
    ],
    "c1_sample_ratios": [
        "digits_published",
        "digits_corrected",
        "patches_corrected",
        "digits_ridge",
    ],
    "c2_optimisation_speed": ["digits_published", "digits_corrected", "patches_corrected"],
    "c3_robustness": ["digits_corrected", "digits_other", "digits_ridge"],
}


def tangent_rows(run: str) -> Iterator[dict]:
    """Yield made-up measurements of one of lejeune2024's runs."""
    draw = np.random.default_rng(list(run.encode()))
    for seed in SEEDS:
        common = {"paper": "lejeune2024", "run": run, "seed": seed}
        if run == "students":
            for target in ("smooth", "sign"):
                end = {**common, "target": target, "step": 9, "epoch": 3.0, "split": "train"}
                yield {**end, "step": 0, "measure": "loss", "value": 1.0}
                for measure in STUDENT_MEASURES:
                    yield {**end, "measure": measure, "value": draw.uniform(0.1, 0.9)}
                for kernel in ("initial", "averaged", "final"):
                    for rank in range(1, 6):
                        value = draw.uniform(0.5, 1) / rank**2
                        shown = {"layer": str(rank), "measure": f"eigenvalue_{kernel}"}
                        yield {**end, **shown, "value": value}
            continue
        models = ("full", "fixed", "adaptive")
        for n in (10, 100):
            if "ridge" in run:
                for step in (0, 1):
                    for split in ("test", "held_out", "train"):
                        place = {"n_train": n, "step": step, "epoch": 0.0, "split": split}
                        value = (0.5 + 0.1 * step) / n**0.1 + 0.01 * draw.uniform()
                        yield {**common, **place, "measure": "error", "value": value}
                continue
            for hardness, model in enumerate(models):
                trained = {**common, "n_train": n, "model": model}
                for epoch in range(4):
                    now = {**trained, "epoch": float(epoch), "step": 2 * epoch}
                    level = (0.3 + 0.1 * hardness) * (1 + 1 / (1 + epoch)) / n**0.2
                    splits = ("test",) if "published" in run else ("test", "held_out")
                    for split in splits:
                        value = level * draw.uniform(0.95, 1.05)
                        yield {**now, "split": split, "measure": "error", "value": value}
                    seen = {"split": "train", "measure": "distinct_images"}
                    yield {**now, **seen, "value": n * max(1, epoch)}
                yield {**now, "split": "train", "measure": "error", "value": 0.01}
                for layer in ("linear1", "linear2"):
                    for rank in (1, 2, 4):
                        spectrum = {"layer": layer, "measure": f"singular_value_{rank}"}
                        yield {**now, **spectrum, "value": draw.uniform(1, 2) / rank}
                shown = {**now, "split": "test"}
                yield {**shown, "measure": "kernel_alignment", "value": draw.uniform()}
                for rank in (1, 2, 4):
                    value = draw.uniform(0.5, 1) / rank
                    yield {**shown, "measure": f"eigenvalue_share_{rank}", "value": value}


def tangent_collection(figure: str) -> Collection:
    """Measurements of the runs behind one of lejeune2024's figures."""
    runs = TANGENT_FIGURES[figure]
    rows = [row for run in runs for row in tangent_rows(run)]
    conditions = [c for c in ("target", "model", "n_train") if any(c in row for row in rows)]
    settings = {run: TANGENT_RUNS[run] for run in runs}
    return collection(figure, rows, settings, "lejeune2024", conditions)


def student_images() -> dict[str, np.ndarray]:
    """Return what ``experiments/lejeune2024/teacher_student.py`` leaves beside its table."""
    draw = np.random.default_rng(0)
    return {
        "y": np.linspace(-1, 1, 8, dtype=np.float32),
        "targets": np.array(["smooth", "sign"]),
        "change": draw.standard_normal((2, 8), dtype=np.float32),
        "kernel_averaged": draw.standard_normal((2, 8, 8)).astype(np.float16),
        "kernel_final": draw.standard_normal((2, 8, 8)).astype(np.float16),
        "diagonal_initial": draw.uniform(1, 2, 8).astype(np.float32),
        "diagonal_averaged": draw.uniform(1, 2, (2, 8)).astype(np.float32),
    }


@cache
def tables() -> dict[tuple[str, str], pd.DataFrame]:
    """Return a table for every figure, by paper and figure."""
    found = {
        ("baratin2021", figure): baratin2021.FIGURES[figure](make(figure))
        for figure, make in COLLECTIONS.items()
    }
    found["baratin2021", "fig5_supernat"] = regression()
    found["baratin2021", "fig6_complexity"] = complexity(sweeps("fig6_complexity"))
    for figure, collect in beaglehole2024.FIGURES.items():
        found["beaglehole2024", figure] = collect(ansatz_collection(figure))
    for figure, collect in lou2022.FIGURES.items():
        found["lou2022", figure] = collect(hierarchies(figure))
    for figure, collect in joint.FIGURES.items():
        found["joint", figure] = collect(both_instruments(figure))
    for figure, collect in lejeune2024.FIGURES.items():
        found["lejeune2024", figure] = collect(tangent_collection(figure))
    found["lejeune2024", "fig2_penalties"] = tidy(curves(np.linspace(0, 5, 11)), ["v"])
    return found


def disk_images() -> dict[str, np.ndarray]:
    """Return what ``experiments/baratin2021/eigenfunctions.py`` leaves beside its table."""
    draw = np.random.default_rng(0)
    return {
        "steps": np.array([0, 10, 30, 60, 100]),
        "ranks": np.array([1, 2, 3, 6]),
        "eigenfunctions": draw.standard_normal((5, 4, 6, 6), dtype=np.float32),
        "outputs": draw.standard_normal((5, 6, 6), dtype=np.float32),
    }


IMAGES = {
    ("baratin2021", "fig1_eigenfunctions"): disk_images,
    ("baratin2021", "a1_half_disk"): disk_images,
    ("beaglehole2024", "b7_speed_limits"): speed_limit_images,
    ("lejeune2024", "fig1_kernel_alignment"): student_images,
    ("lejeune2024", "fig3_kernel_diagonal"): student_images,
}
"""The arrays of each figure that shows some."""
