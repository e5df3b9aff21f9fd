"""What ``import feature_alignment as fa`` offers."""

import ast
import copy
import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import test_verify
import torch
from torch import nn
from torch.nn import functional as F

import feature_alignment as fa
from conftest import ROOT
from feature_alignment import surface
from feature_alignment.api import program
from feature_alignment.api.networks import prepared
from feature_alignment.api.published import published
from feature_alignment.measures.ansatz import ansatz_correlations
from feature_alignment.provenance import PACKAGE, SOURCE_ROOT
from feature_alignment.tables import COLUMNS
from feature_alignment.tangents import kernels, preactivations
from feature_alignment.tangents.adaptive import AdaptiveModel
from feature_alignment.tangents.directional import DirectionalModel
from feature_alignment.tangents.linearized import LinearizedModel


def network(outputs=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.Dropout(0.5),
        nn.GELU(),
        nn.Linear(8, outputs),
    ).double()


def batch(count=20, seed=1):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 1, 8, 8, dtype=torch.float64, generator=draw)
    return x, (x[:, 0, 0, 0] > 0).long() + (x[:, 0, 4, 4] > 0).long()


class Words(nn.Module):
    """Takes arguments by name, and returns a dictionary of outputs at every place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(7, 5), nn.Linear(5, 4)

    def forward(self, ids, mask):
        hidden = self.embed(ids).tanh() * mask[..., None]
        return {"logits": self.head(hidden), "hidden": hidden}


def words():
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 7, (6, 3), generator=draw)
    return Words(), {"ids": ids, "mask": torch.ones(6, 3)}, ids.roll(1, 1) % 4


def logits(found):
    return found["logits"]


IMPORT = """
import sys, time
started = time.perf_counter()
import feature_alignment as fa
assert "layer_kernels" in dir(fa)
heavy = {"torch", "numpy", "pandas", "scipy", "matplotlib", "snakemake"} & set(sys.modules)
print(heavy or "nothing", fa.__version__)
"""


def test_to_import_loads_nothing():
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert done.stdout.startswith("nothing "), done.stderr


def test_names_are_those_of_the_types_and_all_are_found():
    stub = ast.parse((SOURCE_ROOT / PACKAGE / "__init__.pyi").read_text())
    typed = {
        alias.asname: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == surface.NAMES
    for name in surface.NAMES:
        assert getattr(fa, name).__name__ == name
    assert (SOURCE_ROOT / PACKAGE / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no 'kernels'; it offers: layer_kernels"):
        _ = fa.kernels


WITHOUT = """
import sys
absent = ("matplotlib", "snakemake", "jsonschema", "yaml", "sklearn", "torchvision", "jinja2",
          "pooch", "requests", "safetensors", "PIL", "tqdm")
sys.modules |= dict.fromkeys(absent)  # which cannot be imported from now on
import torch
from torch import nn
import feature_alignment as fa
net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
x, y = torch.randn(9, 4), torch.arange(9) % 3
probe = fa.Probe(net, x, y)
tables = []
for seed in range(3):
    probe(epoch=0)
    for parameter in net.parameters():
        parameter.data.mul_(1.1)
    tables.append(probe(epoch=1).assign(seed=seed))
fa.layer_kernels(net, x), fa.tangent_kernel(net, x), fa.layer_alignment(net, x, y)
fa.spectrum(fa.tangent_kernel(net, x)).effective_rank, fa.nfa(net, x), fa.agop(net, x)
fa.memory_needed(net, x)
fa.fixed_vs_adaptive(net, (x, y), (x, y), epochs=1)
print(fa.judge(tables, "at_least", y="loss", bound=0.0, x="epoch", at=1).verdict)
"""


def test_instruments_need_nothing_of_the_workflow_and_no_plots():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.stdout.strip() in ("open", "supported"), done.stderr


LACKING = """
import sys
sys.modules.update(dict.fromkeys(("matplotlib", "jsonschema")))
import torch, feature_alignment as fa
from feature_alignment.api.program import program
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
probe = fa.Probe(model, torch.randn(6, 3), torch.arange(6) % 2)
probe(epoch=0)
for draw in (probe.plot, lambda: fa.against(probe.table, "beaglehole2024/b1_nfa_emergence")):
    try:
        draw()
    except ModuleNotFoundError as error:
        print(error)
