import pytest
import torch
from torch import nn

from feature_alignment.tangents import memory
from feature_alignment.tangents.features import tangent_features
from feature_alignment.tangents.kernels import layer_kernels, summarise_kernels, tangent_kernel

CPU = torch.device("cpu")
LIKE = torch.zeros(1, dtype=torch.float64)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system with 8 GiB of memory available, 1 GiB of swap, and no control groups."""
    (tmp_path / "meminfo").write_text(
        f"MemTotal: {2**24} kB\nMemAvailable: {2**23} kB\nSwapFree: {2**20} kB\nHugePages_Free: 0\n"
    )
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "own")
    return tmp_path


def group(system, path, limit, used, own):
    names = ("memory.limit_in_bytes", "total_rss") if "memory:" in own else ("memory.max", "anon")
    folder = system / "groups" / path
    folder.mkdir(parents=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / "memory.stat").write_text(f"cache 7\nfile 123\n{names[1]} {used}\n")
    (system / "own").write_text(own)


def test_what_is_available_is_what_the_system_says(system):
    assert memory.available(CPU) == 9 * 2**30
    memory.expect_room((9 * 2**27,), LIKE, "x", "y")
    with pytest.raises(MemoryError, match=r"x of shape \(1, 1207959553\) needs 9 GiB of memory"):
        memory.expect_room((1, 9 * 2**27 + 1), LIKE, "x", "y")


@pytest.mark.parametrize(
    "path, own",
    [
        ("job/step", "0::/job/step\n"),
        ("job", "1:cpu:/\n0::/job/step\n"),
        (".", "0::/job/step\n"),
        ("memory/job", "4:memory:/job/step\n0::/\n"),
    ],
)
def test_a_limit_of_the_group_or_one_above_counts(system, path, own):
    group(system, path, 3 * 2**30, 2**30, own)
    assert memory.available(CPU) == 2 * 2**30


def test_a_group_without_a_limit_does_not_count(system):
    group(system, "job", "max", 2**30, "0::/job\n")
    assert memory.available(CPU) == 9 * 2**30


def test_where_the_system_says_nothing_all_goes_on(system):
    memory.MEMORY.unlink()
    memory.expect_room((2**60,), LIKE, "x", "y")
    assert memory.available(torch.device("meta")) is None


@pytest.mark.parametrize(
    "compute",
    [layer_kernels, tangent_kernel, lambda model, inputs: summarise_kernels(model, inputs, inputs)],
)
def test_a_kernel_without_room_is_refused_before_it_is_computed(compute):
    inputs = torch.ones(4_000_000, 1)  # the kernel has 64 TB
    with pytest.raises(MemoryError, match=r"kernel of 4000000 examples and 1 outputs of shape"):
        compute(nn.Sequential(nn.Linear(1, 1)), inputs)


def test_features_without_room_are_refused_after_the_first_batch(monkeypatch):
    model, inputs = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.ones(5000, 2)
    monkeypatch.setattr(memory, "SMALL", 0)
    needed = 4 * len(inputs) * tangent_features(model, inputs[:1]).values()
    monkeypatch.setattr(memory, "available", lambda device: needed)
    assert tangent_features(model, inputs).values() * 4 == needed
    monkeypatch.setattr(memory, "available", lambda device: needed - 1)
    with pytest.raises(MemoryError, match="all stored features of 5000 examples .* lower the"):
        tangent_features(model, inputs)
