"""Attention as linear layers: what the projections of MultiheadAttention see and return.

:class:`torch.nn.MultiheadAttention` projects queries, keys and values by one weight, attends, and
projects again, all inside one function. While a network is run to be measured, its attention
modules do the same in three steps, so that both projections are linear layers like any other:

    [q, k, v] = x W_inᵀ + b_in,    a = attention(q, k, v),    h = a W_outᵀ + b_out.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from feature_alignment.models.undrawn import undrawn
from feature_alignment.tangents.layers import LayerPass
from feature_alignment.tangents.verify import LayerFault

PROJECTED = NonDynamicallyQuantizableLinear
"""The type of the second projection, which attention does not call."""
JOINED = ("in_proj_weight", "in_proj_bias")

Record = Callable[[str, Sequence[Tensor], Tensor], Tensor]


def projection_of(name: str, module: nn.Module, own: Collection[str]) -> LayerPass | None:
    """Return the first projection of an attention module as a linear layer.

    Args:
        name: The module's name in the network.
        module: Any module.
        own: Those of its own parameters that count.

    Returns:
        The layer, or ``None`` where the module is not plain attention with queries, keys and
        values of one width, or where further keys count.
    """
    if type(module) is not nn.MultiheadAttention or not set(own) <= set(JOINED):
        return None
    if module.in_proj_weight is None:
        return None
    outputs, inputs = module.in_proj_weight.shape
    linear = undrawn(nn.Linear, in_features=inputs, out_features=outputs, bias=False)
    linear.weight, linear.bias = module.in_proj_weight, module.in_proj_bias
    counted = tuple(part for part in JOINED if part in own)
    plain = tuple(part.removeprefix("in_proj_") for part in counted)
    known_as = tuple(f"{name}.{part}" if name else part for part in counted)
    return LayerPass(name, linear, None, None, plain, known_as=known_as)


@contextmanager
def projected(model: nn.Module, layers: Mapping[str, LayerPass], record: Record) -> Iterator[None]:
    """Let attention modules call ``record`` at each projection that is among the layers.

    Args:
        model: The network that is to be run.
        layers: The layers whose passes are wanted, by name.
        record: From a layer's name, what it saw and what it returned to what is passed on.
    """
    changed = []
    for name, module in model.named_modules():
        own = {name, f"{name}.out_proj" if name else "out_proj"} & layers.keys()
        if type(module) is nn.MultiheadAttention and own and "forward" not in vars(module):
            module.forward = partial(_attend, module, name, own, record)
            changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _attend(
    module: nn.MultiheadAttention,
    name: str,
    own: Collection[str],
    record: Record,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Do what the ``forward`` of the module does, with every example on the first axis."""
    itself = query is key and key is value
    if query.ndim != 3 or (name in own and not itself):
        raise LayerFault(
            name if name in own else next(iter(own)),
            f"attention {name!r} has several inputs, or inputs of the shape {tuple(query.shape)}; "
            "its projections are known for (n, T, width) that attends to itself",
        )
    turned = [part if module.batch_first else part.transpose(0, 1) for part in (query, key, value)]
    if itself and module.in_proj_weight is not None:
        inner = F.linear(turned[0], module.in_proj_weight, module.in_proj_bias)
        if name in own:
            inner = record(name, turned[:1], inner)
        inner = inner.chunk(3, dim=2)
    else:
        weights = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
        if module.in_proj_weight is not None:
            weights = module.in_proj_weight.chunk(3)
        biases = [None] * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
        inner = [F.linear(*parts) for parts in zip(turned, weights, biases, strict=True)]
    width = module.embed_dim
    same = torch.eye(width, dtype=inner[0].dtype, device=inner[0].device)
    attended, shares = F.multi_head_attention_forward(
        *(part.transpose(0, 1) for part in inner),
        width,
        module.num_heads,
        None,
        None,
        module.bias_k,
        module.bias_v,
        module.add_zero_attn,
        module.dropout,
        same,
        None,
        training=module.training,
        key_padding_mask=key_padding_mask,
        need_weights=need_weights,
        attn_mask=attn_mask,
        use_separate_proj_weight=True,
        q_proj_weight=same,
        k_proj_weight=same,
        v_proj_weight=same,
        average_attn_weights=average_attn_weights,
        is_causal=is_causal,
    )
    attended = attended.transpose(0, 1)  # (n, T, width)
    outputs = F.linear(attended, module.out_proj.weight, module.out_proj.bias)
    out = f"{name}.out_proj" if name else "out_proj"
    if out in own:
        outputs = record(out, [attended], outputs)
    return outputs if module.batch_first else outputs.transpose(0, 1), shares