sys.argv = ["feature-alignment", "list"]
program()
"""


def test_what_an_extra_brings_is_named_where_it_is_lacking():
    done = subprocess.run([sys.executable, "-c", LACKING], capture_output=True, text=True)
    told = "expected the package {}, which is not installed; pip install 'feature-alignment[{}]'"
    assert done.stdout.count(told.format("matplotlib", "plots")) == 2
    assert done.stderr.startswith(f"error: {told.format('jsonschema', 'workflow')}")
    assert done.returncode != 0


def test_kernels_are_those_of_the_instruments_in_evaluation_mode():
    net, (x, _) = network(), batch()
    modes = [module.training for module in net.modules()]
    found = fa.layer_kernels(net, x)
    assert [module.training for module in net.modules()] == modes
    expected = kernels.layer_kernels(copy.deepcopy(net).eval(), x)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert set(found.methods.values()) == {"rule"}
    torch.testing.assert_close(found.total(), fa.tangent_kernel(net, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("centered", [False, True])
def test_kernels_by_output_and_their_sum_are_parts_of_the_full_one(centered):
    net, (x, _) = network(), batch()
    options = {"centered": centered}
    full = fa.layer_kernels(net, x, **options)
    each, trace = (fa.layer_kernels(net, x, outputs=kind, **options) for kind in ("each", "trace"))
    for name, kernel in full.items():
        close = {"rtol": 1e-9, "atol": 1e-12 * kernel.abs().max().item()}
        torch.testing.assert_close(each[name], torch.einsum("icjc->cij", kernel), **close)
        torch.testing.assert_close(trace[name], torch.einsum("icjc->ij", kernel), **close)
    whole = fa.tangent_kernel(net, x, outputs="trace", **options)
    torch.testing.assert_close(whole, sum(trace.values()), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="'full', 'trace' or 'each', got 'sum'"):
        fa.layer_kernels(net, x, outputs="sum")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_that_of_the_same_weights_in_single(kind):
    """Rules compute in float32; what has none is differentiated in float32 too."""
    net, (x, _) = network().to(kind), batch()
    net.append(nn.GRUCell(3, 2, dtype=kind))
    single = copy.deepcopy(net).float()
    found, expected = (fa.layer_kernels(m, x.to(kind).to(t)) for m, t in
                       ((net, kind), (single, torch.float32)))  # fmt: skip
    assert any(method != "rule" for method in found.methods.values())
    for name, kernel in expected.items():
        assert torch.equal(found[name], kernel)


def test_alignment_is_that_of_the_instruments():
    net, (x, y) = network(), batch()
    found = fa.layer_alignment(net, (x, y))
    targets = F.one_hot(y, 3).double() - F.one_hot(y, 3).double().mean(dim=0)
    net.eval()
    summaries, total = kernels.summarise_kernels(net, x, targets, centered=True)
    scale = targets.square().sum().item()
    for name, summary in summaries.items():
        assert found[name] == pytest.approx(summary.form / summary.norm / scale, rel=1e-12)
    form = torch.einsum("ic,icjd,jd", targets, total, targets)
    assert found.network == pytest.approx((form / total.norm() / scale).item(), rel=1e-12)
    assert 0 < found.network < 1


def test_alignment_of_regression_and_of_one_output():
    net, (x, _) = network(outputs=1), batch()
    y = x.mean(dim=(1, 2, 3))
    flat = nn.Sequential(net, nn.Flatten(0))
    assert fa.layer_alignment(flat, x, y).network == pytest.approx(
        fa.layer_alignment(net, x, y[:, None]).network, rel=1e-12
    )
    signs = (y > 0).long()
    assert fa.layer_alignment(net, x, signs).network == pytest.approx(
        fa.layer_alignment(net, x, 2.0 * signs - 1).network, rel=1e-9
    )


def test_arguments_by_name_and_outputs_at_every_place():
    model, x, y = words()
    found = fa.layer_kernels(model, x, output=logits)
    assert {name: tuple(kernel.shape) for name, kernel in found.items()} == dict.fromkeys(
        ("embed", "head"), (6, 12, 6, 12)
    )
    labels = F.one_hot(y, 4).float().flatten(1)
    alike = [fa.layer_alignment(model, x, target, output=logits) for target in (y, labels)]
    assert alike[0] == pytest.approx(alike[1], rel=1e-6)
    first = fa.layer_kernels(model, x, output=lambda found: found["logits"][:, 0])
    torch.testing.assert_close(first["head"], found["head"][:, :4, :, :4])


def test_spectrum_is_that_of_the_matrix():
    net, (x, _) = network(), batch()
    kernel = fa.tangent_kernel(net, x, centered=True)
    found = fa.spectrum(kernel)
    values = np.sort(np.linalg.eigvalsh(kernel.reshape(60, 60).numpy()))[::-1].clip(0)
    np.testing.assert_allclose(found.eigenvalues, values, atol=1e-9 * values[0])
    shares = values[values > 0] / values.sum()
    assert found.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert found.trace_ratio(2) == pytest.approx(shares[:2].sum())


def test_the_ansatz_is_that_of_the_instruments_and_agop_that_of_gradients():
    net, (x, _) = network(), batch()
    start = copy.deepcopy(net)
    for parameter in net.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    found = fa.nfa(net, x, initial=start)
    assert list(found) == ["0", "5"]  # and not the last
    net.eval()
    covariances = preactivations.graph_covariances(net, [x])
    for name, layer in found.items():
        weight, before = (m.get_submodule(name).weight.detach().flatten(1) for m in (net, start))
        assert layer.uncentred == ansatz_correlations(weight, covariances[name])
        assert layer.centred == ansatz_correlations(weight - before, covariances[name])
        assert layer.weight_change == pytest.approx(
            ((weight - before).norm() / weight.norm()).item()
        )
    assert found.methods["8"].endswith("the last layer")
    assert fa.nfa(net, x)["5"].centred is None
    seen = net[:5](x).detach().requires_grad_()
    gradients = [
        torch.autograd.grad(part, seen, retain_graph=True)[0] for part in net[5:](seen).sum(0)
    ]
    expected = sum(gradient.T @ gradient for gradient in gradients)
    torch.testing.assert_close(fa.agop(net, x)["5"], expected, rtol=1e-10, atol=1e-12)


def test_adapters_count_alone():
    net, (x, _) = network(), batch()
    net.requires_grad_(False)
    net[8].requires_grad_(True)
    assert list(fa.layer_kernels(net, x, trainable_only=True)) == ["8"]
    assert len(fa.layer_kernels(net, x)) == 4


def test_another_method_is_told(caplog):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.inner(self.inner(x)).tanh())

    x = torch.randn(30, 4)
    with caplog.at_level(logging.WARNING):
        found = fa.layer_kernels(Twice(), x)
    assert found.methods["head"] == "rule"
    assert found.methods["inner"].startswith("vmap(jacrev): layer 'inner' is called twice")
    assert "1 of 2 layers by vmap(jacrev)" in caplog.text


def test_what_cannot_be_vectorised_goes_one_by_one():
    class Deciding(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.head = nn.Parameter(torch.ones(4)), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(x * self.scale if x.sum() > 1e9 else x * self.scale.square())

    model, x = Deciding(), torch.randn(5, 4)
    found = fa.layer_kernels(model, x)
    assert found.methods[""].startswith("one backward pass per example and output")
    weight = model.head.weight.detach()
    expected = 4 * torch.einsum("ip,cp,jp,dp->icjd", x, weight, x, weight)
    torch.testing.assert_close(found[""], expected)


REFUSED = {
    "random numbers": (lambda x: F.dropout(x, 0.5, training=True), "draws random numbers"),
    "a batch mean": (lambda x: x - x.mean(dim=0), "by themselves|does not take"),
    "sorted examples": (lambda x: x[x[:, 0].argsort()], "by themselves"),
    "not finite": (lambda x: x / 0, "not finite"),
}


class Changing(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change, self.inner, self.head = change, nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.change(self.inner(self.inner(x)).tanh()))


@pytest.mark.parametrize("case", REFUSED)
def test_the_fallback_refuses_what_has_no_kernel(case):
    change, message = REFUSED[case]
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        fa.layer_kernels(Changing(change), torch.randn(9, 4))


RIGHT = (  # what the strict instruments refuse, and the fallback can do
    "as many tokens as examples, tokens first",
    "tokens first, two examples",
    "two examples swapped inside",
    "examples shifted inside",
    "patched forward",
    "another forward",
    "standardised weights",
    "pruned",
    "spectral norm",
    "called twice",
)


def one_by_one(network, inputs):
    """Kernels by layer from Jacobians of one example after the other."""
    values = {name: value.detach() for name, value in network.named_parameters()}
    rows = {}
    for place in range(len(inputs)):

        def outputs(some, place=place):
            found = torch.func.functional_call(network, some, (inputs[place : place + 1],))
            return found.reshape(-1)

        columns = {}
        for name, value in torch.func.jacrev(outputs)(values).items():
            columns.setdefault(name.rpartition(".")[0], []).append(value.flatten(1))
        for name, parts in columns.items():
            rows.setdefault(name, []).append(torch.cat(parts, dim=1))
    found = {name: torch.stack(parts) for name, parts in rows.items()}
    return {name: torch.einsum("icp,jdp->icjd", row, row) for name, row in found.items()}


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of the oracle
@pytest.mark.parametrize(
    "case",
    # but one, whose hook fails by itself where no gradient passes
    [case for case in test_verify.REFUSED if case != "gradients made signs"],
)
def test_what_strict_instruments_refuse_is_right_or_refused(case):
    make, _, *shape = test_verify.REFUSED[case]
    torch.manual_seed(0)
    network = make()
    if case not in ("complex", "lazy"):
        network = network.double()
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(*(shape[0] if shape else (5, 4)), dtype=torch.float64, generator=draw)
    try:
        found = fa.layer_kernels(network, inputs)
    except ValueError:
        assert case not in RIGHT
        return
    expected = one_by_one(network.eval(), inputs)
    assert found.keys() == expected.keys()
    for name, kernel in expected.items():
        close = {"rtol": 1e-9, "atol": 1e-12 * kernel.abs().max().item()}
        torch.testing.assert_close(found[name], kernel, **close)


WRONG = {
    "a dictionary": ((Words(), words()[1]), {}, r"dict with logits, hidden.*output="),
    "places": ((nn.Linear(4, 3), torch.randn(5, 2, 4)), {}, r"\(1, 2, 3\).*output="),
    "no examples": ((nn.Linear(4, 3), torch.randn(0, 4)), {}, "one example or more"),
    "three parts": ((nn.Linear(4, 3), [torch.randn(5, 4)] * 3), {}, "got a list of 3"),
    "an array": ((nn.Linear(4, 3), np.ones((5, 4))), {}, "got a ndarray"),
    "unequal": ((Words(), {"ids": torch.ones(3, 2), "mask": torch.ones(2, 2)}), {}, "first axis"),
    "no batch axis": (
        (nn.Linear(4, 3), torch.randn(5, 4)),
        {"output": lambda found: found.sum()},
        "examples on the first axis of the outputs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_refuses_batches(case):
    given, options, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        fa.layer_kernels(*given, **options)


@pytest.mark.parametrize(
    "y, message",
    [
        (None, "expected targets"),
        (torch.tensor([0, 1, 2, 3, 4]), "labels from 0 to 2 for 3 outputs, got 0 to 4"),
        (torch.zeros(5, dtype=torch.long), "the same for all examples"),
        (torch.randn(5, 2), r"got float32 \(5, 2\)"),
        (torch.arange(4), r"got int64 \(4,\)"),
    ],
)
def test_refuses_targets(y, message):
    with pytest.raises(ValueError, match=message):
        fa.layer_alignment(nn.Linear(4, 3), torch.randn(5, 4), y)


def test_refuses_kernels_without_room():
    net = nn.Linear(4, 1000)
    with pytest.raises(MemoryError, match="kernels of 3000 examples.*outputs='trace'"):
        fa.layer_kernels(net, torch.randn(3000, 4))
    assert fa.memory_needed(net, torch.randn(3000, 4)) == 4 * 3_000_000**2
    assert fa.memory_needed(net, torch.randn(3000, 4), outputs="trace") == 4 * 3000**2


def trained(seed, epochs=2):
    net, (x, y) = network(seed=seed), batch()
    probe = fa.Probe(net, x, y, seed=seed)
    descent = torch.optim.SGD(net.parameters(), 0.1)
    probe(epoch=0)
    for epoch in range(1, epochs + 1):
        for _ in range(4):
            descent.zero_grad()
            F.cross_entropy(net(x), y).backward()
            descent.step()
        probe(epoch=epoch)
    return probe


@pytest.fixture(scope="module")
def probe():
    return trained(0)


def test_a_probe_keeps_tidy_measurements(probe):
    table = probe.table
    assert list(table) == [*COLUMNS[:-2], "method", *COLUMNS[-2:]]
    assert not table.duplicated(["epoch", "layer", "measure", "at"]).any()
    assert sorted(table["epoch"].unique()) == [0, 1, 2]
    measures = set(table["measure"])
    assert measures >= {"alignment", "effective_rank", "uc_nfa_pearson", "loss", "accuracy"}
    centred = table[table["measure"] == "c_nfa_cosine"]
    assert sorted(centred["epoch"].unique()) == [1, 2]  # there is none before the first step
    assert np.isfinite(table["value"]).all()
    last = table[table["epoch"] == 2]
    x, y = batch()
    expected = fa.layer_alignment(probe.model, x, y)
    own = last[(last["measure"] == "alignment") & last["layer"].notna()]
    assert dict(zip(own["layer"], own["value"], strict=True)) == dict(expected)
    assert probe.model.training


def test_a_probe_leaves_training_as_it_was():
    def weights(probed):
        net, (x, y) = network(), batch()
        probe = fa.Probe(net, x, y) if probed else lambda **_: None
        descent = torch.optim.SGD(net.parameters(), 0.1)
        torch.manual_seed(3)  # dropout draws
        for epoch in range(3):
            probe(epoch=epoch)
            descent.zero_grad()
            F.cross_entropy(net(x), y).backward()
            descent.step()
        return net.state_dict()

    plain, probed = weights(False), weights(True)
    assert all(torch.equal(plain[name], probed[name]) for name in plain)


def test_a_probe_takes_functions_and_refuses_unknown_measures():
    def weight(model):
        return model[0].weight.norm()

    net, (x, y) = network(), batch()
    probe = fa.Probe(net, x, y, ["loss", weight])
    found = probe().set_index("measure")["value"]
    assert found["weight"] == pytest.approx(net[0].weight.norm().item())
    assert set(probe()["step"]) == {1}
    with pytest.raises(ValueError, match="unknown measure 'alignement'; there are alignment"):
        fa.Probe(net, x, y, ["alignement"])
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        fa.Probe(net, x, y + 1)


def test_a_probe_of_regression():
    net, (x, _) = network(outputs=1), batch()
    y = x.mean(dim=(1, 2, 3))
    found = fa.Probe(nn.Sequential(net, nn.Flatten(0)), x, y)()
    assert "accuracy" not in set(found["measure"])
    net.eval()
    loss = found.loc[found["measure"] == "loss", "value"].item()
    assert loss == pytest.approx(F.mse_loss(net(x)[:, 0], y).item())


def test_a_probe_draws_its_measures_by_layer(probe):
    figure = probe.plot()
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert [title.partition(" ")[2] for title in titles] == [
        "alignment with the targets", "effective rank", "UC-NFA", "C-NFA",
        "relative change of weights", "loss", "accuracy",
    ]  # fmt: skip
    [alignment, *_] = figure.axes
    layers = probe.table.loc[probe.table["measure"] == "alignment", "layer"].nunique()
    assert len(alignment.lines) == layers + 1
    with pytest.raises(ValueError, match="nothing was measured"):
        fa.Probe(network(), *batch()).plot()


def test_a_run_is_drawn_over_a_published_figure(probe):
    figure = fa.against(probe.table, "beaglehole2024/b1_nfa_emergence")
    table = published("beaglehole2024/b1_nfa_emergence")
    assert len(figure.axes) == 2 * table["dataset"].nunique()
    first = table[(table["dataset"] == table["dataset"].iloc[0])]
    layers = first.loc[first["measure"] == "uc_nfa_pearson", "layer"].nunique()
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 2  # of layers that have an AGOP
    assert len(figure.axes[0].lines) == layers + 2
    with pytest.raises(ValueError, match="no published table 'beaglehole2024/b1'; near it"):
        fa.against(probe.table, "beaglehole2024/b1")
    with pytest.raises(ValueError, match="measures that both tables have.*effective_rank"):
        fa.against(probe.table, "lejeune2024/c1_sample_ratios")
    with pytest.raises(ValueError, match="not of the installed package"):
        fa.against(probe.table, "beaglehole2024/b1_nfa_emergence", reference="/nowhere")


def test_verdicts_are_those_of_the_ledger():
    tables = [trained(seed, epochs=1).table for seed in range(3)]
    question = {"x": "epoch", "y": "loss"}
    found = fa.judge(tables, "decreases", **question)
    assert found.verdict in ("supported", "open")
    assert found.seeds == [0, 1, 2]
    few = fa.judge(tables[0], "decreases", **question)
    assert few.verdict == "open"
    exact = pd.concat(tables).assign(value=lambda rows: rows["epoch"] * (1 + rows["seed"] / 100))
    assert fa.judge(exact, "increases", min_change=0.5, **question).verdict == "supported"
    assert fa.judge(exact, "decreases", **question).verdict == "contradicted"
    assert fa.judge(exact, "increases", where="epoch >= 0", **question).verdict == "supported"
    with pytest.raises(ValueError, match="no criterion 'grows'; there are: increases"):
        fa.judge(tables, "grows", **question)
    with pytest.raises(ValueError, match="increases has no option 'z'"):
        fa.judge(tables, "increases", z=1, **question)
    with pytest.raises(ValueError, match="increases needs 'y'"):
        fa.judge(tables, "increases", x="epoch")


CHAIN = nn.Sequential(
    nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 6), nn.ReLU(),
    nn.Linear(6, 3),
).double()  # fmt: skip


@pytest.mark.parametrize("kind, walked", [("fixed", LinearizedModel), ("adaptive", AdaptiveModel)])
def test_tangent_models_by_directions_are_those_of_chains(kind, walked):
    draw = torch.Generator().manual_seed(0)
    x, _ = batch(6)
    first, second = walked(CHAIN), DirectionalModel(CHAIN, kind)
    own = dict(first.displacements.named_parameters())
    if kind == "fixed":
        pairs = [(own[name], value) for name, value in zip(second._names, second.free, strict=True)]
    else:
        pairs = list(zip(own.values(), second.factored.parameters(), strict=True))
    for one, other in pairs:
        one.data.normal_(generator=draw)
        other.data.copy_(one)
    outputs = first(first.base_pass(x)), second(x)
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)
    for found in outputs:
        found.square().sum().backward()
    for one, other in pairs:
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-9)


def test_a_direction_is_the_derivative_along_it():
    net, (x, _) = network().eval(), batch(5)
    model = DirectionalModel(net, "adaptive").train()
    assert not model.base.training
    torch.testing.assert_close(model(x), net(x))
    draw = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(0, 0.1, generator=draw)
    delta, values = model.delta(), dict(net.named_parameters())
    step = 1e-6
    ends = [
        torch.func.functional_call(
            net, {name: value.detach() + sign * step * delta[name].detach().reshape(value.shape)
                  for name, value in values.items()}, (x,)
        )
        for sign in (1, -1)
    ]  # fmt: skip
    expected = net(x) + (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(model(x), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("net, method", [(network(), "jvp"), (CHAIN, "chain")])
def test_fixed_and_adaptive_start_alike_and_learn(net, method):
    x, y = batch(40)
    before = copy.deepcopy(net.state_dict())
    found = fa.fixed_vs_adaptive(net, (x[:30], y[:30]), (x[30:], y[30:]), epochs=3, batch_size=10)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    assert set(found["method"]) == {method}
    loss = found[found["measure"] == "loss"].pivot(
        index=["split", "epoch"], columns="model", values="value"
    )
    start, end = loss.loc["train"].loc[0], loss.loc["train"].loc[3]
    assert start["fixed"] == pytest.approx(start["adaptive"], rel=1e-12)
    assert (end < start).all()
    assert end["fixed"] != end["adaptive"]


MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

def batch():
    return torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
"""


