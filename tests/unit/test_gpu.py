import pytest
import torch
from tangent_cases import convolutional
from torch import nn

from feature_alignment.tangents.kernels import layer_kernels, layer_traces
from feature_alignment.tangents.precision import exact_products

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def precision():
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


@pytest.fixture
def rounding_convolutions():
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    yield
    torch.backends.cudnn.conv.fp32_precision = before


@pytest.mark.usefixtures("rounding_convolutions")
def test_products_are_exact_inside_and_settings_stay():
    before = precision()
    with exact_products():
        assert precision() == ("ieee", "ieee")
    assert precision() == before

    def fail():
        with exact_products():
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert precision() == before


@pytest.mark.parametrize("compute", [layer_kernels, layer_traces])
def test_the_network_runs_with_exact_products(compute):
    seen = []
    network = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    network[0].register_forward_hook(lambda *_: seen.append(precision()))
    compute(network, torch.ones(3, 4))
    assert set(seen) == {("ieee", "ieee")}


@needs_gpu
@pytest.mark.parametrize("architecture", ["vgg11", "resnet18"])
def test_kernels_of_convolutions_on_a_gpu_are_those_on_the_processor(architecture):
    network = convolutional(architecture, width=4).eval()
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(8, 3, 32, 32, generator=draw)
    expected = layer_kernels(network.double(), inputs.double())
    own = layer_kernels(network.float(), inputs)
    found = layer_kernels(network.cuda(), inputs.cuda())
    for name, kernel in own.items():
        scale = expected[name].norm()
        # float32 rounding along some twenty layers; TensorFloat-32 would give about 1e-3
        assert (found[name].cpu() - kernel).double().norm() <= 1e-5 * scale, name
