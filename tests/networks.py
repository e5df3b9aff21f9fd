"""How exact the instruments are on networks that people use: a case is one line.

    python tests/networks.py --write docs/networks.md

Every number is the largest relative error over the layers, in float64, against Jacobians of one
example after the other (``torch.func.jacrev``): of kernels, of the kernel's trace over outputs, of
the alignment with targets, and of the AGOP against a sum of gradients with respect to what each
layer saw.
"""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torchvision.models as zoo
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.vision_transformer import VisionTransformer

import feature_alignment as fa

BEGIN, END = "<!-- generated: networks -->", "<!-- end: networks -->"
MEASURES = ("kernel", "trace", "alignment", "AGOP")


class Encoder(nn.Module):
    """A Transformer encoder on sequences, with the examples on the first or the second axis."""

    def __init__(self, batch_first: bool):
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Linear(4, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        if self.batch_first:
            return self.head(self.encoder(h).mean(dim=1))
        return self.head(self.encoder(h.transpose(0, 1)).mean(dim=0))


class Translator(nn.Module):
    """A Transformer with an encoder, and a decoder that attends to it."""

    def __init__(self):
        super().__init__()
        self.transformer = nn.Transformer(8, 2, 1, 1, 12, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.transformer(x[:, :4], x[:, 4:])[:, -1])


class Recurrent(nn.Module):
    """A linear head on the last state of an LSTM."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Tied(nn.Module):
    """A language model whose last layer has the embeddings for weights; it returns a dictionary."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.hidden = nn.Linear(6, 6)
        self.head = nn.Linear(6, 9)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        hidden = self.hidden(self.words(ids)).tanh() * mask[..., None]
        return {"logits": self.head(hidden.sum(dim=1)), "hidden": hidden}


class Adapter(nn.Module):
    """A frozen layer with a trained update of low rank."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(5, 8).requires_grad_(False)
        self.down, self.up = nn.Linear(5, 2, bias=False), nn.Linear(2, 8, bias=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.gelu(self.frozen(x) + self.up(self.down(x))))


class Shared(nn.Module):
    """A layer that is called three times, and one whose weight is used in a function."""

    def __init__(self):
        super().__init__()
        self.step, self.side = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.step(x).tanh()
        return F.linear(x, self.side.weight.square(), self.side.bias)


def segmenter() -> nn.Module:
    """A small U-shaped network with group norms and transposed convolutions."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.GroupNorm(2, 4),
        nn.PReLU(4),
        nn.ConvTranspose2d(4, 3, 2, stride=2),
        nn.InstanceNorm2d(3, affine=True),
        nn.SiLU(),
        nn.Conv2d(3, 1, 1),
    )


def sequence() -> nn.Module:
    """Convolutions of sequences, and root-mean-square norms."""
    return nn.Sequential(
        nn.Conv1d(4, 6, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv1d(6, 6, 3, groups=2),
        nn.Flatten(),
        nn.RMSNorm(18),
        nn.Linear(18, 3),
    )


def parametrised() -> nn.Module:
    """Weights that are computed from others."""
    first = nn.utils.parametrizations.weight_norm(nn.Linear(5, 6))
    second = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(6, 3))


def convnext() -> nn.Module:
    blocks = [CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)]
    return ConvNeXt(blocks, num_classes=2)


def transformer_of_images() -> nn.Module:
    return VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12,
        num_classes=3,
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A network, the shape of its inputs, and options of the instruments."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    output: Callable[[object], Tensor] | None = None
    words: int = 0
    trainable_only: bool = False
    agop: bool = True

    def inputs(self) -> Tensor | dict[str, Tensor]:
        draw = torch.Generator().manual_seed(1)
        if not self.words:
            return torch.randn(self.shape, dtype=torch.float64, generator=draw)
        ids = torch.randint(self.words, self.shape, generator=draw)
        mask = (torch.arange(self.shape[1]) < 2 + ids[:, :1] % 2).double()
        return {"ids": ids, "mask": mask}


