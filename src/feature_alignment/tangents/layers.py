"""How the outputs depend on a layer's own parameters: one rule for each type of layer.

:data:`RULES` maps the type of a layer, exactly, to its rule. A rule has one of three forms:

- :class:`Patches`, of a layer that multiplies patches of what it saw by a weight matrix;
- :class:`Looked`, of an embedding, which looks rows of its weight up;
- :class:`Rows`, of any other layer, whose per-example gradients are written out.

Kernels, traces, stored features, covariances and tangent models ask the rule and never the type:
a new type of layer is one function and one entry of the table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from feature_alignment.tangents.gram import patch_gram, row_gram, upper_rows, writing_pays


@dataclass(frozen=True)
class LayerPass:
    """One layer's part in f(x₁), …, f(x_n).

    ``inputs`` (n, …) is what the layer saw; ``gradients`` (C, n, …) holds ∂f_c(x_i)/∂(the layer's
    output for x_i), or is ``None`` where no output depends on the layer. ``counted`` names which of
    the layer's own ``weight`` and ``bias`` its tangent features are with respect to, in this order.

    ``written`` (C, n, P), ∂f_c(x_i)/∂(the layer's counted parameters), may stand in place of
    ``inputs`` and ``gradients``. ``known_as`` gives the counted parameters their names in the
    network, where these are not the layer's name and their own.
    """

    name: str
    module: nn.Module
    inputs: Tensor | None
    gradients: Tensor | None
    counted: tuple[str, ...]
    written: Tensor | None = None
    known_as: tuple[str, ...] = ()

    @property
    def rule(self) -> "Patches | Rows | Looked | Written":
        """The rule for layers of this type, or for gradients written out."""
        return RULES[type(self.module)] if self.written is None else WRITTEN

    @property
    def reached(self) -> bool:
        """Whether an output depends on the layer."""
        return self.gradients is not None or self.written is not None

    @property
    def sizes(self) -> dict[str, int]:
        """How many values each counted parameter has, by its name in the network."""
        prefix = f"{self.name}." if self.name else ""
        names = self.known_as or [f"{prefix}{name}" for name in self.counted]
        numbers = [getattr(self.module, name).numel() for name in self.counted]
        return dict(zip(names, numbers, strict=True))

    @property
    def channel_groups(self) -> int:
        """Number of groups of channels with weights of their own; 1 for all but convolutions."""
        return getattr(self.module, "groups", 1)


@dataclass(frozen=True)
class Patches:
    """The rule of a layer with h_s = W u_s + b at the positions s = 1…S of its output.

    Its per-example gradients are ∂f_c(x_i)/∂W = Σ_s g_ics u_isᵀ, with g_ics = ∂f_c(x_i)/∂h_s.

    ``patches`` yields, for one group of channels after the other, the patches u (n, D, S) and the
    gradients g (C, n, O, S), from the layer, its inputs and the gradients of a :class:`LayerPass`.
    ``units`` is the axis of those gradients that runs over the units. ``apply`` returns the layer's
    output for values with another weight and bias; ``add`` adds to a tensor the layer's output for
    values, without its bias.
    """

    patches: Callable[[nn.Module, Tensor, Tensor], Iterator[tuple[Tensor, Tensor]]]
    units: int
    apply: Callable[[nn.Module, Tensor, Tensor, Tensor | None], Tensor]
    add: Callable[[Tensor, nn.Module, Tensor], Tensor]

    def worth_writing(self, layer: LayerPass, examples: int) -> bool:
        """Return whether the kernel of so many examples is best taken from :meth:`write`."""
        classes, _, *units = layer.gradients.shape
        total = sum(getattr(layer.module, name).numel() for name in layer.counted)
        if "weight" not in layer.counted or total > MOST * prod(units):
            return "weight" not in layer.counted
        columns = prod(layer.module.weight.shape[1:])
        channels = total // columns // layer.channel_groups
        return writing_pays(
            examples, classes, channels, columns, prod(units) // len(layer.module.weight)
        )

    def write(self, layer: LayerPass) -> Tensor:
        """Return ∂f_c(x_i)/∂(flattened weight, bias), (C, n, P)."""
        classes, n = layer.gradients.shape[:2]
        parts, biases = [], []
        for patches, gradients in self.patches(layer.module, layer.inputs, layer.gradients):
            rows = gradients.transpose(0, 1).flatten(1, 2)  # (n, C · O, S)
            if "weight" in layer.counted:
                parts.append((rows @ patches.transpose(1, 2)).view(n, classes, -1))
            if "bias" in layer.counted:
                biases.append(rows.sum(dim=2).view(n, classes, -1))
        return torch.cat([*parts, *biases], dim=2).transpose(0, 1)

    def kernel(self, layer: LayerPass, budget: int) -> Tensor:
        """Return the layer's tangent kernel, (C, n, C, n); ``budget`` in bytes."""
        parts = [patch_gram(*group, budget) for group in self._with_bias(layer)]
        if len(parts) == 1:
            return parts[0]
        return torch.stack(parts).sum(dim=0)

    def upper_rows(self, layer: LayerPass, budget: int) -> Iterator[Tensor]:
        """Yield K[c,:,c:,:], the kernel's rows of one output after the other, (n, C − c, n).

        The caller may change them, and the next overwrite them. One output at a time, they stay in
        the processor's cache from one operation to the next.
        """
        if layer.gradients.ndim > 3:  # units have positions
            yield from _upper(self.kernel(layer, budget))
            return
        [(patches, gradients)] = self.patches(layer.module, layer.inputs, layer.gradients)
        inputs, gradients = patches[..., 0], gradients[..., 0]
        products = self._products(layer, inputs)
        for rows in upper_rows(gradients):
            yield rows.mul_(products[:, None, :])

    def factors(self, layer: LayerPass) -> tuple[Tensor, Tensor] | None:
        """Return V (C, C) and A (n, n) of a kernel V[c,d] A[i,j], ``None`` for another.

        That is the kernel of a layer on which the outputs depend linearly, such as the last.
        """
        if layer.gradients.ndim > 3:
            return None
        [(patches, gradients)] = self.patches(layer.module, layer.inputs, layer.gradients)
        if patches.shape[2] > 1 or not torch.equal(
            gradients, gradients[:, :1].expand_as(gradients)
        ):
            return None
        own = gradients[:, 0, :, 0]
        return own @ own.T, self._products(layer, patches[..., 0])

    def _products(self, layer: LayerPass, inputs: Tensor) -> Tensor:
        """Return the products (n, n) of what the layer saw of each example, (n, D)."""
        if "weight" in layer.counted:
            products = inputs @ inputs.T
        else:
            products = inputs.new_zeros(len(inputs), len(inputs))
        if "bias" in layer.counted:
            products += 1
        return products

    def squares(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield tensors whose squares sum to the kernel's trace."""
        for patches, gradients in self._with_bias(layer):
            if patches.shape[-1] == 1:  # ‖g uᵀ‖² = ‖g‖² ‖u‖²
                lengths = torch.linalg.vector_norm(patches, dim=(1, 2))
                yield gradients.flatten(2) * lengths[:, None]
                continue
            yield from (part @ patches.transpose(1, 2) for part in gradients)

    def per_example(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield ∂f_c(x_i)/∂(flattened weight, bias), (n, P), for one output c after the other."""
        groups = list(self._with_bias(layer))
        columns = prod(layer.module.weight.shape[1:]) if "weight" in layer.counted else 0
        for c in range(len(layer.gradients)):
            products = [gradients[c] @ patches.transpose(1, 2) for patches, gradients in groups]
            weights = [product[:, :, :columns].flatten(1) for product in products]
            biases = [product[:, :, columns:].flatten(1) for product in products]
            yield torch.cat([*weights, *biases], dim=1)

    def unit_gradients(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield the gradients at every output, example and position as rows (…, units)."""
        if self.units == -1:
            yield layer.gradients.flatten(0, -2)
            return
        for part in layer.gradients:  # for one output at a time, so that the copy stays in cache
            yield part.movedim(self.units - 1, 0).flatten(1).T

    def _with_bias(self, layer: LayerPass) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield patches and gradients; with a bias, patches have a last entry 1.

        Without the weight, that entry is all they have.
        """
        for patches, gradients in self.patches(layer.module, layer.inputs, layer.gradients):
            if "weight" not in layer.counted:
                patches = patches[:, :0]
            if "bias" in layer.counted:
                patches = F.pad(patches, (0, 0, 0, 1), value=1.0)
            yield patches, gradients


@dataclass(frozen=True)
class Rows:
    """The rule of a layer whose per-example gradients are written out.

    ``rows`` returns ∂f_c(x_i)/∂(the layer's parameters), (C, n, P), from the layer, its inputs and
    the gradients of a :class:`LayerPass`: all columns of the weight, if it has one, then those of
    the bias, if it has one. The methods are those of :class:`Patches`.
    """

    rows: Callable[[nn.Module, Tensor, Tensor], Tensor]

    def worth_writing(self, layer: LayerPass, examples: int) -> bool:
        """Return whether :meth:`write` takes less memory than what it is made of."""
        del examples
        total = sum(getattr(layer.module, name).numel() for name in layer.counted)
        return total <= MOST * layer.gradients[0, 0].numel()

    def write(self, layer: LayerPass) -> Tensor:
        """Return ∂f_c(x_i)/∂(the layer's parameters), (C, n, P)."""
        return self._rows(layer)

    def kernel(self, layer: LayerPass, budget: int) -> Tensor:
        """Return the layer's tangent kernel, (C, n, C, n)."""
        del budget
        return row_gram(self._rows(layer))

    def upper_rows(self, layer: LayerPass, budget: int) -> Iterator[Tensor]:
        """Yield K[c,:,c:,:], the kernel's rows of one output after the other, (n, C − c, n)."""
        yield from _upper(self.kernel(layer, budget))

    def factors(self, layer: LayerPass) -> None:
        """Return ``None``: these kernels are not taken apart."""

    def squares(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield tensors whose squares sum to the kernel's trace."""
        yield self._rows(layer)

    def per_example(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield ∂f_c(x_i)/∂(the layer's parameters), (n, P), for one output c after the other."""
        yield from self._rows(layer)

    def _rows(self, layer: LayerPass) -> Tensor:
        rows = self.rows(layer.module, layer.inputs, layer.gradients)
        own = dict(layer.module.named_parameters(recurse=False))
        names = [name for name in ("weight", "bias") if name in own]
        if list(layer.counted) == names:
            return rows
        parts = rows.split([own[name].numel() for name in names], dim=2)
        chosen = [part for name, part in zip(names, parts, strict=True) if name in layer.counted]
        return torch.cat(chosen, dim=2)


@dataclass(frozen=True)
class Written:
    """The rule of a layer of any type whose per-example gradients are written out already."""

    def kernel(self, layer: LayerPass, budget: int) -> Tensor:
        """Return the layer's tangent kernel, (C, n, C, n)."""
        del budget
        return row_gram(layer.written)

    def upper_rows(self, layer: LayerPass, budget: int) -> Iterator[Tensor]:
        """Yield K[c,:,c:,:], the kernel's rows of one output after the other, (n, C − c, n)."""
        del budget
        return upper_rows(layer.written)

    def factors(self, layer: LayerPass) -> None:
        """Return ``None``: these kernels are not taken apart."""

    def squares(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield tensors whose squares sum to the kernel's trace."""
        yield layer.written

    def per_example(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield ∂f_c(x_i)/∂(the layer's parameters), (n, P), for one output c after the other."""
        yield from layer.written


@dataclass(frozen=True)
class Looked:
    """The rule of an embedding, h_s = W[u_s] for whole numbers u_s, with ∂f_c/∂W[v] = Σ_s g_cs.

    The sum is over the positions s with u_s = v. A kernel needs the rows alone that some example
    looks up, of which there are few. The methods are those of :class:`Patches`.
    """

    def worth_writing(self, layer: LayerPass, examples: int) -> bool:
        """Return ``False``: rows that no example looks up need not be written."""
        del layer, examples
        return False

    def kernel(self, layer: LayerPass, budget: int) -> Tensor:
        """Return the layer's tangent kernel, (C, n, C, n)."""
        del budget
        return row_gram(self._few(layer))

    def upper_rows(self, layer: LayerPass, budget: int) -> Iterator[Tensor]:
        """Yield K[c,:,c:,:], the kernel's rows of one output after the other, (n, C − c, n)."""
        yield from _upper(self.kernel(layer, budget))

    def factors(self, layer: LayerPass) -> None:
        """Return ``None``: these kernels are not taken apart."""

    def squares(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield tensors whose squares sum to the kernel's trace."""
        yield self._few(layer)

    def per_example(self, layer: LayerPass) -> Iterator[Tensor]:
        """Yield ∂f_c(x_i)/∂(flattened weight), (n, P), for one output c after the other."""
        for part in layer.gradients:
            yield self._summed(layer, part[None], layer.inputs, layer.module.num_embeddings)[0]

    def _few(self, layer: LayerPass) -> Tensor:
        """Return the gradients of the rows that are looked up, (C, n, rows · size)."""
        known, places = layer.inputs.unique(return_inverse=True)
        return self._summed(layer, layer.gradients, places, len(known))

    def _summed(self, layer: LayerPass, gradients: Tensor, places: Tensor, count: int) -> Tensor:
        """Sum gradients by place into (C, n, count · size); rows of padding stay zero."""
        classes, n, *_, size = gradients.shape
        found = gradients.new_zeros(classes, n, count, size)
        values = gradients.reshape(classes, n, -1, size)
        if layer.module.padding_idx is not None:
            kept = (layer.inputs != layer.module.padding_idx).view(n, -1, 1)
            values = values * kept
        index = places.reshape(1, n, -1, 1).expand_as(values)
        return found.scatter_add_(2, index, values).flatten(2)


WRITTEN = Written()
MOST = 1.5
"""Gradients are not written out into more than so many values for each value they are made of."""


def _upper(kernel: Tensor) -> Iterator[Tensor]:
    for c, rows in enumerate(kernel):
        yield rows[:, c:]


def _linear_patches(
    layer: nn.Linear, inputs: Tensor, gradients: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    n = len(inputs)
    patches = inputs.reshape(n, -1, layer.in_features).transpose(1, 2)
    rows = gradients.reshape(len(gradients), n, -1, layer.out_features).transpose(2, 3)
    yield patches, rows


def _linear_apply(layer: nn.Linear, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    del layer
    return F.linear(values, weight, bias)


def _linear_add(total: Tensor, layer: nn.Linear, values: Tensor) -> Tensor:
    return torch.addmm(total, values, layer.weight.T)


def _convolution_patches(
    layer: nn.Conv2d, inputs: Tensor, gradients: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    if inputs.ndim != 4:
        raise ValueError(
            f"a convolution saw inputs of shape {tuple(inputs.shape)}; expected (n, channels, "
            "height, width), with the examples on an axis of their own"
        )
    rows = gradients.flatten(3)
    padded = F.pad(inputs, *_padding(layer))
    channels = layer.in_channels // layer.groups
    filters = layer.out_channels // layer.groups
    for group in range(layer.groups):
        seen = padded[:, group * channels : (group + 1) * channels]
        patches = F.unfold(seen, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)
        yield patches, rows[:, :, group * filters : (group + 1) * filters]


def _any_convolution_patches(
    layer: nn.Conv1d | nn.Conv3d, inputs: Tensor, gradients: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what :func:`_convolution_patches` does, for any number of dimensions."""
    rows = gradients.flatten(3)
    padded = F.pad(inputs, *_padding(layer))
    channels = layer.in_channels // layer.groups
    filters = layer.out_channels // layer.groups
    for group in range(layer.groups):
        seen = padded[:, group * channels : (group + 1) * channels]
        patches = _unfolded(seen, layer.kernel_size, layer.stride, layer.dilation)
        yield patches, rows[:, :, group * filters : (group + 1) * filters]


def _unfolded(
    values: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Tensor:
    """Return the patches (n, channels · kernel positions, S) of values (n, channels, …)."""
    dimensions = range(2, 2 + len(kernel))
    for dim, k, s, d in zip(dimensions, kernel, stride, dilation, strict=True):
        values = values.unfold(dim, d * (k - 1) + 1, s)[..., ::d]
    places = values.movedim(tuple(dimensions), tuple(range(-len(kernel), 0)))
    return places.reshape(len(values), values.shape[1] * prod(kernel), -1)


def _any_convolution_apply(
    layer: nn.Conv1d | nn.Conv3d, values: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    return layer._conv_forward(values, weight, bias)


def _transposed_convolution_rows(
    layer: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d,
    inputs: Tensor,
    gradients: Tensor,
) -> Tensor:
    """Write out the gradients: h_o(s · stride + k · dilation − padding) sums x_i(s) W[i, o, k]."""
    classes, n = gradients.shape[:2]
    flat = gradients.flatten(0, 1)
    edges = [amount for side in reversed(layer.padding) for amount in (side, side)]
    window = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    sizes = zip(inputs.shape[2:], layer.stride, window, strict=True)
    reach = [(seen - 1) * stride + wide for seen, stride, wide in sizes]
    seen = inputs.flatten(2)  # (n, I, S)
    parts = []
    for group in range(layer.groups):
        own = flat.tensor_split(layer.groups, dim=1)[group]
        padded = F.pad(own, edges)
        for dim, length in enumerate(reach, start=2):  # beyond it the output is the bias alone
            padded = padded.narrow(dim, 0, length)
        patches = _unfolded(padded, layer.kernel_size, layer.stride, layer.dilation)
        patches = patches.view(classes, n, -1, patches.shape[2])  # (C, n, O · K, S)
        products = seen.tensor_split(layer.groups, dim=1)[group] @ patches.transpose(2, 3)
        parts.append(products.flatten(2))
    weights = torch.cat(parts, dim=2)
    return _scale_and_shift(layer, weights, gradients.flatten(3).sum(dim=3))


def _padding(layer: nn.Conv2d) -> tuple[list[int], str]:
    """Return the padding as :func:`torch.nn.functional.pad` takes it: last dimension first."""
    mode = {"zeros": "constant"}.get(layer.padding_mode, layer.padding_mode)
    return [amount for side in reversed(_sides(layer)) for amount in side], mode


def _sides(layer: nn.Conv2d) -> list[tuple[int, int]]:
    if layer.padding == "valid":
        return [(0, 0) for _ in layer.kernel_size]
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(amount, amount) for amount in layer.padding]


def _convolution_add(total: Tensor, layer: nn.Conv2d, values: Tensor) -> Tensor:
    return total + layer._conv_forward(values, layer.weight, None)


def _batch_norm_rows(
    layer: nn.BatchNorm1d | nn.BatchNorm2d, inputs: Tensor, gradients: Tensor
) -> Tensor:
    statistics = layer.running_mean.to(inputs), layer.running_var.to(inputs)
    normalised = F.batch_norm(inputs, *statistics, eps=layer.eps)
    shape = (*gradients.shape[:3], -1)
    weights = gradients.new_empty(gradients.shape[:3])
    for part, into in zip(gradients, weights, strict=True):  # one output: products stay in cache
        into.copy_((part * normalised).reshape(shape[1:]).sum(dim=2))
    return _scale_and_shift(layer, weights, gradients.reshape(shape).sum(dim=3))


def _layer_norm_rows(layer: nn.LayerNorm, inputs: Tensor, gradients: Tensor) -> Tensor:
    normalised = F.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
    shape = (*gradients.shape[:2], -1, prod(layer.normalized_shape))
    weights = (gradients * normalised).reshape(shape).sum(dim=2)
    return _scale_and_shift(layer, weights, gradients.reshape(shape).sum(dim=2))


def _group_norm_rows(layer: nn.GroupNorm, inputs: Tensor, gradients: Tensor) -> Tensor:
    normalised = F.group_norm(inputs, layer.num_groups, eps=layer.eps)
    return _channel_rows(layer, normalised, gradients)


def _instance_norm_rows(
    layer: nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d,
    inputs: Tensor,
    gradients: Tensor,
) -> Tensor:
    if layer.running_mean is None:
        normalised = F.instance_norm(inputs, eps=layer.eps)
    else:
        statistics = layer.running_mean.to(inputs), layer.running_var.to(inputs)
        own = layer.training
        normalised = F.instance_norm(
            inputs, *(part.clone() for part in statistics), use_input_stats=own, eps=layer.eps
        )
    return _channel_rows(layer, normalised, gradients)


def _channel_rows(layer: nn.Module, normalised: Tensor, gradients: Tensor) -> Tensor:
    """Write out the gradients of a scale and a shift of channels, the axis after the examples."""
    shape = (*gradients.shape[:3], -1)
    weights = (gradients * normalised).reshape(shape).sum(dim=3)
    return _scale_and_shift(layer, weights, gradients.reshape(shape).sum(dim=3))


def _root_mean_square_rows(layer: nn.RMSNorm, inputs: Tensor, gradients: Tensor) -> Tensor:
    normalised = F.rms_norm(inputs, layer.normalized_shape, eps=layer.eps)
    shape = (*gradients.shape[:2], -1, prod(layer.normalized_shape))
    return (gradients * normalised).reshape(shape).sum(dim=2)


def _slope_rows(layer: nn.PReLU, inputs: Tensor, gradients: Tensor) -> Tensor:
    """Write out the gradients of slopes: h = w x where x < 0, one w for all, or one per channel."""
    products = gradients * inputs.clamp(max=0)
    if layer.num_parameters == 1:
        return products.flatten(2).sum(dim=2, keepdim=True)
    return products.reshape((*gradients.shape[:3], -1)).sum(dim=3)


def _scale_and_shift(layer: nn.Module, weights: Tensor, biases: Tensor) -> Tensor:
    if layer.bias is None:
        return weights
    if layer.weight is None:
        return biases
    return torch.cat([weights, biases], dim=2)


_ANY_CONVOLUTION = Patches(_any_convolution_patches, 2, _any_convolution_apply, _convolution_add)

RULES: dict[type[nn.Module], Patches | Rows | Looked] = {
    nn.Linear: Patches(_linear_patches, -1, _linear_apply, _linear_add),
    nn.Conv2d: Patches(_convolution_patches, 2, nn.Conv2d._conv_forward, _convolution_add),
    nn.BatchNorm1d: Rows(_batch_norm_rows),
    nn.BatchNorm2d: Rows(_batch_norm_rows),
    nn.LayerNorm: Rows(_layer_norm_rows),
    **dict.fromkeys((nn.Conv1d, nn.Conv3d), _ANY_CONVOLUTION),
    nn.ConvTranspose1d: Rows(_transposed_convolution_rows),
    nn.ConvTranspose2d: Rows(_transposed_convolution_rows),
    nn.ConvTranspose3d: Rows(_transposed_convolution_rows),
    nn.BatchNorm3d: Rows(_batch_norm_rows),
    nn.GroupNorm: Rows(_group_norm_rows),
    nn.InstanceNorm1d: Rows(_instance_norm_rows),
    nn.InstanceNorm2d: Rows(_instance_norm_rows),
    nn.InstanceNorm3d: Rows(_instance_norm_rows),
    nn.RMSNorm: Rows(_root_mean_square_rows),
    nn.PReLU: Rows(_slope_rows),
    nn.Embedding: Looked(),
    NonDynamicallyQuantizableLinear: Patches(_linear_patches, -1, _linear_apply, _linear_add),
}

LAYERS = RULES.keys()
"""The layers with parameters that tangent features are known for."""


def lacks_rule(module: nn.Module) -> str:
    """Return why there is no rule for a module with parameters, or nothing where there is one."""
    if type(module) not in RULES:
        return f"a {type(module).__name__}"
    if isinstance(module, nn.Embedding) and (module.max_norm or module.scale_grad_by_freq):
        return "an Embedding that rescales its rows or their gradients"
    return ""
