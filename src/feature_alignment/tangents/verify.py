"""Whether what an instrument says of a network is true, asked of the network itself.

An instrument assumes a structure: rows that are examples, one call per layer, a plain forward
function, no hook that changes what a layer returns. :func:`verify` trusts none of it. A few
examples are run by themselves, without the others and without the instrument, and its outputs and
its gradients with respect to the parameters must be those of automatic differentiation.

What each instrument does, in this order:

1. :func:`check_inputs` before anything runs;
2. everything else inside :func:`undisturbed`, so that neither autocast nor random numbers enter;
3. its own work on :func:`run`, or on a copy of the network in :func:`working_dtype`;
4. :func:`check_outputs`, then :func:`verify` with an :class:`Account` of what it found.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import inf, prod, sqrt
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

DISAGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-6}
"""By how much a layer's gradient may be off, of its own length; what fails in float32 is decided
in float64, where nothing but a fault is that large."""
EXAMPLES = 4
"""How many examples are run again."""
EVERY = 10
"""Of calls with one network and inputs alike, the first is verified and then every tenth."""
NEGLIGIBLE = {torch.float32: 1e-8, torch.float64: 1e-12}
"""The same, of the length of the whole gradient: a layer with less of it holds only rounding."""


class LayerFault(ValueError):
    """What is assumed of one layer does not hold; ``layer`` is its name in the network."""

    def __init__(self, layer: str, message: str):
        super().__init__(message)
        self.layer = layer


@dataclass(frozen=True)
class Account:
    """What an instrument says of n examples, to be verified.

    ``outputs`` (n, C) is f; ``gradients`` takes the place i of an example and v (C,) to the
    gradients of Σ_c v_c f_c(x_i), by the name of the parameter in the network, each with as many
    values as the parameter. Parameters that it does not name are not compared. ``sums``, if it
    knows how, takes places and v (k, C) to the sum of these over the places at once.
    """

    outputs: Tensor
    gradients: Callable[[int, Tensor], Mapping[str, Tensor]]
    sums: Callable[[list[int], Tensor], Mapping[str, Tensor]] | None = None

    def summed(self, places: list[int], weights: Tensor) -> dict[str, Tensor]:
        """Return the gradients of Σ_ic v_ic f_c(x_i), by parameter; v is (k, C)."""
        if self.sums is not None:
            return dict(self.sums(places, weights))
        found: dict[str, Tensor] = {}
        for place, own in zip(places, weights, strict=True):
            for name, part in self.gradients(place, own).items():
                found[name] = found[name] + part if name in found else part
        return found


def working_dtype(model: nn.Module) -> torch.dtype:
    """Return the type that instruments compute in: the parameters' own, but float32 for half.

    Sums of many products in float16 or bfloat16 keep hardly a digit.

    Raises:
        ValueError: If the model has no parameters, or complex, uninitialised or scattered ones.
    """
    parameters = dict(model.named_parameters())
    if not parameters:
        raise ValueError("the model has no parameters; there is no tangent to take")
    for name, parameter in parameters.items():
        if isinstance(parameter, UninitializedParameter):
            raise ValueError(f"{name!r} is not initialised; call the lazy model once before")
        if not parameter.is_floating_point():
            raise ValueError(
                f"{name!r} has the type {parameter.dtype}; expected real floating-point parameters"
            )
    devices = {str(parameter.device) for parameter in parameters.values()}
    if len(devices) > 1:
        raise ValueError(
            f"the parameters lie on {', '.join(sorted(devices))}; expected one device; move the "
            "model with model.to(device)"
        )
    dtype = torch.float32
    for parameter in parameters.values():
        dtype = torch.promote_types(dtype, parameter.dtype)
    return dtype


def check_inputs(model: nn.Module, inputs: Tensor) -> torch.dtype:
    """Check that ``inputs`` (n, …) suit the model, and return its :func:`working_dtype`.

    Raises:
        ValueError: If inputs are not a tensor, have no examples, lie on another device, have a
            type that no parameter has, or are not finite; or see :func:`working_dtype`.
    """
    dtype = working_dtype(model)
    if not isinstance(inputs, Tensor):
        raise ValueError(f"expected inputs as one tensor (n, …), got a {type(inputs).__name__}")
    if inputs.ndim == 0 or inputs.numel() == 0:
        raise ValueError(
            f"expected inputs (n, …) of one example or more, got the shape {tuple(inputs.shape)}"
        )
    device = next(model.parameters()).device
    if inputs.device != device:
        raise ValueError(
            f"the inputs are on {inputs.device}, the model is on {device}; call inputs.to(…)"
        )
    if inputs.is_complex():
        raise ValueError(f"expected real inputs, got {inputs.dtype}")
    known = {parameter.dtype for parameter in model.parameters()} | {dtype}
    if inputs.is_floating_point() and inputs.dtype not in known:
        raise ValueError(
            f"the inputs are {inputs.dtype}, the model is "
            f"{next(model.parameters()).dtype}; call inputs.to(…) or model.to(…)"
        )
    check_finite(inputs, "the inputs")
    return dtype


def check_outputs(outputs: object, count: int, dtype: torch.dtype) -> None:
    """Check that a network's outputs are (n, C), finite and in the working type.

    Raises:
        ValueError: If they are not.
    """
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != count:
        raise ValueError(
            f"expected outputs of shape ({count}, C), got {shape}; end the network with a layer "
            "that returns one row per example"
        )
    if outputs.shape[1] == 0:
        raise ValueError(f"expected outputs of shape ({count}, C) with C ≥ 1, got {shape}")
    if outputs.dtype != dtype:
        raise ValueError(
            f"expected outputs in {dtype}, got {outputs.dtype}; take casts and autocast out of the "
            "network's forward"
        )
    check_finite(outputs, "the outputs")


def check_finite(values: Tensor, what: str) -> None:
    """Check that a tensor has neither NaN nor infinite values.

    Raises:
        ValueError: If it has.
    """
    # A sum is much cheaper than a mask, and not finite where one term is not.
    if values.is_floating_point() and not torch.isfinite(values.detach().sum()):
        if torch.isfinite(values.detach()).all():
            return  # the sum overflowed
        raise ValueError(
            f"{what} are not finite: they have NaN or infinite values; clean the inputs, or look "
            "whether training diverged"
        )


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch autocast off: products of what was captured are taken in its own type."""
    with ExitStack() as stack:
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Switch autocast off, and refuse a forward pass that draws random numbers.

    Inside, gradients and inference mode are off, whatever they are outside. The states of the
    random generators of torch (processor and the model's device), numpy and Python are afterwards
    what they were before.

    Raises:
        ValueError: If a generator was used.
    """
    device = next(model.parameters()).device
    before, fault = _generators(device), None
    try:
        with full_precision(device), torch.inference_mode(False), torch.no_grad():
            yield
    except ValueError as error:  # of which random numbers are the better explanation
        fault = error
    finally:
        drawn = _generators(device) != before
        _restore(device, before)
    if drawn:
        raise ValueError(
            "the forward pass draws random numbers (dropout, stochastic depth, RReLU or noise, be "
            "it a module or a function), so that no answer is the answer; call model.eval(), and "
            "let functions such as F.dropout and scaled_dot_product_attention obey self.training"
        ) from fault
    if fault:
        raise fault


def _generators(device: torch.device) -> dict[str, object]:
    """Return the states of the random generators, comparable by ==."""
    name, *numbers = np.random.get_state()  # noqa: NPY002 - whoever uses it
    states = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "python": random.getstate(),
        "numpy": (name, numbers[0].tobytes(), *numbers[1:]),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device).numpy().tobytes()
    return states


def _restore(device: torch.device, states: dict[str, object]) -> None:
    now = _generators(device)
    if now["torch"] != states["torch"]:
        torch.set_rng_state(_tensor(states["torch"]))
    if now["python"] != states["python"]:
        random.setstate(states["python"])
    if now["numpy"] != states["numpy"]:
        name, keys, *rest = states["numpy"]
        np.random.set_state((name, np.frombuffer(keys, np.uint32), *rest))  # noqa: NPY002
    if now.get("cuda") != states.get("cuda"):
        torch.cuda.set_rng_state(_tensor(states["cuda"]), device)


def _tensor(state: bytes) -> Tensor:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)


def run(
    model: nn.Module, inputs: Tensor, dtype: torch.dtype, wanted: Collection[str]
) -> tuple[object, dict[str, Tensor]]:
    """Call the model on copies of its buffers and leaves in place of its parameters.

    So nothing of the model changes, whatever it does. Call with gradients switched on.

    Args:
        model: Any module.
        inputs: (n, …).
        dtype: What floating-point parameters, buffers and inputs are cast to.
        wanted: The names of the parameters that gradients are taken for.

    Returns:
        What the model returned, and the leaves by name.
    """
    leaves = {
        name: _own(parameter, dtype).requires_grad_(name in wanted)
        for name, parameter in model.named_parameters()
    }
    buffers = {name: _own(value, dtype, copy=True) for name, value in model.named_buffers()}
    given = _own(inputs, dtype, copy=True)
    return torch.func.functional_call(model, (leaves, buffers), (given,)), leaves


def _own(value: Tensor, dtype: torch.dtype, *, copy: bool = False) -> Tensor:
    cast = value.detach().to(dtype) if value.is_floating_point() else value.detach()
    if copy or cast.is_inference():  # which cannot require gradients
        return cast.clone()
    return cast


class Turns:
    """Whose turn it is to be verified: what training measures again and again, now and then.

    Networks are known by weak reference, and their state by all that decides which function they
    are of inputs and parameters, as far as it is to be seen: modules with their types, numbers,
    flags and own ``forward``, hooks, and the form of the inputs. Whatever changes of it, the next
    call is verified.
    """

    def __init__(self):
        self._counts: WeakKeyDictionary[nn.Module, dict[tuple, int]] = WeakKeyDictionary()

    def take(self, model: nn.Module, inputs: Tensor, *options: object, check: Callable) -> None:
        """Call ``check`` if it is the turn of this model, inputs and options."""
        counts = self._counts.setdefault(model, {})
        state = (_structure(model), inputs.shape, inputs.dtype, inputs.device, *options)
        if counts.get(state, 0) % EVERY == 0:
            check()
        if len(counts) > EVERY:  # a module counts its calls, so that no state comes again
            counts.clear()
        counts[state] = counts.get(state, 0) + 1  # only now: what failed is checked again


def _structure(model: nn.Module) -> tuple:
    kinds = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
    found = [tuple(getattr(nn.modules.module, f"_global_{kind}")) for kind in kinds]
    for name, module in model.named_modules(remove_duplicate=False):
        own = vars(module)
        plain = [(key, own[key]) for key in own if isinstance(own[key], int | float | str)]
        hooks = [tuple(own.get(f"_{kind}", ())) for kind in kinds]  # numbers that are given once
        found.append((name, type(module), id(own.get("forward")), *plain, *hooks))
    return tuple(found)


def verify(
    model: nn.Module, inputs: Tensor, account: Account, in_double: Callable[[], Account]
) -> None:
    """Check an account against automatic differentiation, on :data:`EXAMPLES` examples.

    They are run without the others and in another order, through the model as it is, and the
    gradient of one weighted sum of all their outputs is compared, layer by layer. No example can
    stand in for another, as each output has a weight of its own. Cost: one forward and one
    backward pass for so many examples.

    Args:
        model: The network, in any type.
        inputs: (n, …), as the instrument took them.
        account: What the instrument found for them, inside :func:`undisturbed` as this is called.
        in_double: Returns the account of the same instrument for the same network and inputs in
            float64. Called only if the account is in float32 and fails: deep networks amplify
            rounding, and only float64 can tell.

    Raises:
        ValueError: If outputs or gradients differ by more than rounding explains, or the model
            does not take a part of the examples; a :class:`LayerFault` where it is the gradients
            of one layer.
    """
    fault, layer = _fault(model, inputs, account)
    if fault and account.outputs.dtype != torch.float64:
        with suppress(RuntimeError):  # constants of the model in float32: what it found stands
            fault, layer = _fault(model, inputs, in_double())
    if fault:
        message = (
            f"{fault}. Either examples act on one another, or they do not lie along the first "
            "axis, in their order, in every layer, or something besides the plain layer has a "
            "hand in it: a hook, a forward of its own, a parametrisation. Remove it, call "
            "model.eval(), and keep the examples on the first axis and apart"
        )
        raise ValueError(message) if layer is None else LayerFault(layer, message)


def _fault(model: nn.Module, inputs: Tensor, account: Account) -> tuple[str, str | None]:
    """Return where the account differs from the truth, or nothing, and in which layer."""
    outputs, dtype = account.outputs, account.outputs.dtype
    places = _places(len(inputs))
    shape = len(places), outputs.shape[1]
    weights = torch.arange(1, 1 + prod(shape)).cos().view(shape).to(outputs)  # all different
    found = account.summed(places, weights)
    values, truth, size = _truth(model, inputs[places], dtype, weights, found)
    off = [found[name].reshape(true.shape) - true for name, true in truth.items()]
    # Norms and one transfer for all of them: parameters are many, or lie on another device.
    norms = [torch.linalg.vector_norm(part) for part in (*off, *found.values(), *truth.values())]
    squares = torch.stack(norms).square().view(3, -1).T.tolist()
    layers: dict[str, list[float]] = {}
    for name, own in zip(truth, squares, strict=True):
        layer = layers.setdefault(name.rpartition(".")[0], [0.0, 0.0, 0.0])
        layer[:] = [total + square for total, square in zip(layer, own, strict=True)]
    whole = sqrt(sum(layer[2] for layer in layers.values()))
    listed = f"examples {', '.join(map(str, places))}"
    if values.shape != outputs[places].shape:
        return f"{listed} by themselves have {values.shape[1]} outputs, not {shape[1]}", None
    # |f| is about ‖∂f/∂θ‖ ‖θ‖, also where f is a difference that is nearly zero.
    scale = max(outputs.abs().max().item(), size * whole)
    off = (outputs[places] - values).abs().max().item()
    if not off <= DISAGREEMENT[dtype] * scale < inf:
        return (
            f"the outputs for {listed} are off by {off:.2g} (of {scale:.2g}) from what the network "
            "returns for them by themselves"
        ), None
    for name, squares in layers.items():
        error, own, true = map(sqrt, squares)
        if not error <= DISAGREEMENT[dtype] * max(own, true) + NEGLIGIBLE[dtype] * whole:
            return (
                f"the gradient of layer {name!r} for {listed} is off by {error:.2g} (of "
                f"{true:.2g}) from that of automatic differentiation for them by themselves"
            ), name
    return "", None


def _places(count: int) -> list[int]:
    """Return examples from the last to the first, evenly, but never all of several."""
    chosen = min(EXAMPLES, max(1, count - 1))
    return [round((count - 1) * (1 - step / max(1, chosen - 1))) for step in range(chosen)]


def _truth(
    model: nn.Module, examples: Tensor, dtype: torch.dtype, weights: Tensor, wanted: Collection[str]
) -> tuple[Tensor, dict[str, Tensor], float]:
    """Return f, (k, C), the gradients of Σ_ic v_ic f_c(x_i), and the length of the parameters."""
    with torch.enable_grad():
        try:
            outputs, leaves = run(model, examples, dtype, wanted)
        except (RuntimeError, IndexError) as error:
            raise ValueError(
                f"the network does not take {len(examples)} of the examples by themselves, so that "
                f"what it does with all of them cannot be verified: {error}"
            ) from error
        check_outputs(outputs, len(examples), dtype)
        chosen = {name: leaves[name] for name in wanted}
        gradients: list[Tensor | None] = [None] * len(chosen)
        if outputs.requires_grad:
            gradients = torch.autograd.grad(
                (outputs * weights).sum(), list(chosen.values()), allow_unused=True
            )
    truth = {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(chosen.items(), gradients, strict=True)
    }
    lengths = [torch.linalg.vector_norm(leaf.detach()) for leaf in chosen.values()]
    return outputs.detach(), truth, torch.linalg.vector_norm(torch.stack(lengths)).item()
