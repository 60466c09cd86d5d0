import io

import numpy as np
import pytest
from PIL import Image

from automm.errors import BundleError, ConfigError, DataError
from automm.runtime.images import ImagePreprocess, decode, image_size
from automm.runtime.kinds import KINDS, load_preprocess, save_preprocess
from automm.runtime.preprocess import Preprocess

HALVES = np.zeros((4, 6, 3), np.uint8)  # left half red, right half blue
HALVES[:, :3, 0] = 255
HALVES[:, 3:, 2] = 255


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def test_every_form_of_one_image_gives_the_same_pixels(tmp_path):
    image = Image.fromarray(HALVES)
    path = tmp_path / "halves.png"
    image.save(path)
    preprocess = ImagePreprocess(size=(4, 6))
    pixels = preprocess([str(path), path, path.read_bytes(), image, HALVES])["pixels"]
    assert pixels.dtype == np.uint8
    assert pixels.shape == (5, 3, 4, 6)
    for each in pixels:
        np.testing.assert_array_equal(each, HALVES.transpose(2, 0, 1))
    assert np.asarray(image).shape == (4, 6, 3)  # the caller's image is still open


def test_the_signature_says_what_comes_out():
    preprocess = ImagePreprocess(size=(8, 5))
    out = preprocess([HALVES, None])
    for name, spec in preprocess.signature.items():
        assert out[name].shape[1:] == spec.shape
        assert out[name].dtype == spec.dtype
    assert not out["pixels"][1].any()  # a missing image is black
    assert preprocess([])["pixels"].shape == (0, 3, 8, 5)


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate a quarter turn clockwise to show
    stored = encoded(Image.fromarray(HALVES), "PNG", exif=exif)
    upright = np.asarray(decode(stored))
    assert upright.shape == (6, 4, 3)
    np.testing.assert_array_equal(upright, np.rot90(HALVES, -1))


def test_transparency_is_laid_on_white():
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = 255, 0, 0, 255
    rgba[0, 1] = 0, 0, 0, 51  # a fifth of black on white
    expected = [[[255, 0, 0], [204, 204, 204]], [[255, 255, 255], [255, 255, 255]]]
    np.testing.assert_array_equal(np.asarray(decode(rgba)), expected)
    np.testing.assert_array_equal(np.asarray(decode(encoded(Image.fromarray(rgba)))), expected)


def test_palettes_with_and_without_transparency():
    palette = Image.fromarray(HALVES).quantize(2)
    np.testing.assert_array_equal(np.asarray(decode(encoded(palette))), HALVES)
    red = palette.getpixel((0, 0))
    see_through = np.asarray(decode(encoded(palette, transparency=red)))
    assert (see_through[:, :3] == 255).all()
    np.testing.assert_array_equal(see_through[:, 3:], HALVES[:, 3:])


@pytest.mark.parametrize(
    "value",
    [
        np.full((3, 3), 128, np.uint8),
        np.full((3, 3, 1), 128, np.uint8),
        Image.new("L", (3, 3), 128),
        Image.fromarray(np.full((3, 3), 128 * 256, np.uint16)),
        Image.fromarray(np.full((3, 3), 128.0, np.float32)),
        Image.new("LA", (3, 3), (128, 255)),
    ],
    ids=["HW", "HW1", "L", "16 bit", "float", "LA"],
)
def test_gray_becomes_three_equal_channels(value):
    assert (np.asarray(decode(value)) == 128).all()
    assert np.asarray(decode(value)).shape == (3, 3, 3)


