import math

import pytest
import torch

from feature_alignment.data.disk import (
    RADIUS_SQUARED,
    VARIANTS,
    disk_labels,
    grid_points,
    random_points,
)

RADIUS = math.sqrt(2 / math.pi)


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_disk_has_half_the_area_of_the_square_and_lies_inside_it():
    assert math.pi * RADIUS_SQUARED == pytest.approx(2 * 2 / 2)
    assert RADIUS_SQUARED < 1


@pytest.mark.parametrize("angle", [0.0, 1.0, 2.5, 4.0, 5.5])
def test_inside_is_positive_outside_negative(angle):
    way = torch.tensor([math.cos(angle), math.sin(angle)])
    points = torch.stack([0 * way, 0.999 * RADIUS * way, 1.001 * RADIUS * way, 1.2 * way])
    labels = disk_labels(points, "disk")
    assert labels.tolist() == [1, 1, -1, -1]
    assert labels.dtype == torch.float32


def test_the_half_disk_is_the_disk_exchanged_above():
    points = random_points(1000, draw())
    disk, half = (disk_labels(points, variant) for variant in VARIANTS)
    above = points[:, 1] > 0
    assert torch.equal(half[above], -disk[above])
    assert torch.equal(half[~above], disk[~above])


def test_the_axis_belongs_to_the_lower_half():
    points = torch.tensor([[0.0, 0.0], [0.9, 0.0], [0.0, 0.1], [0.0, -0.1]])
    assert disk_labels(points, "half_disk").tolist() == [1, -1, -1, 1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_classes_are_balanced(variant):
    labels = disk_labels(random_points(40_000, draw()), variant)
    assert set(labels.tolist()) == {1, -1}
    # ±1 has deviation 1, the mean of 40 000 has 0.005; five deviations
    assert abs(labels.mean().item()) < 0.025
    # A grid counts the area: the boundary crosses O(side) of side² cells
    assert abs(disk_labels(grid_points(200), variant).mean().item()) < 0.005


def test_an_unknown_variant_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match="unknown variant 'ring'.*disk, half_disk"):
        disk_labels(grid_points(2), "ring")


def test_random_points_fill_the_square_evenly():
    points = random_points(9000, draw())
    assert points.shape == (9000, 2)
    assert points.abs().max() <= 1
    cells = ((points + 1) * 1.5).long().clamp(max=2)
    counts = (3 * cells[:, 0] + cells[:, 1]).bincount(minlength=9)
    # Binomial with probability 1/9: 1000 ± 30; five deviations
    assert (counts - 1000).abs().max() < 150


def test_random_points_depend_on_the_generator_alone():
    assert torch.equal(random_points(9, draw()), random_points(9, draw()))
    assert not torch.equal(random_points(9, draw()), random_points(9, draw(1)))


def test_the_grid_runs_along_the_rows_from_the_lowest():
    expected = [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)]
    assert grid_points(2).tolist() == [list(point) for point in expected]


@pytest.mark.parametrize("side", [1, 3, 20])
def test_grid_points_are_the_centres_of_equal_cells(side):
    image = grid_points(side).view(side, side, 2)
    centres = torch.tensor([-1 + (2 * i + 1) / side for i in range(side)])
    # 1e-6: float32 rounding of numbers up to 1
    torch.testing.assert_close(image[0, :, 0], centres, rtol=0, atol=1e-6)
    torch.testing.assert_close(image[:, 0, 1], centres, rtol=0, atol=1e-6)
    assert (image[:, :, 0] == image[:1, :, 0]).all()
    assert (image[:, :, 1] == image[:, :1, 1]).all()


def test_an_image_of_the_half_disk_is_positive_at_the_bottom():
    image = disk_labels(grid_points(20), "half_disk").view(20, 20)
    assert image[5, 10] == 1
    assert image[14, 10] == -1