def test_the_command_measures_a_network(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(MODEL)
    mine = program.find(f"{path}:build")()
    for step in range(2):
        torch.save(mine.state_dict(), tmp_path / f"{step}.pt")
        mine[0].weight.data.mul_(1.5)
    names = [f"{path}:build", "--data", f"{path}:batch", "--weights"]
    weights = [str(tmp_path / f"{step}.pt") for step in range(2)]
    written = ["--out", str(tmp_path / "run.csv"), "--plot", str(tmp_path / "run.pdf")]
    program.main(["measure", *names, *weights, *written])
    table = pd.read_csv(tmp_path / "run.csv")
    moved = table[(table["measure"] == "weight_change") & (table["layer"] == 0)]
    assert moved.set_index("step")["value"].to_dict() == pytest.approx({0: 0, 1: 1 / 3})
    assert (tmp_path / "run.pdf").read_bytes().startswith(b"%PDF")
    program.main(["measure", *names[:-1], "--measures", "loss"])
    assert "accuracy" in capsys.readouterr().out
    with pytest.raises(ValueError, match="has no function 'bild'; near it: build"):
        program.main(["measure", f"{path}:bild", *names[1:-1]])
    with pytest.raises(ValueError, match="expected FILE.py:FUNCTION"):
        program.main(["measure", str(path), *names[1:-1]])


def test_the_command_lists_figures_and_claims(capsys):
    program.main(["list", "fig2_penalties", "--claims"])
    first, *claims = capsys.readouterr().out.splitlines()
    assert first.startswith("lejeune2024/fig2_penalties")
    assert "11 claims: 11 supported" in first
    assert len(claims) == 11
    with pytest.raises(ValueError, match="no figure has 'fig99'"):
        program.main(["list", "fig99"])
    with pytest.raises(ValueError, match="not of the installed package"):
        program.main(["list", "--repository", "/nowhere"])


def test_the_command_looks_at_a_claim(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    program.main(["audit", "lejeune2024.c1.corrected.mnist.fewer"])
    found = capsys.readouterr().out
    assert "adaptive features need fewer images" in found
    assert "log10_mean_ratio" in found
    assert "published, exploration: contradicted, -0.26" in found
    assert "published, laptop: contradicted, -0.23" in found
    own = tmp_path / "results" / "laptop" / "audit"
    own.mkdir(parents=True)
    (own / "ledger.json").write_bytes((ROOT / "reference/laptop/ledger.json").read_bytes())
    program.main(["audit", "lejeune2024.c1.corrected.mnist.fewer"])
    assert "your results, laptop: contradicted" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"there are: .*corrected\.mnist\.fewer"):
        program.main(["audit", "lejeune2024.c1.corrected"])


def test_names_of_layers_are_those_of_the_user_s_model():
    model, x, _ = words()
    made = prepared(model, x, None, logits)
    assert made.name("model.embed") == "embed"
    assert made.name("model") == ""
    assert made.text("layer 'model.embed' is odd") == "layer 'embed' is odd"
