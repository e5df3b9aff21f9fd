"""What every layer sees and how the outputs depend on it: one forward, C backward passes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from feature_alignment.tangents.layers import LAYERS, LayerPass


@dataclass
class _Call:
    inputs: Tensor
    version: int
    edge: GradientEdge | None
    shape: torch.Size


def layer_passes(model: nn.Module, inputs: Tensor) -> tuple[list[LayerPass], Tensor]:
    """Run ``model`` once forward and once backward per output, for all layers together.

    Gradients are taken with respect to the outputs of the layers only, never to parameters. The
    model's parameters, their gradients and its mode stay as they are. The outputs for an example
    must depend on that example alone.

    Args:
        model: Any module whose parameters belong to layers with a rule in
            :data:`feature_alignment.tangents.layers.RULES`; residual branches, shared
            activations and in-place operations on a layer's output are allowed.
        inputs: (n, …), passed to ``model``, which returns (n, C).

    Returns:
        The layers with parameters, in the order in which they are called, and f, (n, C).

    Raises:
        ValueError: If a parameter belongs to another kind of layer, to two layers, or is used
            outside its layer; if a layer is called twice or its first axis is not that of the
            examples; if examples interact through a batch norm or are changed by dropout; if what
            a layer saw is overwritten, or the output is not (n, C).
    """
    layers = _layers(model)
    calls: dict[str, _Call] = {}

    def record(name: str, given: Sequence[Tensor], output: Tensor) -> Tensor:
        seen = given[0].detach()
        if name in calls:
            raise ValueError(
                f"layer {name!r} is called twice in one forward pass: its tangent kernel would mix "
                "both calls; give each call a layer of its own"
            )
        if len(seen) != len(inputs):
            raise ValueError(
                f"layer {name!r} saw {len(seen)} rows for {len(inputs)} examples; keep the "
                "examples on the first axis, by themselves"
            )
        if output._is_view():  # an in-place operation on a view would leave its node behind
            output = output.clone()
        edge = get_gradient_edge(output) if output.requires_grad else None
        calls[name] = _Call(seen, seen._version, edge, output.shape)
        return output

    hooks = [
        module.register_forward_hook(
            lambda _, args, kwargs, output, name=name: record(
                name, [*args, *kwargs.values()], output
            ),
            with_kwargs=True,
        )
        for name, module in layers.items()
    ]
    with torch.inference_mode(False), torch.enable_grad():
        parameters = {
            name: parameter.detach().requires_grad_()
            for name, parameter in model.named_parameters()
        }
        try:
            outputs = torch.func.functional_call(model, parameters, (inputs.detach().clone(),))
        finally:
            for hook in hooks:
                hook.remove()
        _check_calls(outputs, len(inputs), calls)
        gradients = _gradients(outputs, calls)
        _check_uses(outputs, parameters, gradients)
    called = [
        LayerPass(name, layers[name], call.inputs, gradients.get(name))
        for name, call in calls.items()
    ]
    idle = [LayerPass(name, layers[name], None, None) for name in layers if name not in calls]
    return called + idle, outputs.detach()


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
        own = {parameter for parameter, _ in module.named_parameters(recurse=False)}
        if own:
            if type(module) not in LAYERS or not own <= {"weight", "bias"}:
                known = ", ".join(layer.__name__ for layer in LAYERS)
                raise ValueError(
                    f"{name or 'the model itself'!r} is a {type(module).__name__} with parameters "
                    f"{', '.join(sorted(own))}; tangent kernels are known for the plain {known}"
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


def _check_calls(outputs: object, count: int, calls: dict[str, _Call]) -> None:
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != count:
        raise ValueError(
            f"expected outputs of shape ({count}, C), got {shape}; end the network with a layer "
            "that returns one row per example"
        )
    for name, call in calls.items():
        if call.inputs._version != call.version:
            raise ValueError(
                f"what layer {name!r} saw was overwritten by a later in-place operation; make that "
                "operation out-of-place"
            )


def _check_uses(
    outputs: Tensor, parameters: dict[str, Tensor], gradients: dict[str, Tensor]
) -> None:
    """Check that outputs depend on each parameter through its own layer alone."""
    uses = _uses(outputs)
    for name, parameter in parameters.items():
        layer = name.rpartition(".")[0]
        if uses[id(parameter)] > (layer in gradients):
            raise ValueError(
                f"{name!r} is used outside its layer {layer!r}; use each parameter once, by "
                "calling its layer"
            )


def _uses(outputs: Tensor) -> Counter:
    """Count how often each leaf enters the graph of ``outputs``, by the leaf's id."""
    uses: Counter = Counter()
    waiting, seen = [outputs.grad_fn], {outputs.grad_fn}
    while waiting:
        node = waiting.pop()
        for following, _ in node.next_functions if node is not None else ():
            if following is None:
                continue
            if hasattr(following, "variable"):
                uses[id(following.variable)] += 1
            elif following not in seen:
                seen.add(following)
                waiting.append(following)
    return uses


def _gradients(outputs: Tensor, calls: dict[str, _Call]) -> dict[str, Tensor]:
    count = outputs.shape[1]
    gradients: dict[str, Tensor] = {}
    reached = {name: call for name, call in calls.items() if call.edge is not None}
    if not outputs.requires_grad or not reached:
        return gradients
    for c in range(count):
        found = torch.autograd.grad(
            outputs[:, c].sum(),
            [call.edge for call in reached.values()],
            retain_graph=True,  # the caller still looks at the graph
            allow_unused=True,
        )
        for (name, call), gradient in zip(reached.items(), found, strict=True):
            if gradient is None:
                continue
            if name not in gradients:
                gradients[name] = outputs.new_zeros((count, *call.shape))
            gradients[name][c] = gradient
    return gradients
