"""Tangent kernels, covariances and alignment by brute force, one example at a time."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


def jacobians(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """∂f_c(x_i)/∂θ of every module with parameters, (n, C, P): weights first, then biases."""
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def outputs(values, x):
        return torch.func.functional_call(network, values, (x[None],))[0]

    jacobian = torch.func.jacrev(outputs)
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the others cannot be vectorised
            found = torch.func.vmap(jacobian, in_dims=(None, 0))(parameters, inputs)
    except RuntimeError:  # PReLU's and others' backward cannot be vectorised twice
        each = [jacobian(parameters, x) for x in inputs]
        found = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    columns = {}
    for name, value in found.items():
        columns.setdefault(name.rpartition(".")[0], []).append(value.flatten(2))
    return {module: torch.cat(values, dim=2).detach() for module, values in columns.items()}


def kernel(jacobian: Tensor) -> Tensor:
    """K[i,c,j,d] = Σ_θ ∂f_c(x_i)/∂θ · ∂f_d(x_j)/∂θ from a Jacobian (n, C, P)."""
    return torch.einsum("icp,jdp->icjd", jacobian, jacobian)


def layer_kernels(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """K_l of every module with parameters, (n, C, n, C)."""
    return {name: kernel(rows) for name, rows in jacobians(network, inputs).items()}


def covariances(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """K_l = Σ_α Σ_c Σ_s g gᵀ, g = ∂f_c(x_α)/∂h_l(s), of linear and convolutional layers.

    By one backward pass per example and output; layers in the order of their calls.
    """
    seen: dict[str, Tensor] = {}

    def record(name: str, output: Tensor) -> Tensor:
        if output.requires_grad:
            seen[name] = output
        return output.clone()  # an in-place activation leaves what was recorded alone

    hooks = [
        module.register_forward_hook(
            lambda _, __, output, name=name: record(name, output),
            prepend=True,  # h_l is what the layer computes, before hooks of the network's own
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    ]
    outputs = network(inputs)
    for hook in hooks:
        hook.remove()
    found: dict[str, Tensor] = {}
    for example, row in enumerate(outputs):
        for output in row:
            options = {"retain_graph": True, "allow_unused": True}
            gradients = torch.autograd.grad(output, list(seen.values()), **options)
            for name, gradient in zip(seen, gradients, strict=True):
                if gradient is None:
                    continue
                if not isinstance(network.get_submodule(name), nn.Linear):
                    gradient = gradient.movedim(1, -1)
                rows = gradient[example].reshape(-1, gradient.shape[-1])
                found[name] = found.get(name, 0) + rows.T @ rows
    return {name: found[name] for name in seen if name in found}


def alignment(kernel: Tensor, targets: Tensor) -> float:
    """yᵀKy / (‖K‖_F ‖y‖²) with K as one (n C, n C) matrix and y as one vector."""
    y = targets.flatten()
    matrix = kernel.reshape(len(y), len(y))
    return float(y @ matrix @ y / (torch.linalg.matrix_norm(matrix) * (y @ y)))


def cka(first: Tensor, second: Tensor) -> float:
    """⟨HKH, HLH⟩ / (‖HKH‖ ‖HLH‖) with the matrix H = I − 11ᵀ/n written out."""
    n = len(first)
    centring = torch.eye(n, dtype=first.dtype) - torch.full((n, n), 1 / n, dtype=first.dtype)
    first, second = (centring @ matrix @ centring for matrix in (first, second))
    norms = torch.linalg.matrix_norm(first) * torch.linalg.matrix_norm(second)
    return float(torch.trace(first @ second.T) / norms)
