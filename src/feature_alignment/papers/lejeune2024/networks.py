"""The networks of figure 4 by the settings of a run: fully connected, or the small CNN."""

from math import prod

from torch import Tensor, nn

from feature_alignment.models.cnn import cnn
from feature_alignment.models.mlp import mlp
from feature_alignment.run.context import Run


def build_network(run: Run, inputs: Tensor, classes: int) -> nn.Sequential:
    """Build the run's network at initialisation.

    Args:
        run: Its setting ``network`` names an ``architecture``, ``fully_connected`` with a ``depth``
            (the number of linear layers) or ``cnn``.
        inputs: Images (n, channels, height, width) of the size that the network is for.
        classes: C.
    """
    network = run.settings["network"]
    channels, height, width = inputs.shape[1:]
    options = {
        "width": network["width"],
        "initialisation": network["initialisation"],
        "generator": run.generator("init"),
    }
    if network["architecture"] == "cnn":
        return cnn(channels, height, classes, **options)
    hidden = network["depth"] - 1
    shape = (prod((channels, height, width)), hidden, options.pop("width"), classes)
    return mlp(*shape, bias=True, activation="relu", **options)
