# %% [markdown]
# # From MNIST to the plot
#
# How do the layers of a small network align with the labels while it learns digits? This notebook
# is plain text: open it as a notebook with jupytext or an editor that knows `# %%`, or run it with
# `python docs/notebooks/from_mnist_to_the_plot.py`. It needs `pip install ".[workflow]"`.

# %%
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import feature_alignment as fa

torch.manual_seed(0)

# %% [markdown]
# ## The images
#
# MNIST, if its files are in the folder that `FEATURE_ALIGNMENT_DATA` names; `download=True` would
# fetch them. Else the digits of scikit-learn, 8 × 8 pixels, which are there without a download.

# %%
folder = Path(os.environ.get("FEATURE_ALIGNMENT_DATA", "data/raw"))
if (folder / "MNIST" / "raw").is_dir():
    from torchvision.datasets import MNIST

    mnist = MNIST(folder, train=True, download=False)
    x, y = mnist.data[:5000, None].float() / 255, mnist.targets[:5000]
else:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images).float().view(-1, 1, 8, 8) / 16, torch.tensor(labels)
x_train, y_train, x_test, y_test = x[:-500], y[:-500], x[-500:], y[-500:]
print(tuple(x_train.shape), tuple(x_test.shape))

# %% [markdown]
# ## A network, and two probes
#
# One probe measures on images that the network trains on, the other on images that it does not
# see. Kernels of fifty images are enough for the alignment of layers.

# %%
model = nn.Sequential(
    nn.Flatten(),
    nn.Linear(x[0].numel(), 128),
    nn.ReLU(),
    nn.Linear(128, 128),
    nn.ReLU(),
    nn.Linear(128, 10),
)
probes = [
    fa.Probe(model, x_train[:50], y_train[:50], split="train"),
    fa.Probe(model, x_test[:50], y_test[:50], ["alignment", "loss"], split="test"),
]
for probe in probes:
    probe(epoch=0)

# %% [markdown]
# ## Training, as always

# %%
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(1, 6):
    for part in torch.randperm(len(x_train)).split(50):
        optimizer.zero_grad()
        F.cross_entropy(model(x_train[part]), y_train[part]).backward()
        optimizer.step()
    for probe in probes:
        probe(epoch=epoch)
table = probes[0].table
table[table["measure"] == "accuracy"][["epoch", "value"]]

# %% [markdown]
# ## What happened
#
# Alignment rises in every layer, and most in the later ones; the effective rank falls: the kernel
# stretches along few directions. The centred ansatz (C-NFA) is high from the first epoch on, before
# the uncentred one follows: what the weights learned goes along the gradients, long before it
# outweighs the random weights of the start.

# %%
figure = probes[0].plot()
figure.savefig("layers.png")
figure

# %% [markdown]
# ## Beside the published runs
#
# In a clone of the repository, the published networks of figure B1 go behind it. They are deeper
# and trained for longer, on all images.

# %%
beside = fa.against(table, "beaglehole2024/b1_nfa_emergence")
beside.savefig("against.png")
beside

# %% [markdown]
# ## One number with a verdict
#
# One seed is an example. `fa.judge` wants three at least, each from a training of its own, and says
# how many more would decide.

# %%
verdict = fa.judge(table, "increases", x="epoch", y="alignment", where="layer.isna()")
verdict.verdict, verdict.reason
