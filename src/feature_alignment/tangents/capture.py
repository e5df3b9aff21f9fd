"""What every layer sees and how the outputs depend on it: one forward, C backward passes."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from feature_alignment.tangents.attention import PROJECTED, projected, projection_of
from feature_alignment.tangents.layers import LAYERS, LayerPass, Patches, lacks_rule
from feature_alignment.tangents.precision import exact_products
from feature_alignment.tangents.verify import (
    Account,
    LayerFault,
    Turns,
    check_finite,
    check_inputs,
    check_outputs,
    run,
    undisturbed,
    verify,
)

_TURNS = Turns()

WRITTEN_BYTES = 2**20
"""From here on gradients are written out; smaller ones are kept, which takes fewer operations."""
PART_BYTES = 2**28
"""How large the gradients of one part of the examples with respect to layer outputs may become."""
FIRST = 16
"""Examples in the first part, from which the size of the others follows."""

Layers = Mapping[str, LayerPass]
"""The layers whose passes are wanted by name, without what they saw and without gradients."""


@dataclass
class _Call:
    inputs: Tensor
    version: int
    edge: GradientEdge | None
    shape: torch.Size


def layer_passes(
    model: nn.Module,
    inputs: Tensor,
    *,
    trainable_only: bool = False,
    write: bool = False,
    expect: Callable[[int, Tensor], None] | None = None,
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
        write: Whether the gradients of a layer may be written out as those with respect to its
            parameters, where that takes no more memory and the kernel needs them. Large inputs are
            then passed in parts, so that what is held of layers with many units and few parameters
            does not grow with n.
        expect: Called with the number of layers and f, of some examples at least, after the first
            forward and before any backward pass.

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
    counted = counted_parameters(model, trainable_only=trainable_only)
    layers, lacking = layers_with_rules(model, counted)
    if lacking:
        raise ValueError(next(iter(lacking.values())))
    return passes_of(model, inputs, dtype, layers, write=write, expect=expect)


def passes_of(
    model: nn.Module,
    inputs: Tensor,
    dtype: torch.dtype,
    layers: Layers,
    *,
    write: bool = False,
    expect: Callable[[int, Tensor], None] | None = None,
) -> tuple[list[LayerPass], Tensor]:
    """Do what :func:`layer_passes` does for some layers, all other parameters being constants.

    Args:
        model: As there, but its other parameters may belong to anything.
        inputs: (n, …).
        dtype: The type to compute in.
        layers: Those of :func:`layers_with_rules`, or some of them.
        write: As there.
        expect: As there.

    Raises:
        LayerFault: If one of the layers is not used as its rule assumes.
        ValueError: As there.
    """

    def check() -> None:
        account = account_of(passes, outputs)
        verify(
            model,
            inputs,
            account,
            lambda: account_of(*capture(model, inputs, torch.float64, layers)),
        )

    capture = _written if write else _captured
    with undisturbed(model), exact_products():
        passes, outputs = capture(model, inputs, dtype, layers, expect=expect)
        counts = tuple((name, layer.counted) for name, layer in layers.items())
        if layers:  # else there is nothing to verify
            _TURNS.take(model, inputs, counts, write, check=check)
    return passes, outputs


def _written(
    model: nn.Module,
    inputs: Tensor,
    dtype: torch.dtype,
    layers: Layers,
    expect: Callable[[int, Tensor], None] | None = None,
) -> tuple[list[LayerPass], Tensor]:
    """Capture part after part, and write gradients out where that is worth it."""
    spaces: dict[str, Tensor] = {}
    whole: dict[str, _Whole] = {}
    outputs: list[Tensor] = []
    low = 0
    while low < len(inputs):
        size = _part_size(inputs, spaces)
        again = spaces if size < len(inputs) else None
        part = inputs[low : low + size]
        passes, found = _captured(model, part, dtype, layers, again, None if low else expect)
        outputs.append(found)
        for layer in passes:
            whole.setdefault(layer.name, _Whole(layer, len(inputs))).add(layer, low)
        low += size
        del passes
    return [layer.passed() for layer in whole.values()], torch.cat(outputs)


def _part_size(inputs: Tensor, spaces: dict[str, Tensor]) -> int:
    """Return how many examples to pass at once: few at first, then as many as memory is meant for.

    Small networks on small inputs take all at once.
    """
    if inputs.numel() * inputs.element_size() < WRITTEN_BYTES:
        return len(inputs)
    if not spaces:
        return FIRST
    each = sum(space[0].numel() * space.element_size() for space in spaces.values())
    return max(1, PART_BYTES // each)


class _Whole:
    """One layer's part, put together from parts of the examples."""

    def __init__(self, first: LayerPass, examples: int):
        self._first, self._examples = first, examples
        self._write = (
            first.gradients is not None
            and examples * first.gradients[:, 0].numel() * first.gradients.element_size()
            >= WRITTEN_BYTES
            and first.rule.worth_writing(first, examples)
        )
        self._inputs: list[Tensor] = []
        self._gradients: Tensor | None = None

    def add(self, layer: LayerPass, low: int) -> None:
        """Add what a layer saw and passed back of the examples from ``low`` on."""
        gradients = layer.gradients
        if not self._write and layer.inputs is not None:
            self._inputs.append(layer.inputs)
        if gradients is None:
            return
        values = layer.rule.write(layer) if self._write else gradients
        check_finite(values, f"the gradients at layer {layer.name!r}")
        if values.shape[1] == self._examples:
            self._gradients = values.contiguous()
            return
        if self._gradients is None:
            shape = (len(values), self._examples, *values.shape[2:])
            self._gradients = values.new_zeros(shape)  # what a part does not reach stays zero
        self._gradients[:, low : low + values.shape[1]] = values

    def passed(self) -> LayerPass:
        """Return the layer's part for all examples."""
        first = self._first
        if self._write:
            return replace(first, inputs=None, gradients=None, written=self._gradients)
        inputs = torch.cat(self._inputs) if self._inputs else None
        return replace(first, inputs=inputs, gradients=self._gradients)


