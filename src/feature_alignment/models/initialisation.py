"""Weight initialisations by name."""

import math

import torch
from torch import Tensor, nn

INITIALISATIONS = ("pytorch", "he_normal", "xavier_normal", "lecun_normal", "torchvision_vgg")

STD_CUT_OFF = 0.87962566103423978
"""Standard deviation of a standard normal variable that is cut off at ±2."""


def initialise(model: nn.Module, name: str, generator: torch.Generator) -> None:
    """Draw the weights of every linear and convolutional layer anew, in the order of modules.

    ======================= ============================================== =================
    name                    weight                                         bias
    ======================= ============================================== =================
    ``pytorch``             uniform on ±1/√fan_in                          the same
    ``he_normal``           normal with variance 2/fan_in                  zero
    ``xavier_normal``       normal with variance 2/(fan_in + fan_out)      zero
    ``lecun_normal``        normal, cut off at 2 sd, of variance 1/fan_in  zero
    ``torchvision_vgg``     convolutions normal with variance 2/fan_out,   zero
                            linear layers with variance 0.01²
    ======================= ============================================== =================

    A convolution's fan_in counts its input channels per group times the kernel's positions, its
    fan_out the output channels times the positions. Normalisation layers keep what PyTorch gives
    them: weight 1, bias 0. ``lecun_normal`` is the default of Flax, with the variance after the
    cut; ``torchvision_vgg`` is that of the VGG networks of torchvision.

    Args:
        model: Changed in place.
        name: One of :data:`INITIALISATIONS`; ``pytorch`` is PyTorch's default for both.
        generator: Source of the weights.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in INITIALISATIONS:
        known = ", ".join(INITIALISATIONS)
        raise ValueError(f"unknown initialisation {name!r}; expected one of {known}")
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _draw(module.weight, module.bias, name, generator)


@torch.no_grad()
def nudge(model: nn.Module, generator: torch.Generator) -> None:
    """Move every weight to the next floating-point number above or below, at random.

    A training that is chaotic then ends elsewhere, as it does on another processor, whose sums
    round otherwise. Zeros stay.

    Args:
        model: Changed in place.
        generator: Says which of both, for each weight.
    """
    for weight in model.parameters():
        up = torch.rand(weight.shape, generator=generator).to(weight.device) < 0.5
        beyond = torch.where(up, torch.inf, -torch.inf).to(weight.dtype)
        weight.copy_(torch.where(weight == 0, weight, torch.nextafter(weight, beyond)))


@torch.no_grad()
def _draw(weight: Tensor, bias: Tensor | None, name: str, generator: torch.Generator) -> None:
    positions = math.prod(weight.shape[2:])
    fan_out, fan_in = len(weight) * positions, weight.shape[1] * positions
    if name == "pytorch":
        bound = 1 / math.sqrt(fan_in)
        for parameter in (weight, bias):
            if parameter is not None:
                parameter.uniform_(-bound, bound, generator=generator)
        return
    if name == "lecun_normal":
        std = 1 / math.sqrt(fan_in) / STD_CUT_OFF
        nn.init.trunc_normal_(weight, 0, std, -2 * std, 2 * std, generator=generator)
    else:
        variance = {
            "he_normal": 2 / fan_in,
            "xavier_normal": 2 / (fan_in + fan_out),
            "torchvision_vgg": 0.01**2 if weight.ndim == 2 else 2 / fan_out,
        }[name]
        weight.normal_(0, math.sqrt(variance), generator=generator)
    if bias is not None:
        bias.zero_()
