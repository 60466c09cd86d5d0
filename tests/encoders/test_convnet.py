import numpy as np
import pytest
import torch
from cases import IMAGES, build, inputs
from PIL import Image

from automm.encoders.convnet import Cells, automatic_depth, coordinate_channels, native_size
from automm.errors import ConfigError, OutOfRange


def test_images_keep_their_own_size_up_to_a_limit(tmp_path):
    assert native_size(IMAGES) == (20, 28)
    paths = []
    for at, (width, height) in enumerate([(640, 480), (640, 480), (100, 100)]):
        paths.append(tmp_path / f"{at}.png")
        Image.new("RGB", (width, height)).save(paths[-1])
    assert native_size(paths) == (168, 224)
    assert native_size([]) == (224, 224)
    assert native_size([np.zeros((1, 4000, 3), np.uint8)]) == (1, 224)


def test_the_depth_follows_the_size():
    assert [automatic_depth(n, n) for n in (5, 20, 21, 75, 224)] == [1, 1, 2, 3, 5]
    encoder, preprocess = build("convnet", "image", values=[np.zeros((75, 75, 3), np.uint8)])
    assert preprocess.size == (75, 75)
    assert [stage[0].out_channels for stage in encoder.convolutions] == [16, 32, 64]
    assert encoder.spec.tokens == 100


def test_coordinates_tell_x_from_y():
    channels = coordinate_channels(3, 5)
    assert channels.shape == (1, 2, 3, 5)
    assert channels[0, 0, 1].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert channels[0, 1, :, 1].tolist() == [-1, 0, 1]


@pytest.mark.parametrize("option", ["coordinates", "positions"])
def test_without_a_sense_of_place_an_inner_shift_moves_tokens_alone(option):
    """Two images that differ by where a dot lies: only coordinates or positions give them different pooled vectors."""
    dots = np.full((2, 33, 33, 3), 255, np.uint8)
    dots[0, 8:11, 8:11] = dots[1, 8:11, 20:23] = 0
    off = {"coordinates": False, "positions": False}
    for options, alike in ((off, True), ({**off, option: True}, False)):
        encoder, preprocess = build("convnet", "image", values=list(dots), depth=1, width=16, **options)
        with torch.no_grad():
            a, b = encoder(inputs(preprocess, list(dots))).pooled_BD
        assert torch.allclose(a, b, atol=1e-5) == alike


def test_slots_read_the_whole_grid():
    encoder, preprocess = build("convnet", "image", slots=3, width=16)
    assert (encoder.spec.tokens, encoder.spec.has_tokens) == (3, True)
    white = np.full((20, 28, 3), 255, np.uint8)
    for corner in (np.s_[:4, :4], np.s_[-4:, -4:]):
        marked = white.copy()
        marked[corner] = 0
        with torch.no_grad():
            a, b = encoder(inputs(preprocess, [white, marked])).tokens_BND
        assert (a - b).abs().amax(1).min() > 1e-4


def test_every_parameter_is_trained():
    encoder, preprocess = build("convnet", "image", slots=3, context_layers=1, width=16)
    encoder.train()(inputs(preprocess, IMAGES)).pooled_BD.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_it_learns_where_a_dot_is():
    rng = np.random.default_rng(0)
    images, left = np.full((64, 20, 20, 3), 255, np.uint8), rng.integers(0, 2, 64)
    for image, side in zip(images, left, strict=True):
        x, y = rng.integers(0, 8) + 10 * side, rng.integers(0, 18)
        image[y : y + 2, x : x + 2] = rng.integers(0, 200, 3)
    encoder, preprocess = build("convnet", "image", values=list(images), width=16, depth=2)
    head = torch.nn.Linear(16, 1)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=5e-3)
    x, target = inputs(preprocess, list(images)), torch.from_numpy(left).float()
    for _ in range(40):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(head(encoder(x).pooled_BD)[:, 0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_bad_widths_are_refused():
    with pytest.raises(ConfigError, match="multiples of 8"):
        build("convnet", "image", width=30)
    with pytest.raises(OutOfRange, match="a multiple of 5"):
        build("convnet", "image", slots=2, heads=5)


@pytest.mark.parametrize(("size", "grid"), [((75, 75), (5, 5)), ((38, 40), (5, 7)), ((3, 9), (3, 2))])
def test_cells_average_as_adaptive_pooling_does(size, grid):
    maps = torch.randn(2, 6, *size)
    found = Cells(*size, *grid)(maps.to(memory_format=torch.channels_last)).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, torch.nn.functional.adaptive_avg_pool2d(maps, grid))


def test_a_token_holds_the_mean_colour_of_its_cell():
    encoder, preprocess = build("convnet", "image", values=[np.zeros((32, 32, 3), np.uint8)], depth=2, width=16)
    image = np.zeros((32, 32, 3), np.uint8)
    image[8:12, 20:24] = (200, 100, 50)
    pixels = inputs(preprocess, [image])["pixels"].float()
    with torch.no_grad():
        cells = encoder.cells[0](pixels)
    assert cells.shape == (1, 8, 8, 3)
    torch.testing.assert_close(cells[0, 2, 5], torch.tensor([200.0, 100.0, 50.0]))
    assert not cells[0, 2, 4].any()
