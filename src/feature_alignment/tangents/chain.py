"""Chains of plain layers, and the check that the network computes what a walk along it computes.

An instrument that walks a chain module by module is right only if the network does the same. Two
things are verified. Of the structure: the modules, repeats included, are called in order by the
``forward`` of :class:`torch.nn.Sequential`, each is exactly of a known type, and no two layers
share a parameter. Of the numbers: the walk's outputs and gradients, on examples of the measurement
itself, are those of calling the network, whatever hooks it has (see
:mod:`feature_alignment.tangents.verify`).
"""

from collections import Counter
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from feature_alignment.tangents.verify import DISAGREEMENT, Account, run, verify

HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def chain_of(
    network: nn.Module, known: Collection[type[nn.Module]], *, what: str, otherwise: str
) -> list[tuple[str, nn.Module]]:
    """Return names and modules in the order of their calls, a module as often as it is called.

    Args:
        network: What should be a chain.
        known: The types of modules that may be in it.
        what: What is known of chains of these types, for the errors.
        otherwise: What to do with a network that is not a chain, for the errors.

    Raises:
        ValueError: If the network is not a :class:`torch.nn.Sequential` with its ``forward``; if a
            module is of another type, subclasses included, is parametrised or has a ``forward``
            of its own; if a layer is called twice or shares a parameter.
    """
    if not isinstance(network, nn.Sequential) or _replaces_forward(network, nn.Sequential):
        raise ValueError(
            f"expected an nn.Sequential that calls its modules in order, got a "
            f"{type(network).__name__} with a forward of its own; {otherwise}"
        )
    chain = list(network._modules.items())  # named_children() leaves repeats out
    listed = ", ".join(kind.__name__ for kind in known)
    for name, module in chain:
        kind = type(module)
        if kind not in known:
            raise ValueError(
                f"{name!r} is a {kind.__name__}; {what} are known for a sequence of plain {listed}"
                f"{_derived(module, known)}; {otherwise}"
            )
        if _replaces_forward(module, kind):
            raise ValueError(
                f"the forward of {name!r}, a {kind.__name__}, was replaced on the instance; "
                "delete the replacement"
            )
        own = {key for key, value in module._parameters.items() if value is not None}
        if own - {"weight", "bias"} or {"weight", "bias"} & (vars(module) | module._buffers).keys():
            raise ValueError(
                f"weight and bias of {name!r}, a {kind.__name__}, are not its parameters, but "
                "computed or fixed; make the layer plain first, with remove_weight_norm, "
                "remove_spectral_norm or prune.remove of torch.nn.utils"
            )
    owners = Counter(id(parameter) for _, module in chain for parameter in module.parameters())
    for name, module in chain:
        if any(owners[id(parameter)] > 1 for parameter in module.parameters()):
            raise ValueError(
                f"layer {name!r} is called twice or shares a parameter with another layer: its "
                "weights are tied; give each call a layer with parameters of its own"
            )
    return chain


def walk(module: nn.Module, values: Tensor) -> Tensor:
    """Return a plain module's outputs, without hooks and without changing ``values``."""
    if type(module) is nn.ReLU:
        return F.relu(values)  # the module's own may work in place
    return type(module).forward(module, values)


def has_hooks(network: nn.Module) -> bool:
    """Return whether the network, one of its modules or all modules have forward or backward hooks.

    A chain without hooks computes what its structure says, for each example alike. Hooks may do
    anything with any example.
    """
    registries = [getattr(nn.modules.module, f"_global_{kind}") for kind in HOOKS]
    for module in network.modules():
        registries += [getattr(module, f"_{kind}") for kind in HOOKS]
    return any(registries)


def verify_walk(
    network: nn.Module, inputs: Tensor, account: Account, in_double: Callable[[], Account]
) -> None:
    """Check what a walk along a chain found against the network, as :func:`verify` does.

    Of a network without hooks the structure is known, and the first example will do. With hooks
    it is several, and the outputs of all.

    Raises:
        ValueError: As :func:`verify`; or if autograd does not differentiate the network.
    """
    hooked = has_hooks(network)
    try:
        verify(network, inputs if hooked else inputs[:1], account, in_double)
    except RuntimeError as error:
        raise ValueError(
            "the network cannot be differentiated, so that the chain cannot be verified; make "
            f"operations out-of-place: {error}"
        ) from error
    if not hooked:
        return
    dtype = account.outputs.dtype
    with torch.no_grad():
        outputs, _ = run(network, inputs, dtype, ())
    error, scale = ((account.outputs - part).abs().max() for part in (outputs, 0))
    if not error <= DISAGREEMENT[dtype] * scale:
        raise ValueError(
            f"hooks change the network's outputs by {error:.2g} (of {scale:.2g}); remove them, or "
            "write what they do as modules"
        )


def _replaces_forward(module: nn.Module, kind: type[nn.Module]) -> bool:
    return type(module).forward is not kind.forward or "forward" in vars(module)


def _derived(module: nn.Module, known: Collection[type[nn.Module]]) -> str:
    """Return what to add to an error where the module is nearly of a known type."""
    if parametrize.is_parametrized(module):
        return " (call torch.nn.utils.parametrize.remove_parametrizations first)"
    for kind in known:
        if isinstance(module, kind):
            return (
                f" (a subclass of {kind.__name__} may compute something else: put a plain "
                f"{kind.__name__} with the same values in its place)"
            )
    return ""