CASES = {
    "torchvision resnet18": Case(partial(zoo.resnet18, num_classes=2), (2, 3, 32, 32)),
    "torchvision mobilenet_v3_small, a quarter as wide": Case(
        partial(zoo.mobilenet_v3_small, num_classes=2, width_mult=0.25), (3, 3, 32, 32)
    ),
    "torchvision ConvNeXt, 2 blocks": Case(convnext, (3, 3, 32, 32)),
    "torchvision VisionTransformer, 2 layers": Case(transformer_of_images, (4, 3, 16, 16)),
    "TransformerEncoder": Case(partial(Encoder, True), (4, 5, 4)),
    "TransformerEncoder, sequences first": Case(partial(Encoder, False), (4, 5, 4)),
    "TransformerEncoder, as many tokens as examples": Case(partial(Encoder, False), (5, 5, 4)),
    "Transformer with a decoder": Case(Translator, (3, 7, 8)),
    "LSTM with a linear head": Case(Recurrent, (4, 5, 4), agop=False),
    "tied embeddings, arguments by name, a dictionary": Case(
        Tied, (5, 4), lambda found: found["logits"], 9
    ),
    "adapters of a frozen layer": Case(Adapter, (6, 5), trainable_only=True),
    "a layer called three times": Case(Shared, (4, 5), agop=False),
    "weight and spectral norm": Case(parametrised, (4, 5), agop=False),
    "a map as output": Case(segmenter, (3, 2, 4, 4), lambda found: found),
    "one-dimensional convolutions": Case(sequence, (4, 4, 10)),
    "one output without its axis": Case(
        lambda: nn.Sequential(nn.Linear(5, 6), nn.SiLU(), nn.Linear(6, 1), nn.Flatten(0)), (6, 5)
    ),
}


def build(case: Case) -> nn.Module:
    """Return the network with random parameters and statistics, in float64 and evaluation mode."""
    torch.manual_seed(0)
    network = case.make().double().eval()
    for module in network.modules():
        for value in module.parameters(recurse=False):
            value.data.add_(0.1 * torch.randn_like(value))
        if getattr(module, "running_var", None) is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


def answers(network: nn.Module, case: Case, values: dict, inputs: object, place: int) -> Tensor:
    """Return f (C,) of one example by itself, for values of parameters."""
    if isinstance(inputs, dict):
        one = {name: value[place : place + 1] for name, value in inputs.items()}
        found = torch.func.functional_call(network, values, (), one)
    else:
        found = torch.func.functional_call(network, values, (inputs[place : place + 1],))
    return (found if case.output is None else case.output(found)).reshape(-1)


def jacobians(network: nn.Module, case: Case, inputs: object) -> dict[str, Tensor]:
    """Return ∂f_c(x_i)/∂θ of every layer's parameters, (n, C, P), by torch.func.jacrev."""
    values = {
        name: value.detach()
        for name, value in network.named_parameters()
        if value.requires_grad or not case.trainable_only
    }
    count = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    columns: dict[str, list[Tensor]] = {}
    for place in range(count):
        one = torch.func.jacrev(partial(answers, network, case, inputs=inputs, place=place))
        rows: dict[str, list[Tensor]] = {}
        for name, value in one(values).items():
            rows.setdefault(name.rpartition(".")[0], []).append(value.flatten(1))
        for name, parts in rows.items():
            columns.setdefault(name, []).append(torch.cat(parts, dim=1))
    return {name: torch.stack(parts) for name, parts in columns.items()}


def agops(network: nn.Module, case: Case, inputs: object, names: list[str]) -> dict[str, Tensor]:
    """Return Σ ∂f_c/∂p ∂f_c/∂pᵀ over the patches p that layers see, from layers called once."""
    found: dict[str, Tensor] = {}
    count = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    for place in range(count):
        seen: dict[str, Tensor] = {}
        hooks = [
            network.get_submodule(name).register_forward_hook(partial(_record, seen, name))
            for name in names
        ]
        values = {key: part.detach().requires_grad_() for key, part in network.named_parameters()}
        outputs = answers(network, case, values, inputs, place)
        for hook in hooks:
            hook.remove()
        for value in outputs:
            gradients = torch.autograd.grad(value, list(seen.values()), retain_graph=True)
            for name, gradient in zip(seen, gradients, strict=True):
                module = network.get_submodule(name)
                if not isinstance(module, nn.Linear):
                    gradient = gradient.movedim(1, -1)
                rows = gradient.reshape(-1, gradient.shape[-1]) @ module.weight.detach().flatten(1)
                found[name] = found.get(name, 0) + rows.T @ rows
    return found


