"""The averaged tangent features of a path, by one backward pass per example and point."""

import copy

import torch
from torch import Tensor, nn


def features(start: nn.Module, end: nn.Module, inputs: Tensor, points: int) -> Tensor:
    """ḡ(x) = mean over t of ∇_θ f(x; (1 − t) θ_0 + t θ_T), (n, P), t from 0 to 1."""
    network, total = copy.deepcopy(start), 0
    first, last = (list(net.parameters()) for net in (start, end))
    for step in range(points):
        t = step / (points - 1)
        with torch.no_grad():
            for place, (a, b) in enumerate(zip(first, last, strict=True)):
                list(network.parameters())[place].copy_((1 - t) * a + t * b)
        total = total + torch.stack([gradient(network, x) for x in inputs])
    return total / points


def gradient(network: nn.Module, x: Tensor) -> Tensor:
    """∇_θ f(x) as one vector, in the order of the parameters."""
    network.zero_grad()
    network(x[None]).sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def displacement(start: nn.Module, end: nn.Module) -> Tensor:
    """θ_T − θ_0 as one vector."""
    pairs = zip(start.parameters(), end.parameters(), strict=True)
    return torch.cat([(b - a).detach().flatten() for a, b in pairs])


def cosine(first: Tensor, second: Tensor) -> float:
    """⟨K, L⟩ / (‖K‖ ‖L‖), matrices taken as vectors."""
    return float((first * second).sum() / (first.square().sum() * second.square().sum()).sqrt())
