"""A user's model and batch, in the form that every instrument takes.

Instruments ask for a module that maps inputs (n, …) to outputs (n, C). A model may also take
several arguments and return a dictionary, a tuple, (n,) or (n, T, C): :class:`Adapted` is that
model with its batch picked apart and its outputs put together.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_alignment.tangents.verify import check_inputs, undisturbed, working_dtype

Batch = Tensor | Mapping[str, Tensor] | tuple[Tensor, Tensor] | list[Tensor]
"""Inputs (n, …); a mapping from the arguments of the model's ``forward`` to tensors (n, …); or the
pair (x, y) that a DataLoader gives."""
Output = Callable[[object], Tensor]
"""From what a model returns to a tensor (n,), (n, C) or (n, …)."""
PREFIX = "model."


class Adapted(nn.Module):
    """A model that is called with the places of examples, or with inputs, and returns (n, C).

    Args:
        model: The user's, which becomes the submodule ``model``.
        batch: Its arguments by name, from which the examples are picked; ``None`` where the inputs
            are given as they are.
        output: From what it returns to a tensor whose first axis is that of the examples.
    """

    def __init__(self, model: nn.Module, batch: Mapping[str, Tensor] | None, output: Output | None):
        super().__init__()
        self.model = model
        self.outer = (output,)  # where it is a module, it is not a part of this one
        self.arguments = None if batch is None else list(batch)
        for place, value in enumerate((batch or {}).values()):
            self.register_buffer(f"argument{place}", value)
        self.training = model.training

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the model's outputs as (n, C)."""
        if self.arguments is None:
            found = self.model(inputs)
        else:
            values = (getattr(self, f"argument{p}") for p in range(len(self.arguments)))
            found = self.model(
                **{name: value[inputs] for name, value in zip(self.arguments, values, strict=True)}
            )
        [output] = self.outer
        if output is not None:
            found = output(found)
        return found.reshape(len(inputs), -1)


@dataclass(frozen=True)
class Prepared:
    """A module that maps ``inputs`` (n, …) to (n, C), and the targets that came with them."""

    module: nn.Module
    inputs: Tensor
    targets: Tensor | None
    shape: torch.Size
    """Of one example's outputs, before they were put together."""

    def name(self, layer: str) -> str:
        """Return a layer's name in the user's model."""
        if not isinstance(self.module, Adapted):
            return layer
        return "" if layer == "model" else layer.removeprefix(PREFIX)

    def text(self, message: str) -> str:
        """Return a message with the names of the user's model."""
        return message.replace(f"'{PREFIX}", "'") if isinstance(self.module, Adapted) else message


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and every module back into its own afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