def _captured(
    model: nn.Module,
    inputs: Tensor,
    dtype: torch.dtype,
    layers: Layers,
    spaces: dict[str, Tensor] | None = None,
    expect: Callable[[int, Tensor], None] | None = None,
) -> tuple[list[LayerPass], Tensor]:
    """Capture one forward and C backward passes.

    With ``spaces``, by layer, gradients are kept there and overwritten by the next call.
    """
    calls: dict[str, _Call] = {}

    def record(name: str, given: Sequence[Tensor], output: Tensor) -> Tensor:
        seen = given[0].detach()
        if name in calls:
            raise LayerFault(
                name,
                f"layer {name!r} is called twice in one forward pass: its tangent kernel would mix "
                "both calls; give each call a layer of its own",
            )
        for rows in (seen, output):
            if len(rows) != len(inputs):
                raise LayerFault(
                    name,
                    f"layer {name!r} saw {len(seen)} rows for {len(inputs)} examples; keep the "
                    "examples on the first axis, by themselves",
                )
        whole = not seen.is_floating_point() and isinstance(layers[name].module, nn.Embedding)
        if {dtype if whole else seen.dtype, output.dtype} != {dtype}:
            raise LayerFault(
                name,
                f"layer {name!r} saw {seen.dtype} and returned {output.dtype}, expected {dtype}; "
                "take casts and autocast out of the network's forward",
            )
        if output._is_view():  # an in-place operation on a view would leave its node behind
            output = output.clone()
        edge = get_gradient_edge(output) if output.requires_grad else None
        calls[name] = _Call(seen, seen._version, edge, output.shape)
        return output

    hooks = [
        layer.module.register_forward_hook(
            lambda _, args, kwargs, output, name=name: record(
                name, [*args, *kwargs.values()], output
            ),
            prepend=True,  # before any hook that changes what the layer returned
            with_kwargs=True,
        )
        for name, layer in layers.items()
    ]
    wanted = {name for layer in layers.values() for name in layer.sizes}
    with torch.enable_grad(), projected(model, layers, record):
        try:
            outputs, parameters = run(model, inputs, dtype, wanted)
        finally:
            for hook in hooks:
                hook.remove()
        check_outputs(outputs, len(inputs), dtype)
        if expect is not None:
            expect(len(layers), outputs)
        _check_calls(calls)
        gradients = _gradients(outputs, calls, spaces)
        _check_uses(outputs, layers, parameters, gradients)
    called = [
        replace(layers[name], inputs=call.inputs, gradients=gradients.get(name))
        for name, call in calls.items()
    ]
    idle = [layer for name, layer in layers.items() if name not in calls]
    for layer in called:
        check_finite(layer.inputs, f"what layer {layer.name!r} saw: values")
        if layer.gradients is not None and spaces is None:
            check_finite(layer.gradients, f"the gradients at layer {layer.name!r}")
    return called + idle, outputs.detach()


