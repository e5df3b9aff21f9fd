"""The networks of the paper by the settings of a run: fully connected, VGG, ResNet."""

from math import prod

from torch import nn

from feature_alignment.data.loading import Task
from feature_alignment.models.convolutional import convolutional_network
from feature_alignment.models.mlp import mlp
from feature_alignment.run.context import Run

FULLY_CONNECTED = "fully_connected"


def build_network(run: Run, task: Task) -> nn.Sequential:
    """Build the run's network with the run's initial weights.

    The setting ``model`` names an ``architecture``. For a fully connected one it gives the depth
    L, the number of linear layers, which is one more than that of hidden layers.
    """
    model = dict(run.settings["model"])
    shape = task.train.inputs.shape[1:]
    options = {"outputs": task.classes, "generator": run.generator("init")}
    if model.pop("architecture") == FULLY_CONNECTED:
        return mlp(prod(shape), model.pop("depth") - 1, **model, **options)
    return convolutional_network(**run.settings["model"], channels=shape[0], **options)
