"""The path complexity of a training run, summed while it goes on.

One step that moves the weights by δw adds at most ‖δw‖ √(Tr K / n) to the Rademacher complexity of
the functions reached so far, where K is the tangent kernel on n examples and Tr K / n the mean
squared length of a tangent feature, summed over outputs. The sum over the path,

    C = Σ_t ‖w_{t+1} − w_t‖₂ √(Tr K_t / n),

is the complexity measure of the whole run.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from feature_alignment.training.readings import Reading
from feature_alignment.training.schedules import LogSpaced

LOGGED = LogSpaced()
"""When the authors' code logs, besides after the first step."""

Trace = Callable[[nn.Module], float]


class PathComplexity:
    """Observer that sums the path complexity, and probe that reads it.

    ``path_complexity`` is C with K_t taken at w_t whenever ``refresh`` divides t, and kept in
    between. ``path_complexity_coarse`` sums ‖w_{s'} − w_s‖₂ √(Tr K_{s'} / n) over pairs s < s' of
    successive logged iterations: 1, those of :data:`LOGGED`, and that of the reading. It is smaller
    where the path turns between them. ``path_length`` is Σ_t ‖w_{t+1} − w_t‖₂ and
    ``kernel_trace`` is Tr K / n at the reading. All have the split ``train``. Reading changes
    nothing.

    Args:
        model: At the start of the path; all its parameters count.
        trace: From the model to the trace of its uncentred tangent kernel, summed over outputs.
        examples: n, how many examples ``trace`` sums over.
        refresh: Steps between two traces.

    Raises:
        ValueError: If ``examples`` or ``refresh`` is less than 1.

    References:
        Baratin et al. (2021), figure 6 and the complexity bound behind it. The authors' code has
        the terms of the coarse sum, K on 100 training examples. Departs from: the sum over every
        step, and traces renewed every ``refresh`` steps, are ours; the paper's figure does not say.
    """

    def __init__(self, model: nn.Module, trace: Trace, examples: int, refresh: int):
        if examples < 1 or refresh < 1:
            raise ValueError(
                "expected at least one example and one step between traces, got "
                f"examples={examples}, refresh={refresh}"
            )
        self._trace, self._examples, self._refresh = trace, examples, refresh
        self._weights = self._logged = _weights(model)
        self._step = 0
        self._complexity = self._coarse = self._length = 0.0
        self._scale = self._root_mean_trace(model)

    def after_step(self, model: nn.Module) -> None:
        """Add the step that the model has just taken."""
        weights = _weights(model)
        length = _distance(weights, self._weights)
        self._complexity += length * self._scale
        self._length += length
        self._weights = weights
        self._step += 1
        if self._step % self._refresh == 0:
            self._scale = self._root_mean_trace(model)
        if self._step == 1:
            self._logged = weights
        elif LOGGED.due(self._step, None):
            self._coarse += self._since_logged(model)
            self._logged = weights

    def __call__(self, model: nn.Module) -> Iterator[Reading]:
        """Read the sums at the model, which is where the last step led."""
        scale = self._root_mean_trace(model)
        coarse = self._coarse + self._since_logged(model)
        yield Reading("path_complexity", self._complexity, split="train")
        yield Reading("path_complexity_coarse", coarse, split="train")
        yield Reading("path_length", self._length, split="train")
        yield Reading("kernel_trace", scale**2, split="train")

    def state(self) -> dict:
        """Return the sums and the weights at the last logged iteration."""
        return {
            "step": self._step,
            "complexity": self._complexity,
            "coarse": self._coarse,
            "length": self._length,
            "scale": self._scale,
            "logged": self._logged,
        }

    def restore(self, model: nn.Module, state: dict) -> None:
        """Take up the state of :meth:`state`."""
        self._weights = _weights(model)
        self._step = state["step"]
        self._complexity, self._coarse = state["complexity"], state["coarse"]
        self._length, self._scale = state["length"], state["scale"]
        self._logged = state["logged"].to(self._weights.device)

    def _root_mean_trace(self, model: nn.Module) -> float:
        return math.sqrt(self._trace(model) / self._examples)

    def _since_logged(self, model: nn.Module) -> float:
        return _distance(_weights(model), self._logged) * self._root_mean_trace(model)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def _distance(first: Tensor, second: Tensor) -> float:
    # In float64: long float32 sums of small squares lose digits.
    return torch.linalg.vector_norm(first - second, dtype=torch.float64).item()
