"""Train on noisy linear regression, by gradient descent and by SuperNat, for figure 5."""

import numpy as np

from feature_alignment.run.context import Run
from feature_alignment.training import supernat
from feature_alignment.training.readings import Measurement
from feature_alignment.training.schedules import LogSpaced

SCHEDULE = LogSpaced(first=1, ratio=1.5)
DTYPE = "float64"

Examples = tuple[np.ndarray, np.ndarray]


def measure(run: Run) -> None:
    """Train once by every method on the same examples."""
    run.complete(lambda _: curves(run))


def curves(run: Run) -> list[Measurement]:
    """Train by every method and return the measurements; their names end with the method's.

    At logarithmically spaced steps they are ``mse`` on the train and validation splits and
    ``path_complexity``; at the last step there is also ``final_over_minimum``, the validation error
    there divided by the least one at those steps.
    """
    last, rate = run.settings["steps"], run.settings["learning_rate"]
    steps = [step for step in range(last + 1) if step == last or SCHEDULE.due(step, None)]
    examples = draw(run)
    found = []
    for method, rescaling in supernat.METHODS.items():
        path = supernat.train(*examples["train"], rescaling, rate, steps)
        errors = {
            split: supernat.mean_squared_error(path.weights, *drawn)
            for split, drawn in examples.items()
        }
        worsening = errors["validation"][-1] / errors["validation"].min()
        series = [(split, "mse", steps, error) for split, error in errors.items()]
        series.append(("train", "path_complexity", steps, path.complexity))
        series.append(("validation", "final_over_minimum", steps[-1:], [worsening]))
        for split, name, at, values in series:
            for step, value in zip(at, values, strict=True):
                found.append(Measurement(step, None, f"{name}_{method}", float(value), split=split))
    return found


def draw(run: Run) -> dict[str, Examples]:
    """Draw the examples: features (n, 1 + d) and targets (n,) by split.

    The target is y = φ + ε with φ ~ N(0, 1) and ε ~ N(0, σ²), the features are φ and d
    independent draws from N(0, 1/d).
    """
    settings = run.settings
    d, deviation = settings["dimension"], np.sqrt(settings["noise_variance"])
    examples = {}
    for split, size, purpose in (
        ("train", settings["n_train"], "subset"),
        ("validation", settings["n_validation"], "probe"),
    ):
        random = np.random.default_rng(run.seed_sequence(purpose))
        signal = random.standard_normal(size)
        features = np.column_stack([signal, random.standard_normal((size, d)) / np.sqrt(d)])
        examples[split] = features, signal + deviation * random.standard_normal(size)
    return examples