def prepared(
    model: nn.Module, x: Batch, y: Tensor | None = None, output: Output | None = None
) -> Prepared:
    """Bring a model and a batch into the form that instruments take.

    Args:
        model: In evaluation mode.
        x: See :data:`Batch`. Of a pair, the second is taken for ``y``.
        y: Targets or labels, (n, …).
        output: See :data:`Output`. Without it the model returns (n, C) or (n,).

    Raises:
        ValueError: If the batch is none of these, or the model returns something that ``output``
            has to turn into a tensor first.
    """
    if isinstance(x, tuple | list):
        if len(x) != 2 or y is not None:
            raise ValueError(
                f"expected x as a tensor, a mapping or the pair (x, y), got a {type(x).__name__} "
                f"of {len(x)}; give a model with several inputs a mapping from the names of its "
                "arguments to tensors"
            )
        x, y = x
    batch = None
    if isinstance(x, Mapping):
        lengths = {name: len(value) for name, value in x.items() if isinstance(value, Tensor)}
        if len(lengths) < len(x) or len(set(lengths.values())) != 1:
            raise ValueError(
                "expected a mapping to tensors with the examples on the first axis, got "
                + ", ".join(f"{name}: {_told(value)}" for name, value in x.items())
            )
        batch = dict(x)
        device = next(iter(batch.values())).device
        x = torch.arange(next(iter(lengths.values())), device=device)
    if not isinstance(x, Tensor):
        raise ValueError(f"expected x as a tensor, a mapping or (x, y), got a {type(x).__name__}")
    check_inputs(model, x)
    found = _first(model, x, batch)
    if output is not None:
        found = output(found)
    if not isinstance(found, Tensor):
        known = f" with {', '.join(map(str, found))}" if isinstance(found, Mapping) else ""
        raise ValueError(
            f"the model returns a {type(found).__name__}{known}; say which part of it is measured "
            "by output=, such as output=lambda found: found['logits']"
        )
    if output is None and found.ndim not in (1, 2):
        raise ValueError(
            f"the model returns the shape {tuple(found.shape)} for one example; say which part "
            "of it is measured by output=, such as output=lambda found: found.mean(dim=1), or "
            "output=lambda found: found for every place as an output of its own"
        )
    if found.ndim == 0 or len(found) != 1:
        raise ValueError(
            f"expected the examples on the first axis of the outputs, got the shape "
            f"{tuple(found.shape)} for one example"
        )
    if batch is None and output is None and found.ndim == 2:
        return Prepared(model, x, y, found.shape[1:])
    wrapped = Adapted(model, batch, output)
    wrapped.training = False
    return Prepared(wrapped, x, y, found.shape[1:])


def _first(model: nn.Module, x: Tensor, batch: Mapping[str, Tensor] | None) -> object:
    """Return what the model returns for the first example, and leave its buffers as they are."""
    dtype = working_dtype(model)

    def cast(value: Tensor) -> Tensor:
        return value.detach().to(dtype) if value.is_floating_point() else value.detach()

    values = {name: cast(value) for name, value in model.named_parameters()}
    values |= {name: cast(value).clone() for name, value in model.named_buffers()}
    given = (cast(x[:1]),) if batch is None else ()
    named = {} if batch is None else {name: cast(value[:1]) for name, value in batch.items()}
    try:
        with undisturbed(model):
            return torch.func.functional_call(model, values, given, named)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ValueError(f"the model does not take one example by itself: {error}") from error


def targets_of(y: Tensor | None, made: Prepared, outputs: Tensor, *, centered: bool) -> Tensor:
    """Return targets (n, C) in the type of the outputs: one-hot labels, or values as they are.

    Args:
        y: Labels, whole numbers (n,) or, where an example has outputs (T, C), (n, T); or values,
            as many as the outputs.
        made: The model and its inputs.
        outputs: f, (n, C).
        centered: Whether to subtract their mean over the examples.

    Raises:
        ValueError: If there are no targets, they do not fit the outputs, or are the same for all
            examples.
    """
    if y is None:
        raise ValueError("expected targets: give y, or the pair (x, y) in place of x")
    y = torch.as_tensor(y, device=outputs.device)
    shape = (len(outputs), *made.shape)
    labels = not y.is_floating_point() and tuple(y.shape) == shape[:-1] and shape[-1:] != (1,)
    if labels:
        classes = shape[-1]
        if y.min() < 0 or y.max() >= classes:
            raise ValueError(
                f"expected labels from 0 to {classes - 1} for {classes} outputs, got "
                f"{int(y.min())} to {int(y.max())}"
            )
        found = F.one_hot(y.long(), classes)
    elif y.numel() == outputs.numel() and len(y) == len(outputs):
        found = y
    else:
        raise ValueError(
            f"expected labels of shape {shape[:-1]} (whole numbers) or values of shape {shape}, "
            f"got {_told(y)}"
        )
    found = found.reshape(outputs.shape).to(outputs.dtype)
    if centered:
        found = found - found.mean(dim=0)
    if not found.any():
        raise ValueError(
            "the targets are the same for all examples, or zero: no alignment is defined"
        )
    return found


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
