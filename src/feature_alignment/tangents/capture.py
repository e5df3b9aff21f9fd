"""What every layer sees and how the outputs depend on it: one forward, C backward passes."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

LAYERS = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
"""The layers with parameters that tangent features are known for."""


@dataclass(frozen=True)
class LayerPass:
    """One layer's part in f(x₁), …, f(x_n).

    ``inputs`` (n, …) is what the layer saw; ``gradients`` (C, n, …) holds ∂f_c(x_i)/∂(the layer's
    output for x_i), or is ``None`` where no output depends on the layer.
    """

    name: str
    module: nn.Module
    inputs: Tensor | None
    gradients: Tensor | None


@dataclass
class _Call:
    inputs: Tensor
    version: int
    edge: GradientEdge
    shape: torch.Size


def layer_passes(model: nn.Module, inputs: Tensor) -> tuple[list[LayerPass], int]:
    """Run ``model`` once forward and once backward per output, for all layers together.

    Gradients are taken with respect to the outputs of the layers only, never to parameters. The
    model's parameters, their gradients and its mode stay as they are. The outputs for an example
    must depend on that example alone.

    Args:
        model: Any module whose parameters belong to :data:`LAYERS`; residual branches, shared
            activations and in-place operations on a layer's output are allowed.
        inputs: (n, …), passed to ``model``, which returns (n, C).

    Returns:
        The layers with parameters, in the order in which they are called, and C.

    Raises:
        ValueError: If a parameter belongs to another kind of layer or to two layers, a layer is
            called twice, examples interact through a batch norm or are changed by dropout, what a
            layer saw is overwritten, or the output is not (n, C).
    """
    layers = _layers(model)
    calls: dict[str, _Call] = {}

    def record(name: str, module_inputs: tuple, output: Tensor) -> None:
        if name in calls:
            raise ValueError(
                f"layer {name!r} is called twice in one forward pass: its tangent kernel would mix "
                "both calls; give each call a layer of its own"
            )
        seen = module_inputs[0].detach()
        calls[name] = _Call(seen, seen._version, get_gradient_edge(output), output.shape)

    hooks = [
        module.register_forward_hook(
            lambda _, seen, output, name=name: record(name, seen, output), always_call=False
        )
        for name, module in layers.items()
    ]
    frozen = {name: parameter.detach() for name, parameter in model.named_parameters()}
    try:
        with torch.enable_grad():
            probe = inputs.detach().requires_grad_()
            outputs = torch.func.functional_call(model, frozen, (probe,))
    finally:
        for hook in hooks:
            hook.remove()
    if outputs.ndim != 2 or len(outputs) != len(inputs):
        raise ValueError(
            f"expected outputs of shape ({len(inputs)}, C), got {tuple(outputs.shape)}; end the "
            "network with a layer that returns one row per example"
        )
    for name, call in calls.items():
        if call.inputs._version != call.version:
            raise ValueError(
                f"what layer {name!r} saw was overwritten by a later in-place operation; make that "
                "operation out-of-place"
            )
    gradients = _gradients(outputs, calls)
    called = [
        LayerPass(name, layers[name], call.inputs, gradients.get(name))
        for name, call in calls.items()
    ]
    idle = [LayerPass(name, layers[name], None, None) for name in layers if name not in calls]
    return called + idle, outputs.shape[1]


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that own parameters, by name, after checking that they are known."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
            module.training or not module.track_running_stats
        ):
            raise ValueError(
                f"batch norm {name!r} uses the statistics of the batch, so that examples interact; "
                "call model.eval() first, with running statistics tracked"
            )
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p:
            raise ValueError(f"dropout {name!r} is on; call model.eval() first")
        if any(True for _ in module.parameters(recurse=False)):
            if not isinstance(module, LAYERS):
                known = ", ".join(layer.__name__ for layer in LAYERS)
                raise ValueError(
                    f"{name or 'the model itself'!r} is a {type(module).__name__} with parameters; "
                    f"tangent kernels are known for {known}"
                )
            found[name] = module
    owners = Counter(id(p) for module in found.values() for p in module.parameters(recurse=False))
    for name, module in found.items():
        if any(owners[id(parameter)] > 1 for parameter in module.parameters(recurse=False)):
            raise ValueError(
                f"layer {name!r} shares a parameter with another layer; give each its own"
            )
    if not found:
        raise ValueError("the model has no parameters")
    return found


@torch.enable_grad()
def _gradients(outputs: Tensor, calls: dict[str, _Call]) -> dict[str, Tensor]:
    count = outputs.shape[1]
    if not outputs.requires_grad:
        return {}
    gradients: dict[str, Tensor] = {}
    for c in range(count):
        found = torch.autograd.grad(
            outputs[:, c].sum(),
            [call.edge for call in calls.values()],
            retain_graph=c + 1 < count,
            allow_unused=True,
        )
        for (name, call), gradient in zip(calls.items(), found, strict=True):
            if gradient is None:
                continue
            if name not in gradients:
                gradients[name] = outputs.new_zeros((count, *call.shape))
            gradients[name][c] = gradient
    return gradients