def account_of(passes: Sequence[LayerPass], outputs: Tensor) -> Account:
    """Return what the passes say of each example, to be verified."""

    def sums(places: list[int], weights: Tensor) -> dict[str, Tensor]:
        chosen = torch.tensor(places, device=outputs.device)
        found: dict[str, Tensor] = {}
        for layer in passes:
            own = layer.sizes
            if not layer.reached:
                parts = outputs.new_zeros(sum(own.values())).split(list(own.values()))
            elif layer.written is not None:
                some = layer.written.index_select(1, chosen)  # (C, k, P)
                row = weights.T.flatten() @ some.flatten(0, 1)
                parts = row.split(list(own.values()))
            else:
                some = layer.gradients.index_select(1, chosen)  # (C, k, …)
                shares = weights.T.view(weights.T.shape + (1,) * (some.ndim - 2))
                gradient = (shares * some).sum(dim=0, keepdim=True)
                seen = layer.inputs.index_select(0, chosen)
                parts = _summed(replace(layer, inputs=seen, gradients=gradient))
            found |= dict(zip(own, parts, strict=True))
        return found

    return Account(outputs, lambda place, weights: sums([place], weights[None]), sums)


def _summed(layer: LayerPass) -> list[Tensor]:
    """Return the gradients Σ_i ∂f(x_i)/∂θ of one output, by parameter that counts."""
    if not isinstance(layer.rule, Patches):
        [rows] = layer.rule.per_example(layer)
        return list(rows.sum(dim=0).split(list(layer.sizes.values())))
    groups = [  # (O, examples and positions), (examples and positions, D)
        (gradients[0].transpose(0, 1).flatten(1), patches.transpose(1, 2).flatten(0, 1))
        for patches, gradients in layer.rule.patches(layer.module, layer.inputs, layer.gradients)
    ]
    parts = {
        "weight": lambda: [(gradients @ patches).flatten() for gradients, patches in groups],
        "bias": lambda: [gradients.sum(dim=1) for gradients, _ in groups],
    }
    found = (parts[name]() for name in layer.counted)
    return [some[0] if len(some) == 1 else torch.cat(some) for some in found]


def counted_parameters(model: nn.Module, *, trainable_only: bool) -> set[int]:
    """Return the parameters that count, by id."""
    counted = {id(p) for p in model.parameters() if p.requires_grad or not trainable_only}
    if not counted:
        raise ValueError(
            "no parameter requires gradients, and trainable_only leaves out all that do not; call "
            "requires_grad_() on some, or take trainable_only=False"
        )
    return counted


def check_modes(model: nn.Module) -> None:
    """Check that no module of the network lets examples interact or drops units at random.

    Raises:
        ValueError: If batch norm uses the statistics of the batch, or dropout is on.
    """
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


