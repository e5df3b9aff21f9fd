"""Adaptive against fixed tangent features of a user's model, on the user's data."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_alignment.api.kernels import spectrum, tangent_kernel
from feature_alignment.api.networks import Batch, Output, evaluated, prepared, targets_of
from feature_alignment.tables import tidy
from feature_alignment.tangents.adaptive import AdaptiveModel
from feature_alignment.tangents.directional import DirectionalModel
from feature_alignment.tangents.linearized import LinearizedModel

CHAINS = {"fixed": LinearizedModel, "adaptive": AdaptiveModel}
PROBED = 64
"""Of how many examples the kernel sets the learning rate."""
COLUMNS = ("model", "method")

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def fixed_vs_adaptive(
    model: nn.Module,
    train: tuple[Batch, Tensor],
    test: tuple[Batch, Tensor],
    *,
    epochs: int = 20,
    batch_size: int = 50,
    learning_rate: float | None = None,
    optimizer: Optimizer | None = None,
    output: Output | None = None,
    run: str = "own",
    seed: int = 0,
) -> pd.DataFrame:
    """Train two linearisations of a model: on its tangent features as they are, and adaptive ones.

    Both are f(x; θ0) + J(x) δ with the same J of the model as it is, in evaluation mode. *Fixed*
    features have a free δ. *Adaptive* ones have δ = M1 W M2 in linear layers and convolutions, with
    W = 0 and the M identities at the start, so that features adapt; see
    :mod:`feature_alignment.tangents.adaptive`. Both see the same batches.

    Args:
        model: Any module. It is not changed.
        train: (x, y), as in :func:`feature_alignment.api.kernels.layer_alignment`.
        test: The same, for measuring alone.
        epochs: Passes through the training examples.
        batch_size: Examples per step.
        learning_rate: Of SGD with momentum 0.9; half of n / λ_max of the tangent kernel on some
            training examples where none is given, at which both models start alike and stable.
        optimizer: Makes another optimiser of parameters, in place of that.
        output: As there.
        run: Name of the run in the table.
        seed: Orders the examples.

    Returns:
        A tidy table of ``loss`` (cross-entropy for labels, mean squared error for values) and, for
        labels, ``accuracy``, after every epoch, with the columns ``model`` (``fixed`` or
        ``adaptive``) and ``method``: ``chain`` where the model is a sequence that is walked layer
        by layer, else ``jvp``.

    Raises:
        ValueError: If the batches do not fit, or training diverges.
    """
    (x, y), (x_test, y_test) = train, test
    counts = [len(next(iter(part.values())) if isinstance(part, Mapping) else part) for part in
              (x, x_test)]  # fmt: skip
    y, y_test = torch.as_tensor(y), torch.as_tensor(y_test)
    targets = torch.cat([y, y_test])
    with evaluated(model):
        made = prepared(model, _joined(x, x_test), targets, output)
        network, inputs = copy.deepcopy(made.module).eval(), made.inputs
        with torch.no_grad():
            outputs = network(inputs).detach()
        aims = targets_of(targets, made, outputs, centered=False)
        labels = aims.shape == outputs.shape and not targets.is_floating_point()
        labels = labels and made.shape.numel() > 1 and targets.ndim == 1
        if optimizer is None:
            rate = learning_rate or _stable_rate(network, inputs[: min(PROBED, counts[0])])
            optimizer = lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=0.9)  # noqa: E731
    goal = targets.to(outputs.device).long() if labels else aims
    places = {"train": slice(0, counts[0]), "test": slice(counts[0], None)}
    rows: list[dict] = []
    for kind in CHAINS:
        student, examples, method = _student(network, inputs, kind)
        trained = optimizer([value for value in student.parameters() if value.requires_grad])
        order = torch.Generator().manual_seed(seed)
        for epoch in range(epochs + 1):
            if epoch:
                chosen = torch.randperm(counts[0], generator=order)
                for part in chosen.split(batch_size):
                    trained.zero_grad(set_to_none=True)
                    _loss(student(examples[part]), goal[part]).backward()
                    trained.step()
            for split, place in places.items():
                for measure, value in _measured(student, examples, goal, place).items():
                    own = {"paper": "own", "run": run, "seed": seed, "epoch": epoch}
                    own |= {"split": split, "model": kind, "method": method}
                    rows.append({**own, "measure": measure, "value": value})
                    if not torch.isfinite(torch.tensor(value)):
                        raise ValueError(
                            f"training the {kind} model diverged in epoch {epoch}; lower the "
                            "learning rate"
                        )
    return tidy(rows, COLUMNS)


def _joined(x: Batch, more: Batch) -> Batch:
    if isinstance(x, Mapping):
        return {name: torch.cat([value, more[name]]) for name, value in x.items()}
    return torch.cat([x, more])


def _student(network: nn.Module, inputs: Tensor, kind: str) -> tuple[nn.Module, object, str]:
    """Return a tangent model, what it takes of all examples, and how it was made."""
    try:
        student = CHAINS[kind](network)
        return student, student.base_pass(inputs), "chain"
    except ValueError:  # not a chain of these layers
        return DirectionalModel(network, kind), inputs, "jvp"


def _stable_rate(network: nn.Module, inputs: Tensor) -> float:
    kernel = tangent_kernel(network, inputs)
    return 0.5 * len(inputs) / float(spectrum(kernel).eigenvalues[0])


def _loss(outputs: Tensor, goal: Tensor) -> Tensor:
    if goal.ndim == 1:
        return F.cross_entropy(outputs, goal)
    return F.mse_loss(outputs, goal)


@torch.no_grad()
def _measured(
    student: nn.Module, examples: object, goal: Tensor, place: slice
) -> Mapping[str, float]:
    goal = goal[place]
    outputs = torch.cat([student(part) for part in _parts(examples[place])])
    found = {"loss": _loss(outputs, goal).item()}
    if goal.ndim == 1:
        found["accuracy"] = (outputs.argmax(dim=1) == goal).double().mean().item()
    return found


def _parts(examples: object) -> Iterator[object]:
    yield from examples.split(256)
