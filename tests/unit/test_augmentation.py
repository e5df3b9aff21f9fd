import pytest
import torch

from feature_alignment.data.augmentation import crop_and_flip


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n, channels, height, width):
    """Return images none of whose pixels is 0, the padding's value."""
    return torch.arange(1.0, n * channels * height * width + 1).view(n, channels, height, width)


def moved(image, down, right, flipped):
    """Return the image mirrored if asked for, then moved, pixel by pixel; zeros come in."""
    channels, height, width = image.shape
    result = torch.zeros_like(image)
    for c in range(channels):
        for row in range(height):
            for column in range(width):
                there = row - down, column - right
                if 0 <= there[0] < height and 0 <= there[1] < width:
                    source = width - 1 - there[1] if flipped else there[1]
                    result[c, row, column] = image[c, there[0], source]
    return result


def moves(padding):
    """Return every way in which an image may come out."""
    shifts = range(-padding, padding + 1)
    return [(down, right, flip) for down in shifts for right in shifts for flip in (False, True)]


def found_moves(batch, cut, padding):
    """Return for each image the one move that turned it into what came out."""
    found = []
    for image, result in zip(batch, cut, strict=True):
        [move] = [m for m in moves(padding) if torch.equal(moved(image, *m), result)]
        found.append(move)
    return found


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("shape", [(3, 5, 5), (1, 4, 6), (2, 6, 4)])
def test_an_image_is_mirrored_or_not_then_shifted_with_zeros(shape, padding):
    batch = images(6, *shape)
    cut = crop_and_flip(batch, draw(), padding)
    assert cut.shape == batch.shape
    found_moves(batch, cut, padding)


def test_the_default_shifts_are_of_up_to_four_pixels_and_all_occur():
    # That one of 162 ways out is missing from 2000 has a chance below 162 (1 − 1/162)²⁰⁰⁰ < 1e-3
    n, size = 2000, 9
    batch = images(1, 1, size, size).expand(n, 1, size, size)
    cut = crop_and_flip(batch, draw())
    possible = torch.stack([moved(batch[0], *move) for move in moves(4)]).flatten(1)
    matches = (cut.flatten(1)[:, None] == possible).all(dim=2)
    assert (matches.sum(dim=1) == 1).all()
    assert matches.any(dim=0).all()
    assert not torch.equal(matches[0], matches[1])


def test_flips_and_shifts_are_uniform_and_independent():
    n, size = 4000, 5
    batch = images(1, 1, size, size).expand(n, 1, size, size)
    possible = torch.stack([moved(batch[0], *move) for move in moves(1)]).flatten(1)
    cut = crop_and_flip(batch, draw(), padding=1).flatten(1)
    counts = (cut[:, None] == possible).all(dim=2).sum(dim=0)
    # Binomial with probability 1/18: 222 ± 14.5; five deviations
    assert (counts - n / 18).abs().max() < 73
    flipped = counts.view(9, 2)[:, 1].sum().item()
    assert abs(flipped - n / 2) < 5 * (n / 4) ** 0.5


def test_the_generator_alone_decides():
    batch = images(20, 3, 8, 8)
    torch.manual_seed(1)
    first = crop_and_flip(batch, draw())
    torch.manual_seed(2)
    generator = draw()
    assert torch.equal(crop_and_flip(batch, generator), first)
    assert not torch.equal(crop_and_flip(batch, generator), first)
    assert not torch.equal(crop_and_flip(batch, draw(1)), first)
    before = torch.get_rng_state()
    crop_and_flip(batch, draw())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_images_given_stay_as_they_are():
    batch = images(20, 3, 8, 8)
    crop_and_flip(batch, draw())
    assert torch.equal(batch, images(20, 3, 8, 8))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_memory_format_is_kept_and_changes_no_value(channels):
    batch = images(7, channels, 8, 8)
    plain = crop_and_flip(batch, draw())
    last = crop_and_flip(batch.contiguous(memory_format=torch.channels_last), draw())
    assert plain.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, last)


def test_the_precision_is_kept():
    assert crop_and_flip(images(2, 1, 4, 4).double(), draw()).dtype == torch.float64
