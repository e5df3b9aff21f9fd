"""Networks of any layers linearised in their parameters, by derivatives along a direction.

For a network f at θ0 the model

    f(x; θ0) + J(x) δ,    J(x) δ = d/dt f(x; θ0 + t δ) at t = 0,

needs one forward pass with tangents, whatever f is made of: batch norm in evaluation mode, pooling,
smooth activations, attention. :mod:`feature_alignment.tangents.linearized` is several times faster
and holds less where the network is a chain of linear layers or convolutions with ReLUs.
"""

import copy
import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from feature_alignment.tangents.adaptive import AdaptiveConv2d, AdaptiveLinear
from feature_alignment.tangents.capture import check_modes
from feature_alignment.tangents.verify import check_inputs

Kind = Literal["fixed", "adaptive"]


class DirectionalModel(nn.Module):
    """Base outputs plus derivatives along displacements of the base's parameters.

    With *fixed* features displacements are free. With *adaptive* ones those of linear layers, and
    of convolutions without groups and padded with zeros, are the products of factors of
    :mod:`feature_alignment.tangents.adaptive`; those of all other parameters stay free. At the
    start displacements are zero, and the model equals its base.
    """

    def __init__(self, network: nn.Module, kind: Kind):
        """Freeze a copy of ``network`` and set all displacements to zero.

        Args:
            network: In evaluation mode.
            kind: ``fixed`` or ``adaptive``.

        Raises:
            ValueError: If batch norm uses the statistics of the batch, dropout is on, or there is
                no such kind.
        """
        super().__init__()
        if kind not in ("fixed", "adaptive"):
            raise ValueError(f"expected fixed or adaptive, got {kind!r}")
        check_modes(network)
        self.base = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self.base.training = network.training
        self.factored = nn.ModuleList()
        self.free = nn.ParameterList()
        self._layers: list[str] = []
        self._names: list[str] = []
        owned = set()
        for name, module in self.base.named_modules() if kind == "adaptive" else ():
            factors = _factors(module)
            parameters = {id(value) for value in module.parameters(recurse=False)}
            if factors is not None and not parameters & owned:
                self.factored.append(factors)
                self._layers.append(f"{name}." if name else "")
                owned |= parameters
        for name, value in self.base.named_parameters():
            if id(value) not in owned:
                self.free.append(nn.Parameter(torch.zeros_like(value)))
                self._names.append(name)

    def delta(self) -> dict[str, Tensor]:
        """Return δ by the names of the network's parameters, differentiable in what is trained."""
        found = dict(zip(self._names, self.free, strict=True))
        for prefix, factors in zip(self._layers, self.factored, strict=True):
            found[f"{prefix}weight"] = factors.weight
            if factors.bias is not None:
                found[f"{prefix}bias"] = factors.bias
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """Return f(x; θ0) + J(x) δ, (n, C), for inputs (n, …).

        Raises:
            ValueError: If the inputs do not suit the network.
        """
        check_inputs(self.base, inputs)
        values = dict(self.base.named_parameters())
        buffers = {name: value.clone() for name, value in self.base.named_buffers()}
        delta = self.delta()
        along = {name: delta[name].to(value) for name, value in values.items()}

        def answer(parameters: dict[str, Tensor]) -> Tensor:
            return torch.func.functional_call(self.base, (parameters, buffers), (inputs,))

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.jit", FutureWarning)  # torch's own, of jvp
            outputs, tangent = torch.func.jvp(answer, (values,), (along,))
        return outputs + tangent

    def train(self, mode: bool = True) -> "DirectionalModel":
        """Set the mode of the displacements; the base stays in evaluation mode."""
        self.training = mode
        return self


def _factors(module: nn.Module) -> nn.Module | None:
    own = dict(module.named_parameters(recurse=False))
    if not own.keys() <= {"weight", "bias"}:
        return None
    if type(module) is nn.Linear:
        return AdaptiveLinear(module)
    if type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros":
        return AdaptiveConv2d(module)
    return None
