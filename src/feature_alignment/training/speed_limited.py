"""Speed Limited Optimisation: gradient descent whose layers move at speeds of one's choice."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from feature_alignment.training.optimizers import Optimizer

SMALLEST_NORM = 1e-12
"""Added to the norm of a gradient, so that a zero gradient moves nothing."""


class SpeedLimited(Optimizer):
    """Gradient descent with the length of every parameter's step set.

        W_l ← W_l − η s_l g_l / (‖g_l‖_F + 1e-12),

    so that W_l moves by η s_l per step whatever the size of its gradient g_l. With the speed of one
    layer far above the others it is this layer that learns.

    References:
        Beaglehole et al. (2024), Speed Limited Optimisation (from memory; no code of the authors is
        public).
    """

    def __init__(self, parameters: Iterable[Tensor], speeds: Iterable[float], learning_rate: float):
        """Set up a group per parameter.

        Args:
            parameters: W_1, W_2, ….
            speeds: s_1, s_2, …, not negative, one per parameter.
            learning_rate: η.

        Raises:
            ValueError: If the numbers of parameters and speeds differ, or a speed is negative.
        """
        parameters, speeds = list(parameters), list(speeds)
        if len(parameters) != len(speeds):
            raise ValueError(
                f"expected a speed for each of {len(parameters)} parameters, got {len(speeds)}"
            )
        if min(speeds, default=0) < 0:
            raise ValueError(f"expected speeds of at least 0, got {min(speeds)}")
        groups = [{"params": [p], "speed": s} for p, s in zip(parameters, speeds, strict=True)]
        super().__init__(groups, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; parameters without a gradient stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    length = torch.linalg.vector_norm(parameter.grad) + SMALLEST_NORM
                    parameter -= group["lr"] * group["speed"] / length * parameter.grad
        return loss