def test_cmyk_is_read():
    assert np.asarray(decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"))).min() >= 250


def test_squash_shows_all_and_center_crop_keeps_the_shape_of_things():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255  # the middle third is white
    squashed = ImagePreprocess(size=(20, 20), resample="bilinear")([wide])["pixels"][0]
    cropped = ImagePreprocess(size=(20, 20), fit="center_crop")([wide])["pixels"][0]
    assert squashed[:, :, 0].max() == 0
    assert squashed[:, :, 10].min() == 255
    assert cropped.min() == 255
    tighter = ImagePreprocess(size=(10, 10), fit="center_crop", crop=0.5)([HALVES.repeat(10, 0).repeat(10, 1)])[
        "pixels"
    ]
    np.testing.assert_array_equal(tighter[0, :, 5, 0], [255, 0, 0])


def test_an_image_of_the_right_size_is_still_cropped_where_asked():
    bordered = np.full((8, 8, 3), 255, np.uint8)
    bordered[2:6, 2:6] = 0
    assert ImagePreprocess(size=(8, 8), fit="center_crop", crop=0.4)([bordered])["pixels"].max() == 0


def test_resizing_agrees_with_pillow():
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    ours = ImagePreprocess(size=(16, 24), resample="bicubic")([noise])["pixels"][0]
    theirs = Image.fromarray(noise).resize((24, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(ours, np.asarray(theirs).transpose(2, 0, 1))


def test_the_size_is_read_from_the_header(tmp_path):
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)), "JPEG")
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: len(whole) - 40])
    assert image_size(path) == (20, 30)
    assert image_size(HALVES) == (4, 6)


def test_a_broken_or_missing_file_is_named(tmp_path):
    preprocess = ImagePreprocess(size=(4, 4))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    cut = tmp_path / "cut.png"
    cut.write_bytes(encoded(Image.fromarray(noise))[:2000])
    text = tmp_path / "notes.txt"
    text.write_text("no image at all")
    for path, says in ((cut, "cannot be read"), (text, "cannot be read"), (tmp_path / "gone.png", "does not exist")):
        with pytest.raises(DataError, match=says) as caught:
            preprocess([HALVES, path])
        assert path.name in str(caught.value)
    with pytest.raises(DataError, match="an image of 3 bytes cannot be read"):
        preprocess([b"abc"])


def test_what_is_no_image_is_refused():
    preprocess = ImagePreprocess(size=(4, 4))
    for value, says in (
        (3.5, "not float"),
        (np.zeros((4, 4, 3), np.float32), "found float32"),
        (np.zeros((3, 4, 7), np.uint8), r"found uint8 \[3, 4, 7\]"),
    ):
        with pytest.raises(DataError, match=says):
            preprocess([value])


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("1", (2000, 2000)).save(path)
    with pytest.raises(DataError, match=r"bomb\.png' has 2000 x 2000 pixels, more than the limit of 1,000,000"):
        ImagePreprocess(size=(4, 4), max_pixels=1_000_000)([path])
    for alarm in (1000, 3_000_000):  # Pillow's own error, and its warning (an error here)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", alarm)
        with pytest.raises(DataError, match=r"bomb\.png' is refused as a bomb"):
            ImagePreprocess(size=(4, 4))([path])


@pytest.mark.parametrize("options", [{"resample": "nearest"}, {"fit": "stretch"}, {"crop": 0.0}, {"size": (0, 4)}])
def test_options_are_checked(options):
    with pytest.raises(ConfigError):
        ImagePreprocess(**{"size": (4, 4), **options})


def test_saved_and_loaded_is_the_same(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    first = ImagePreprocess(size=(16, 24), resample="bilinear", fit="center_crop", crop=0.875, max_pixels=5000)
    saved = save_preprocess(first, tmp_path / "image")
    again = load_preprocess(tmp_path / "image", **saved)
    assert vars(again) == vars(first)
    np.testing.assert_array_equal(again([noise])["pixels"], first([noise])["pixels"])


def test_only_known_kinds_are_saved_and_loaded(tmp_path):
    class Stranger(Preprocess):
        kind = "image"

    with pytest.raises(BundleError, match="Stranger"):
        save_preprocess(Stranger(), tmp_path)
    with pytest.raises(BundleError, match="Did you mean 'image'"):
        load_preprocess(tmp_path, "imag", {})
    assert set(KINDS) >= {"image", "text"}
