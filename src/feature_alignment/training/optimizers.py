"""Optimisers by name: those of PyTorch, without what they import for ``torch.compile``.

The first step of an optimiser of PyTorch imports the compiler, which takes longer than many a
training of ours. What imports it are wrappers around its methods; the updates inside are the same.
"""

import inspect
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

OPTIMIZERS = ("sgd", "adam")


class Optimizer(torch.optim.Optimizer):
    """An optimiser whose methods are not prepared for ``torch.compile``, apart from ``step``."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)


class SGD(Optimizer, torch.optim.SGD):
    """:class:`torch.optim.SGD`, not prepared for ``torch.compile``."""

    _update = inspect.unwrap(torch.optim.SGD.step)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step."""
        return self._update(closure)


class Adam(Optimizer, torch.optim.Adam):
    """:class:`torch.optim.Adam`, not prepared for ``torch.compile``."""

    _update = inspect.unwrap(torch.optim.Adam.step)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step."""
        return self._update(closure)


def make_optimizer(
    name: str,
    parameters: Iterable[Tensor],
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    fused: bool = True,
) -> Optimizer:
    """Build an optimiser, by default with an update that is one fused operation per parameter.

    A step of a deep narrow network is many small operations, of which the usual form of an
    optimiser is a good part.

    Args:
        name: ``sgd``, v ← μ v + g, w ← w − η v; or ``adam``, whose averages of g and g² have the
            memories μ and 0.999. In both, g is the gradient plus the weight decay times w.
        parameters: What to train.
        learning_rate: η.
        momentum: μ.
        weight_decay: Coefficient of w in g.
        fused: Whether the update is fused; with momentum its last digits differ from the other's.

    Raises:
        ValueError: If the name is unknown.

    References:
        Kingma & Ba (2015) for Adam.
    """
    common = {"lr": learning_rate, "weight_decay": weight_decay, "fused": fused or None}
    if name == "sgd":
        # Unless fused, each operation goes over all parameters before the next one does: the same
        # numbers, without Python between one parameter and the next.
        return SGD(parameters, momentum=momentum, foreach=not fused, **common)
    if name == "adam":
        return Adam(parameters, betas=(momentum, 0.999), **common)
    raise ValueError(f"unknown optimiser {name!r}; expected one of {', '.join(OPTIMIZERS)}")
