"""What every layer sees and how the outputs depend on it: one forward, C backward passes."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from feature_alignment.tangents.layers import LAYERS, LayerPass, Patches
from feature_alignment.tangents.verify import (
    Account,
    Turns,
    check_finite,
    check_inputs,
    check_outputs,
    run,
    undisturbed,
    verify,
)

_TURNS = Turns()


@dataclass
class _Call:
    inputs: Tensor
    version: int
    edge: GradientEdge | None
    shape: torch.Size


def layer_passes(
    model: nn.Module, inputs: Tensor, *, trainable_only: bool = False
) -> tuple[list[LayerPass], Tensor]:
    """Run ``model`` once forward and once backward per output, for all layers together.

    Gradients are taken with respect to the outputs of the layers only, never to parameters. What
    a layer saw and returned is taken next to its ``forward``, inside all hooks, so that these
    count as parts of the network. The model's parameters, their gradients, its buffers and its
    mode stay as they are, and so do the global random generators. The outputs for an example must
    depend on that example alone.

    That is verified: a few examples are run without the others, and their outputs and their
    gradients with respect to the parameters must be those that follow from what is returned
    (:func:`feature_alignment.tangents.verify.verify`). Of calls with the same network and inputs
    of one shape, that is done for the first and every tenth, and again as soon as a hook, a mode,
    a setting or a module changes.

    Float16 and bfloat16 networks are computed in float32, on the weights as they are; autocast is
    switched off.

    Args:
        model: Any module whose parameters belong to layers with a rule in
            :data:`feature_alignment.tangents.layers.RULES`; residual branches, shared
            activations and in-place operations on a layer's output are allowed.
        inputs: (n, …), passed to ``model``, which returns (n, C).
        trainable_only: Which parameters count. ``False``: all of them, whether or not they
            require gradients. ``True``: those with ``requires_grad`` alone; frozen ones are
            constants, their layers are left out and may be of any kind.

    Returns:
        The layers with parameters that count, in the order in which they are called, and f,
        (n, C).

    Raises:
        ValueError: If a parameter that counts belongs to another kind of layer, to two layers, or
            is used outside its layer; if a layer is called twice or its first axis is not that of
            the examples; if examples interact, or random numbers are drawn, by a module or not;
            if what a layer saw is overwritten, or the output is not (n, C); if inputs, layers or
            outputs are not finite, not real, of several types or on several devices; if a few
            examples by themselves give another answer.
    """
    dtype = check_inputs(model, inputs)
    counted = _counted(model, trainable_only=trainable_only)
    layers = _layers(model, counted)

    def check() -> None:
        account = _account(passes, outputs)
        verify(
            model,
            inputs,
            account,
            lambda: _account(*_captured(model, inputs, torch.float64, layers)),
        )

    with undisturbed(model):
        passes, outputs = _captured(model, inputs, dtype, layers)
        counts = tuple((name, own) for name, (_, own) in layers.items())
        _TURNS.take(model, inputs, counts, check=check)
    return passes, outputs


def _captured(
    model: nn.Module,
    inputs: Tensor,
    dtype: torch.dtype,
    layers: Mapping[str, tuple[nn.Module, tuple[str, ...]]],
) -> tuple[list[LayerPass], Tensor]:
    calls: dict[str, _Call] = {}

    def record(name: str, given: Sequence[Tensor], output: Tensor) -> Tensor:
        seen = given[0].detach()
        if name in calls:
            raise ValueError(
                f"layer {name!r} is called twice in one forward pass: its tangent kernel would mix "
                "both calls; give each call a layer of its own"
            )
        for rows in (seen, output):
            if len(rows) != len(inputs):
                raise ValueError(
                    f"layer {name!r} saw {len(seen)} rows for {len(inputs)} examples; keep the "
                    "examples on the first axis, by themselves"
                )
        if {seen.dtype, output.dtype} != {dtype}:
            raise ValueError(
                f"layer {name!r} saw {seen.dtype} and returned {output.dtype}, expected {dtype}; "
                "take casts and autocast out of the network's forward"
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
            prepend=True,  # before any hook that changes what the layer returned
            with_kwargs=True,
        )
        for name, (module, _) in layers.items()
    ]
    wanted = {_full(name, own) for name, (_, counted) in layers.items() for own in counted}
    with torch.enable_grad():
        try:
            outputs, parameters = run(model, inputs, dtype, wanted)
        finally:
            for hook in hooks:
                hook.remove()
        check_outputs(outputs, len(inputs), dtype)
        _check_calls(calls)
        gradients = _gradients(outputs, calls)
        _check_uses(outputs, {name: parameters[name] for name in wanted}, gradients)
    called = [
        LayerPass(name, layers[name][0], call.inputs, gradients.get(name), layers[name][1])
        for name, call in calls.items()
    ]
    idle = [
        LayerPass(name, module, None, None, counted)
        for name, (module, counted) in layers.items()
        if name not in calls
    ]
    for layer in called:
        check_finite(layer.inputs, f"what layer {layer.name!r} saw: values")
        if layer.gradients is not None:
            check_finite(layer.gradients, f"the gradients at layer {layer.name!r}")
    return called + idle, outputs.detach()


def _account(passes: Sequence[LayerPass], outputs: Tensor) -> Account:
    """Return what the passes say of each example, to be verified."""

    def sums(places: list[int], weights: Tensor) -> dict[str, Tensor]:
        chosen = torch.tensor(places, device=outputs.device)
        found: dict[str, Tensor] = {}
        for layer in passes:
            own = {name: getattr(layer.module, name).numel() for name in layer.counted}
            if layer.gradients is None:
                parts = outputs.new_zeros(sum(own.values())).split(list(own.values()))
            else:
                some = layer.gradients.index_select(1, chosen)  # (C, k, …)
                shares = weights.T.view(weights.T.shape + (1,) * (some.ndim - 2))
                gradient = (shares * some).sum(dim=0, keepdim=True)
                seen = layer.inputs.index_select(0, chosen)
                parts = _summed(replace(layer, inputs=seen, gradients=gradient), own)
            found |= {_full(layer.name, name): part for name, part in zip(own, parts, strict=True)}
        return found

    return Account(outputs, lambda place, weights: sums([place], weights[None]), sums)


def _summed(layer: LayerPass, own: Mapping[str, int]) -> list[Tensor]:
    """Return the gradients Σ_i ∂f(x_i)/∂θ of one output, by parameter; ``own`` has their sizes."""
    if not isinstance(layer.rule, Patches):
        [rows] = layer.rule.per_example(layer)
        return list(rows.sum(dim=0).split(list(own.values())))
    groups = [  # (O, examples and positions), (examples and positions, D)
        (gradients[0].transpose(0, 1).flatten(1), patches.transpose(1, 2).flatten(0, 1))
        for patches, gradients in layer.rule.patches(layer.module, layer.inputs, layer.gradients)
    ]
    parts = {
        "weight": lambda: [(gradients @ patches).flatten() for gradients, patches in groups],
        "bias": lambda: [gradients.sum(dim=1) for gradients, _ in groups],
    }
    found = (parts[name]() for name in own)
    return [some[0] if len(some) == 1 else torch.cat(some) for some in found]


def _full(layer: str, name: str) -> str:
    return f"{layer}.{name}" if layer else name


def _counted(model: nn.Module, *, trainable_only: bool) -> set[int]:
    """Return the parameters that count, by id."""
    counted = {id(p) for p in model.parameters() if p.requires_grad or not trainable_only}
    if not counted:
        raise ValueError(
            "no parameter requires gradients, and trainable_only leaves out all that do not; call "
            "requires_grad_() on some, or take trainable_only=False"
        )
    return counted


def _layers(
    model: nn.Module, counted: Collection[int]
) -> dict[str, tuple[nn.Module, tuple[str, ...]]]:
    """Return the modules that own parameters that count, and these, after checking all."""
    found: dict[str, tuple[nn.Module, tuple[str, ...]]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
            module.training or module.running_mean is None
        ):
            raise ValueError(
                f"batch norm {name!r} uses the statistics of the batch, so that examples interact; "
                "call model.eval() first, with running statistics tracked"
            )
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p:
            raise ValueError(f"dropout {name!r} is on; call model.eval() first")
        own = {
            parameter
            for parameter, value in module.named_parameters(recurse=False)
            if id(value) in counted
        }
        if own:
            if type(module) not in LAYERS or not own <= {"weight", "bias"}:
                known = ", ".join(layer.__name__ for layer in LAYERS)
                raise ValueError(
                    f"{name or 'the model itself'!r} is a {type(module).__name__} with parameters "
                    f"{', '.join(sorted(own))}; tangent kernels are known for the plain {known}"
                )
            found[name] = module, tuple(sorted(own, reverse=True))  # weight, bias
    owners = Counter(
        id(getattr(module, name)) for module, names in found.values() for name in names
    )
    for name, (module, names) in found.items():
        if any(owners[id(getattr(module, own))] > 1 for own in names):
            raise ValueError(
                f"layer {name!r} shares a parameter with another layer; give each its own"
            )
    return found


def _check_calls(calls: dict[str, _Call]) -> None:
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
