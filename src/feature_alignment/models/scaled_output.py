"""A network whose change is magnified: the way from rich to lazy training."""

import copy

from torch import Tensor, nn


class ScaledOutput(nn.Module):
    """f_α(x) = α (f(x) − f₀(x)), where f is learned and f₀ is f as it was built.

    With a loss that is divided by α², gradient flow on f_α moves its outputs at a rate that does
    not depend on α at the start, while the weights move by about 1/α: large α is lazy, with nearly
    constant tangent kernel, and small α rich.

    References:
        Chizat, Oyallon & Bach, "On lazy training in differentiable programming" (2019).
    """

    def __init__(self, network: nn.Module, scale: float):
        """Take a network and keep a copy of it.

        Args:
            network: f, as it is before training.
            scale: α, above 0.

        Raises:
            ValueError: If α is not above 0.
        """
        super().__init__()
        if not scale > 0:
            raise ValueError(f"expected an output scale above 0, got {scale}")
        self.learned = network
        self.initial = copy.deepcopy(network).requires_grad_(False)
        self.scale = scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Return α (f(x) − f₀(x))."""
        return self.scale * (self.learned(inputs) - self.initial(inputs))
