"""A probe: what the layers of a model are like, measured again and again while it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from feature_alignment.api.ansatz import initial_weights, weighed_of
from feature_alignment.api.extras import needs
from feature_alignment.api.kernels import Spectrum, aligned, announce, spectrum
from feature_alignment.api.networks import Batch, Output, evaluated, prepared, targets_of
from feature_alignment.measures.ansatz import ansatz_correlations
from feature_alignment.tables import tidy
from feature_alignment.tangents.kernels import BUDGET_MIB, kernels_of
from feature_alignment.tangents.network import network_passes
from feature_alignment.tangents.verify import check_inputs, run, undisturbed
from feature_alignment.training.readings import Reading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = ("alignment", "spectrum", "nfa", "loss")
TRACE_RATIOS = (1, 2, 5, 10, 20, 40, 80, 160)
METHOD = "method"
"""The column that says how a layer was measured."""

Own = Callable[[nn.Module], float]


class Probe:
    """Measure a model on one batch, as often as it is called, and keep what was found.

    The batch stays the same. Measurements are taken in evaluation mode, which is then undone, and
    change nothing of the model or of the random generators.

    ======================  =====  ============================================================
    measure                 layer  what it is
    ======================  =====  ============================================================
    ``alignment``           yes    of the centred tangent kernel with the centred targets; of the
                                   whole model where there is no layer
    ``effective_rank``      no     of the spectrum of the whole centred kernel, with
                                   ``eigenvalue_largest`` and ``trace_ratio`` at several k
    ``uc_nfa_pearson``      yes    WᵀW against the AGOP, with ``uc_nfa_cosine``; ``c_nfa_pearson``
                                   and ``c_nfa_cosine`` are of W − W(0), ``weight_change`` is
                                   ‖W − W(0)‖ / ‖W‖
    ``loss``                no     cross-entropy, with ``accuracy``, for labels; the mean squared
                                   error for values
    ======================  =====  ============================================================

    Attributes:
        methods: By name of the layer, how its kernel was computed at the last measurement.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Batch,
        y: Tensor | None = None,
        measures: Sequence[str | Own] = MEASURES,
        *,
        output: Output | None = None,
        run: str = "own",
        seed: int = 0,
        split: str = "train",
        trainable_only: bool = False,
        budget_mib: int = BUDGET_MIB,
    ):
        """Take the model's present weights for W(0).

        Args:
            model: As in :func:`feature_alignment.api.kernels.layer_kernels`.
            x: As there.
            y: Labels or values, as in :func:`feature_alignment.api.kernels.layer_alignment`.
            measures: Any of ``alignment``, ``spectrum``, ``nfa`` and ``loss``, and functions from
                the model to a number, which are called by their names.
            output: As there.
            run: Name of the run in the table.
            seed: Seed in the table, by which verdicts tell runs apart.
            split: Split in the table.
            trainable_only: Whether only parameters with ``requires_grad`` count for kernels.
            budget_mib: As there.

        Raises:
            ValueError: If a measure is not known, or the model, the batch or the targets do not
                fit.
        """
        unknown = [name for name in measures if not callable(name) and name not in MEASURES]
        if unknown:
            raise ValueError(
                f"unknown measure {unknown[0]!r}; there are {', '.join(MEASURES)}, and any "
                "function from the model to a number"
            )
        self.model = model
        self.measures = tuple(measures)
        self.methods: dict[str, str] = {}
        self._options = {"run": run, "seed": seed, "split": split}
        self._trainable_only, self._budget_mib = trainable_only, budget_mib
        self._rows: list[dict] = []
        with evaluated(model):
            self._made = prepared(model, x, y, output)
            if {"alignment", "loss"} & set(self.measures):
                targets_of(self._made.targets, self._made, self._outputs(), centered=True)
        self.start_from_here()

    def start_from_here(self) -> None:
        """Take the model's present weights for W(0), in place of those it was made with."""
        state = self.model.state_dict()
        self._initial = {name: value.detach().clone() for name, value in state.items()}

    def __call__(self, *, epoch: float | None = None, step: int | None = None) -> pd.DataFrame:
        """Measure the model now.

        Args:
            epoch: How many epochs it was trained for.
            step: How many steps; the number of measurements so far where neither is given.

        Returns:
            What was measured, in the columns of :attr:`table`.
        """
        if epoch is None and step is None:
            step = len({row["step"] for row in self._rows})
        with evaluated(self.model):
            rows = [
                {
                    "paper": "own",
                    **self._options,
                    "epoch": epoch,
                    "step": step,
                    "measure": reading.measure,
                    "value": reading.value,
                    "layer": reading.layer,
                    "at": reading.at,
                    METHOD: method,
                }
                for reading, method in self._readings()
            ]
        self._rows += rows
        return tidy(rows, (METHOD,))

    @property
    def table(self) -> pd.DataFrame:
        """Everything measured so far, one value per row."""
        return tidy(self._rows, (METHOD,))

    def plot(self) -> Figure:
        """Draw every measure over time, by layer where it has layers."""
        with needs("plots"):
            from feature_alignment.api.drawing import drawn
        return drawn(self.table)

    def _readings(self) -> Iterator[tuple[Reading, str | None]]:
        if {"alignment", "spectrum"} & set(self.measures):
            yield from self._kernel()
        if "nfa" in self.measures:
            yield from self._ansatz()
        if "loss" in self.measures:
            for name, value in self._losses().items():
                yield Reading(name, value), None
        for measure in self.measures:
            if callable(measure):
                with torch.no_grad():
                    value = measure(self.model)
                value = value.detach() if isinstance(value, Tensor) else value
                yield Reading(measure.__name__, float(value)), None

    def _kernel(self) -> Iterator[tuple[Reading, str | None]]:
        made, options = self._made, {"trainable_only": self._trainable_only}
        found = network_passes(made.module, made.inputs, **options)
        methods = {made.name(name): made.text(how) for name, how in found.methods.items()}
        if methods != self.methods:
            announce(methods)
        self.methods = methods
        options = {"centered": True, "budget_mib": self._budget_mib}
        if "alignment" in self.measures:
            alignments, kernel = aligned(made, found, **options)
            yield Reading("alignment", alignments.network), None
            for name, value in alignments.items():
                yield Reading("alignment", value, name), alignments.methods[name]
        else:
            kernel = sum(part for _, part in kernels_of(found.layers, found.outputs, **options))
        if "spectrum" in self.measures:
            for reading in _spectral(spectrum(kernel)):
                yield reading, None

    def _ansatz(self) -> Iterator[tuple[Reading, str | None]]:
        covariances, weights, methods = weighed_of(self._made)
        before = initial_weights(self._initial, weights)
        for name, covariance in covariances.items():
            weight = weights[name].double()
            moved = weight - before[name].double()
            change = (moved.norm() / weight.norm()).item()
            yield Reading("weight_change", change, name), methods[name]
            for kind, matrix in (("uc_nfa", weight), ("c_nfa", moved)):
                if matrix.any():
                    found = ansatz_correlations(matrix, covariance)
                    yield Reading(f"{kind}_pearson", found.pearson, name), methods[name]
                    yield Reading(f"{kind}_cosine", found.cosine, name), methods[name]

    def _outputs(self) -> Tensor:
        module, inputs = self._made.module, self._made.inputs
        dtype = check_inputs(module, inputs)
        with undisturbed(module):
            return run(module, inputs, dtype, ())[0].detach()

    def _losses(self) -> Mapping[str, float]:
        made, outputs = self._made, self._outputs().double()
        y = torch.as_tensor(made.targets, device=outputs.device)
        targets = targets_of(y, made, outputs, centered=False)
        if y.is_floating_point() or outputs.shape[1] == 1:
            return {"loss": F.mse_loss(outputs, targets).item()}
        classes = made.shape[-1]
        outputs, labels = outputs.reshape(-1, classes), y.reshape(-1).long()
        if len(outputs) != len(labels):  # whole numbers that are values of several outputs
            return {"loss": F.mse_loss(outputs.view_as(targets), targets).item()}
        hits = (outputs.argmax(dim=1) == labels).double().mean().item()
        return {"loss": F.cross_entropy(outputs, labels).item(), "accuracy": hits}


def _spectral(found: Spectrum) -> Iterator[Reading]:
    yield Reading("effective_rank", found.effective_rank)
    yield Reading("eigenvalue_largest", float(found.eigenvalues[0]))
    for count in TRACE_RATIOS:
        if count < len(found.eigenvalues):
            yield Reading("trace_ratio", found.trace_ratio(count), at=count)
