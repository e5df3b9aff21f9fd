import pytest
import torch
from tangent_cases import CASES, assert_equal, build, jacobians, perceptron, points
from torch import nn

from feature_alignment.tangents import capture, memory
from feature_alignment.tangents.kernels import layer_kernels, layer_traces, summarise_kernels
from feature_alignment.tangents.memory import kernels_size

from reference import kernels as reference

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@pytest.fixture
def in_parts(monkeypatch):
    """However small, inputs are passed in parts and gradients are written out."""
    monkeypatch.setattr(capture, "WRITTEN_BYTES", 0)
    monkeypatch.setattr(capture, "FIRST", 2)
    monkeypatch.setattr(capture, "PART_BYTES", 1)


@pytest.mark.parametrize("case", CASES)
def test_parts_give_what_brute_force_gives(case, in_parts):
    network, inputs = build(case)
    rows = jacobians(case)
    expected = {name: reference.kernel(row) for name, row in rows.items()}
    assert_equal(layer_kernels(network, inputs), expected)
    targets = points(*rows[next(iter(rows))].shape[:2], seed=2)
    summaries, total = summarise_kernels(network, inputs, targets)
    assert_equal({"": total}, {"": sum(expected.values())})
    for name, kernel in expected.items():
        form = torch.einsum("ic,icjd,jd", targets, kernel, targets).item()
        rounding = 1e-12 * kernel.norm().item()
        near = {"rel": 1e-10, "abs": rounding}
        assert summaries[name].norm == pytest.approx(kernel.norm().item(), **near)
        assert summaries[name].form == pytest.approx(form, **near)
    for name, trace in layer_traces(network, inputs).items():
        assert trace == pytest.approx(rows[name].square().sum().item(), rel=1e-11)


def test_layers_of_each_kind_are_written_out(in_parts):
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 3)
    )
    passes, _ = capture.layer_passes(network.double().eval(), points(5, 2, 8, 8), write=True)
    assert [layer.written is not None for layer in passes] == [True, True, False]
    assert [tuple(layer.written.shape) for layer in passes[:2]] == [(3, 5, 57), (3, 5, 6)]


def test_kernels_without_room_for_all_are_refused_before_any(monkeypatch):
    network, inputs = perceptron(), points(5, 12)  # 4 layers, 3 outputs
    needed = 4 * 8 * (5 * 3) ** 2
    assert kernels_size(5, 3, 4, torch.float64) == needed
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device: needed)
    layer_kernels(network, inputs)
    monkeypatch.setattr(memory, "available", lambda device: needed - 1)
    with pytest.raises(MemoryError, match="4 times .*iterate_layer_kernels.*layer_traces"):
        layer_kernels(network, inputs)
    summarise_kernels(network, inputs, points(5, 3))
    layer_traces(network, inputs)