def _record(seen: dict, name: str, _: nn.Module, __: tuple, output: Tensor) -> Tensor:
    seen[name] = output
    return output.clone()  # what follows may work in place


def worst_errors(name: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return the largest relative error of every instrument, and how layers were measured."""
    case = CASES[name]
    network, inputs = build(case), case.inputs()
    options = {"output": case.output, "trainable_only": case.trainable_only}
    rows = jacobians(network, case, inputs)
    kernels = fa.layer_kernels(network, inputs, **options)
    traced = fa.layer_kernels(network, inputs, outputs="trace", **options)
    draw = torch.Generator().manual_seed(2)
    n, classes = next(iter(rows.values())).shape[:2]
    y = torch.randn(n, classes, dtype=torch.float64, generator=draw)
    aligned = fa.layer_alignment(network, inputs, y, **options)
    if kernels.keys() != rows.keys():
        raise ValueError(f"{name}: layers {kernels.keys() ^ rows.keys()} are in one alone")
    errors = {measure: 0.0 for measure in MEASURES}

    def note(measure: str, found: Tensor, true: Tensor, scale: Tensor) -> None:
        error = torch.linalg.vector_norm(found - true) / torch.linalg.vector_norm(scale)
        errors[measure] = max(errors[measure], error.item() if scale.any() else 0.0)

    targets = y - y.mean(dim=0)
    for layer, jacobian in rows.items():
        flat = jacobian.flatten(0, 1)
        kernel = (flat @ flat.T).view(n, classes, n, classes)
        note("kernel", kernels[layer], kernel, kernel)
        trace = torch.einsum("icjc->ij", kernel)
        note("trace", traced[layer], trace, trace)
        centred = (jacobian - jacobian.mean(dim=0)).flatten(0, 1)
        moved = centred @ centred.T
        if layer not in aligned:  # nothing is left by centring
            continue
        form = targets.flatten() @ moved @ targets.flatten()
        value = form / (torch.linalg.matrix_norm(moved) * targets.square().sum())
        left = torch.linalg.matrix_norm(moved) / torch.linalg.matrix_norm(flat @ flat.T)
        found = torch.tensor(aligned[layer], dtype=torch.float64)
        note("alignment", found, value, value / left)  # rounding is that before centring
    if case.agop:
        found = fa.agop(network, inputs, output=case.output)
        attention = {
            f"{layer}{ending}"
            for layer, module in network.named_modules()
            if isinstance(module, nn.MultiheadAttention)
            for ending in ("", ".out_proj")  # which hooks do not see
        }
        plain = [layer for layer in found if layer not in attention]
        for layer, value in agops(network, case, inputs, plain).items():
            note("AGOP", found[layer], value, value)
    else:
        errors["AGOP"] = float("nan")
    return errors, kernels.methods


def table() -> list[str]:
    """Return the table as lines of Markdown."""
    lines = [
        f"| network | layers | by a rule | by vmap(jacrev) | one by one | {' | '.join(MEASURES)} |",
        f"|---|{'---|' * (4 + len(MEASURES))}",
    ]
    for name in CASES:
        errors, methods = worst_errors(name)
        ways = [method.partition(":")[0] for method in methods.values()]
        kinds = ("rule", "vmap", "one")
        counts = [len(ways), *(sum(way.startswith(kind) for way in ways) for kind in kinds)]
        told = ["" if value != value else f"{value:.0e}" for value in errors.values()]
        lines.append("| " + " | ".join([name, *map(str, counts), *told]) + " |")
        print(lines[-1], flush=True)
    return lines


def block(text: str) -> list[str]:
    """Return the lines between the marks of a page."""
    return re.search(f"{BEGIN}\n(.*){END}", text, re.DOTALL).group(1).splitlines()


def main() -> None:
    """Print the table, or put it between the marks of a page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", type=Path, help="page to put the table into")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = table()
    if arguments.write:
        text = arguments.write.read_text()
        start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
        whole = [text[:start], *lines, text[end:]]
        arguments.write.write_text("\n".join(whole))


if __name__ == "__main__":
    main()
