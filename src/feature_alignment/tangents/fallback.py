"""Gradients of parameters that no rule knows, by automatic differentiation of the whole network.

Exact for any parameter, however it is used: tied, parametrised, in a function, in a layer that is
called several times or that has no rule. It takes C backward passes through the network for each
example, which are vectorised where the network allows it, and writes every gradient out.
"""

import warnings
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from feature_alignment.tangents.memory import expect_room

VECTORISED = "vmap(jacrev)"
ONE_BY_ONE = "one backward pass per example and output"
BLOCK_BYTES = 2**28
"""How large the gradients of the examples that are differentiated at once may become."""


def written_gradients(
    model: nn.Module,
    inputs: Tensor,
    outputs: Tensor,
    wanted: Collection[str],
    *,
    vectorise: bool = True,
) -> tuple[dict[str, Tensor], str]:
    """Compute ∂f_c(x_i)/∂θ of some parameters, each example by itself.

    Args:
        model: Any module; its parameters and buffers stay as they are.
        inputs: (n, …). The model is given one example at a time, as (1, …).
        outputs: f of these inputs, (n, C), whose type gradients are computed in.
        wanted: Names of parameters.
        vectorise: Whether to try to vectorise.

    Returns:
        Gradients by parameter, (C, n, values), and how they were computed: :data:`VECTORISED`, or
        :data:`ONE_BY_ONE` where the network decides by its values or has operations that cannot
        be vectorised.

    Raises:
        MemoryError: If the gradients need more memory than there is, before any is computed.
        ValueError: If the model does not take one example by itself.
    """
    dtype = outputs.dtype
    values = {name: _cast(value, dtype) for name, value in model.named_parameters()}
    buffers = {name: _cast(value, dtype).clone() for name, value in model.named_buffers()}
    inputs = _cast(inputs, dtype)
    chosen = {name: values.pop(name) for name in wanted}
    (n, classes), size = outputs.shape, sum(value.numel() for value in chosen.values())
    what = f"the gradients of {n} examples and {classes} outputs in {size} parameters"
    lower = "the number of examples, or measure fewer layers (trainable_only=True)"
    expect_room((classes, n, size), outputs, what, lower)

    def answer(some: dict[str, Tensor], example: Tensor) -> Tensor:
        own = {name: value.clone() for name, value in buffers.items()}
        return torch.func.functional_call(model, (values | some, own), (example[None],))[0]

    found = {name: outputs.new_empty(classes, n, value.numel()) for name, value in chosen.items()}
    if vectorise:
        try:
            _vectorised(answer, chosen, inputs, found, outputs)
            return found, VECTORISED
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            pass  # vmap can't take it; a fault of the network itself comes up again below
    leaves = {name: value.detach().requires_grad_() for name, value in chosen.items()}
    with torch.enable_grad():
        for place, example in enumerate(inputs):
            try:
                own = answer(leaves, example)
            except (RuntimeError, IndexError) as error:
                raise ValueError(
                    f"the network does not take one example by itself: {error}"
                ) from error
            for c, value in enumerate(own):
                _write(value, leaves, found, c, place)
    return found, ONE_BY_ONE


def _vectorised(
    answer: Callable[[dict[str, Tensor], Tensor], Tensor],
    chosen: dict[str, Tensor],
    inputs: Tensor,
    found: dict[str, Tensor],
    outputs: Tensor,
) -> None:
    values = outputs.shape[1] * sum(value.numel() for value in chosen.values())
    step = max(1, BLOCK_BYTES // (values * outputs.element_size()))
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):  # others are not vectorised
        warnings.filterwarnings("ignore", "There is a performance drop")  # of one operation
        jacobian = torch.func.vmap(torch.func.jacrev(answer), in_dims=(None, 0))
        for start in range(0, len(inputs), step):
            part = inputs[start : start + step]
            for name, rows in jacobian(chosen, part).items():
                rows = rows.detach().flatten(2).transpose(0, 1)
                found[name][:, start : start + len(part)] = rows


def _write(
    value: Tensor, leaves: dict[str, Tensor], found: dict[str, Tensor], c: int, place: int
) -> None:
    gradients: list[Tensor | None] = [None] * len(leaves)
    if value.requires_grad:
        gradients = torch.autograd.grad(
            value, list(leaves.values()), retain_graph=True, allow_unused=True
        )
    for name, gradient in zip(leaves, gradients, strict=True):
        found[name][c, place] = 0 if gradient is None else gradient.flatten()


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.detach().to(dtype) if value.is_floating_point() else value.detach()
    return value.clone() if value.is_inference() else value
