"""Train on noisy linear regression, by gradient descent and by SuperNat, for figure 5."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from feature_alignment import command, provenance
from feature_alignment.randomness import seed_sequence
from feature_alignment.storage import read_json
from feature_alignment.tables import tidy, write_table
from feature_alignment.training import supernat
from feature_alignment.training.schedules import LogSpaced

CONDITIONS = ("n_train", "dimension", "noise_variance")
SCHEDULE = LogSpaced(first=1, ratio=1.5)

Examples = tuple[np.ndarray, np.ndarray]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table of training curves; see ``--help`` for the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--specs", type=Path, nargs="+", required=True, help="specs (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="table (CSV)")
    arguments = parser.parse_args(argv)
    specs = [read_json(path) for path in arguments.specs]
    scales = sorted({spec["scale"] for spec in specs})
    if len(scales) > 1:
        raise ValueError(f"expected specs of one scale, got {', '.join(scales)}")
    table = tidy((row for spec in specs for row in curves(spec)), CONDITIONS)
    module = "feature_alignment.papers.baratin2021.supernat"
    runs = {spec["run"]: spec["settings"] for spec in specs}
    described = {"figure": arguments.out.stem, "scale": scales[0], "runs": runs}
    trials = sorted({settings["trials"] for settings in runs.values()})
    write_table(
        arguments.out, table, provenance.describe(module, described, threads=1, seeds=trials)
    )


def curves(spec: Mapping) -> Iterator[dict]:
    """Yield the rows of one run: every trial trained by every method on the same examples.

    The measures end with the method's name. At logarithmically spaced steps they are ``mse`` on
    the train and validation splits and ``path_complexity``; at the last step there is also
    ``final_over_minimum``, the validation error there divided by the least one at those steps.

    Args:
        spec: A resolved spec; ``workflow/schemas/supernat.schema.yaml`` has its settings.
    """
    settings = spec["settings"]
    last = settings["steps"]
    steps = [step for step in range(last + 1) if step == last or SCHEDULE.due(step, None)]
    common = {"paper": spec["paper"], "run": spec["run"]}
    common |= {name: settings[name] for name in CONDITIONS}
    for trial in range(settings["trials"]):
        examples = draw(spec, trial)
        for method, rescaling in supernat.METHODS.items():
            path = supernat.train(*examples["train"], rescaling, settings["learning_rate"], steps)
            errors = {
                split: supernat.mean_squared_error(path.weights, *drawn)
                for split, drawn in examples.items()
            }
            worsening = errors["validation"][-1] / errors["validation"].min()
            series = [(split, "mse", steps, error) for split, error in errors.items()]
            series.append(("train", "path_complexity", steps, path.complexity))
            series.append(("validation", "final_over_minimum", steps[-1:], [worsening]))
            for split, measure, at, values in series:
                here = {**common, "seed": trial, "split": split, "measure": f"{measure}_{method}"}
                for step, value in zip(at, values, strict=True):
                    yield {**here, "step": step, "value": value}


def draw(spec: Mapping, trial: int) -> dict[str, Examples]:
    """Draw the examples of one trial: features (n, 1 + d) and targets (n,) by split.

    The target is y = φ + ε with φ ~ N(0, 1) and ε ~ N(0, σ²), the features are φ and d
    independent draws from N(0, 1/d).

    Args:
        spec: A resolved spec.
        trial: Number of the trial.
    """
    settings = spec["settings"]
    d, deviation = settings["dimension"], np.sqrt(settings["noise_variance"])
    examples = {}
    for split, size, purpose in (
        ("train", settings["n_train"], "subset"),
        ("validation", settings["n_validation"], "probe"),
    ):
        stream = seed_sequence(f"{spec['paper']}/{spec['run']}", trial, purpose)
        random = np.random.default_rng(stream)
        signal = random.standard_normal(size)
        features = np.column_stack([signal, random.standard_normal((size, d)) / np.sqrt(d)])
        examples[split] = features, signal + deviation * random.standard_normal(size)
    return examples


if __name__ == "__main__":
    command.run(main)