def layers_with_rules(
    model: nn.Module, counted: Collection[int]
) -> tuple[dict[str, LayerPass], dict[str, str]]:
    """Return the layers that own parameters that count and have a rule, and why others have none.

    Args:
        model: Any module.
        counted: The parameters that count, by id; see :func:`counted_parameters`.

    Returns:
        Layers by name, and by name of the others, in the order of modules, an error that says what
        is missing.

    Raises:
        ValueError: See :func:`check_modes`.
    """
    check_modes(model)
    found: dict[str, LayerPass] = {}
    lacking: dict[str, str] = {}
    inside: set[str] = set()  # projections of attention, which is called as a whole
    for name, module in model.named_modules():
        own = {
            parameter
            for parameter, value in module.named_parameters(recurse=False)
            if id(value) in counted
        }
        if type(module) is nn.MultiheadAttention:
            inside.add(f"{name}.out_proj" if name else "out_proj")
        if not own:
            continue
        kind, layer = type(module), projection_of(name, module, own)
        if layer is None and (lacks_rule(module) or not own <= {"weight", "bias"}):
            known = ", ".join(known.__name__ for known in LAYERS if known is not PROJECTED)
            lacking[name] = (
                f"{name or 'the model itself'!r} is {lacks_rule(module) or 'a ' + kind.__name__} "
                f"with parameters {', '.join(sorted(own))}; tangent kernels are known for the "
                f"plain {known}"
            )
            continue
        if type(module) is PROJECTED and name not in inside:
            lacking[name] = f"{name!r} is a {type(module).__name__} outside MultiheadAttention"
            continue
        if layer is None:
            names = tuple(sorted(own, reverse=True))  # weight, bias
            layer = LayerPass(name, module, None, None, names)
        found[name] = layer
    owners = Counter(
        id(getattr(layer.module, own)) for layer in found.values() for own in layer.counted
    )
    for name, layer in list(found.items()):
        if any(owners[id(getattr(layer.module, own))] > 1 for own in layer.counted):
            lacking[name] = (
                f"layer {name!r} shares a parameter with another layer; give each its own"
            )
            del found[name]
    return found, lacking


def _check_calls(calls: dict[str, _Call]) -> None:
    for name, call in calls.items():
        if call.inputs._version != call.version:
            raise LayerFault(
                name,
                f"what layer {name!r} saw was overwritten by a later in-place operation; make that "
                "operation out-of-place",
            )


def _check_uses(
    outputs: Tensor,
    layers: Layers,
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
) -> None:
    """Check that outputs depend on each parameter through its own layer alone."""
    uses = _uses(outputs)
    for layer in layers.values():
        for name in layer.sizes:
            if uses[id(parameters[name])] > (layer.name in gradients):
                raise LayerFault(
                    layer.name,
                    f"{name!r} is used outside its layer {layer.name!r}; use each parameter once, "
                    "by calling its layer",
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


def _gradients(
    outputs: Tensor, calls: dict[str, _Call], spaces: dict[str, Tensor] | None
) -> dict[str, Tensor]:
    count = outputs.shape[1]
    gradients: dict[str, Tensor] = {}
    reached = {name: call for name, call in calls.items() if call.edge is not None}
    if not outputs.requires_grad or not reached:
        return gradients
    edges = [call.edge for call in reached.values()]
    for c in range(count):
        found = torch.autograd.grad(
            outputs[:, c].sum(),
            edges,
            retain_graph=True,  # the caller still looks at the graph
            allow_unused=True,
        )
        for (name, call), gradient in zip(reached.items(), found, strict=True):
            if gradient is not None and name not in gradients:
                gradients[name] = _space(outputs, call.shape, name, spaces)
                gradients[name][:c] = 0
            if name in gradients:
                gradients[name][c] = 0 if gradient is None else gradient
    return gradients


def _space(
    outputs: Tensor, shape: torch.Size, name: str, spaces: dict[str, Tensor] | None
) -> Tensor:
    """Return space for (C, n, …): space that is used again has the axes (n, C, …) underneath."""
    n, count = outputs.shape
    if spaces is None:
        return outputs.new_empty((count, *shape))
    if name not in spaces or len(spaces[name]) < n:
        spaces[name] = outputs.new_empty((n, count, *shape[1:]))
    return spaces[name][:n].transpose(0, 1)
