"""Images: a path, bytes, base64, a PIL image or a uint8 array -> uint8 CHW of one size; the encoder normalises.

Shape legend: C channels (3, RGB), H rows, W columns.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from PIL import Image, ImageOps

from automm.errors import ConfigError, DataError
from automm.runtime.embedded import embedded
from automm.runtime.preprocess import Preprocess
from automm.runtime.urls import missing_file
from automm.types import TensorSpec

Resample = Literal["bicubic", "bilinear"]
Fit = Literal["squash", "center_crop"]

MAX_PIXELS = 80_000_000  # below Pillow's own alarm (89 million), so that ours speaks first
_RESAMPLE = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
# What Pillow's decoders raise for damaged files; anything else is a bug and shall show itself.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


class ImagePreprocess(Preprocess):
    """Decode, upright, flatten to RGB on white and resize.

    `size` is (H, W). `fit`: `squash` ignores the aspect ratio; `center_crop` scales the shorter side to
    `size / crop` and cuts the middle out. A missing image becomes a black one. `mean` and `deviation` of the training
    images' channels (0 to 255) are kept for encoders that standardise by them; pixels are returned as they are.
    """

    kind: ClassVar[str] = "image"

    def __init__(
        self,
        *,
        size: tuple[int, int],
        resample: Resample = "bicubic",
        fit: Fit = "squash",
        crop: float = 1.0,
        max_pixels: int = MAX_PIXELS,
        mean: Sequence[float] | None = None,
        deviation: Sequence[float] | None = None,
    ) -> None:
        _check("resample", resample, get_args(Resample))
        _check("fit", fit, get_args(Fit))
        if min(size) < 1 or not 0 < crop <= 1:
            raise ConfigError(f"an image size is positive and a crop lies in (0, 1], not {size} and {crop}")
        self.size, self.resample, self.fit, self.crop, self.max_pixels = tuple(size), resample, fit, crop, max_pixels
        self.mean = None if mean is None else tuple(mean)
        self.deviation = None if deviation is None else tuple(deviation)

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """One array: `pixels`, uint8 [3, H, W]."""
        return {"pixels": TensorSpec("uint8", (3, *self.size))}

    def __call__(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """Images -> `pixels` [len(values), 3, H, W].

        Raises:
            DataError: an image cannot be read or has too many pixels; the message names it.
        """
        pixels = np.zeros((len(values), 3, *self.size), np.uint8)
        for at, value in enumerate(values):
            if value is not None:
                pixels[at] = self._resized(value).transpose(2, 0, 1)
        return {"pixels": pixels}

    def save(self, folder: Path) -> dict[str, Any]:
        """No assets; every option."""
        return {
            "size": list(self.size),
            "resample": self.resample,
            "fit": self.fit,
            "crop": self.crop,
            "max_pixels": self.max_pixels,
            "mean": None if self.mean is None else list(self.mean),
            "deviation": None if self.deviation is None else list(self.deviation),
        }

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> Self:
        """The inverse of `save`."""
        return cls(**{**config, "size": tuple(config["size"])})

    def _resized(self, value: Any) -> np.ndarray:
        """One image, uint8 HWC of `size`."""
        if isinstance(value, np.ndarray) and value.shape == (*self.size, 3) and value.dtype == np.uint8 and self._whole:
            return value
        image = decode(value, max_pixels=self.max_pixels)
        height, width = self.size
        box = None if self.fit == "squash" else _centre_box(image.size, (width, height), self.crop)
        if (image.width, image.height) != (width, height) or not self._whole:
            image = image.resize((width, height), _RESAMPLE[self.resample], box=box)
        return np.asarray(image)

    @property
    def _whole(self) -> bool:
        return self.fit == "squash" or self.crop == 1.0


def decode(value: Any, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """One raw value -> an upright RGB image.

    `value` is a path, encoded bytes (also as base64, in a data URI or alone), a PIL image, or a uint8 array [H, W],
    [H, W, 1], [H, W, 3] or [H, W, 4].

    Raises:
        DataError: it cannot be read, or has more than `max_pixels` pixels.
    """
    try:
        with _opened(value) as image:
            _check_pixels(image, value, max_pixels)
            return _rgb(ImageOps.exif_transpose(image))
    except _UNREADABLE as error:
        raise _unreadable(value, error) from error


def image_size(value: Any) -> tuple[int, int]:
    """(height, width) of one raw value as stored; of a file only the header is read.

    Raises:
        DataError: it cannot be read.
    """
    if isinstance(value, np.ndarray) and value.ndim >= 2:
        return int(value.shape[0]), int(value.shape[1])
    try:
        with _opened(value) as image:
            return image.height, image.width
    except _UNREADABLE as error:
        raise _unreadable(value, error) from error


def _opened(value: Any) -> Image.Image:
    """A PIL image, lazily decoded where it can be."""
    try:
        if isinstance(value, Image.Image):
            return value.copy()  # the caller closes what it gets; the user's image stays open
        if isinstance(value, np.ndarray):
            return Image.fromarray(_checked_array(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return Image.open(io.BytesIO(value))
        if isinstance(value, str) and (held := embedded(value, "image")) is not None:
            return Image.open(io.BytesIO(held))
        if isinstance(value, (str, Path)):
            return Image.open(value)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name_of(value)} is refused as a bomb: {error} Next: shrink the file.") from error
    raise DataError(
        f"an image is a path, encoded bytes, a PIL image or a uint8 array, not {type(value).__name__}. "
        "Next: check the column's modality."
    )


def _checked_array(array: np.ndarray) -> np.ndarray:
    gray = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.dtype != np.uint8 or not (gray.ndim == 2 or (gray.ndim == 3 and gray.shape[2] in (3, 4))):
        raise DataError(
            f"an image array is uint8 of shape [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]; found {array.dtype} "
            f"{list(array.shape)}. Next: convert it (floats in 0..1 times 255, channels last)."
        )
    return np.ascontiguousarray(gray)


def _check_pixels(image: Image.Image, value: Any, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise DataError(
            f"{name_of(value)} has {image.width} x {image.height} pixels, more than the limit of {max_pixels:,}. "
            "Next: shrink the file."
        )


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode -> RGB; transparency is laid on white, 16-bit gray is scaled to 8."""
    if image.mode == "RGB":
        image.load()
        return image if "transparency" not in image.info else _on_white(image)
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def _centre_box(found: tuple[int, int], wanted: tuple[int, int], crop: float) -> tuple[float, float, float, float]:
    """The centred region of a `found` (W, H) image that a crop of `wanted` (W, H) shows."""
    scale = min(have / want for have, want in zip(found, wanted, strict=True)) * crop
    width, height = wanted[0] * scale, wanted[1] * scale
    left, top = (found[0] - width) / 2, (found[1] - height) / 2
    return left, top, left + width, top + height


def name_of(value: Any) -> str:
    """What messages call a raw image."""
    if isinstance(value, str) and (held := embedded(value, "image")) is not None:
        return name_of(held)
    if isinstance(value, (str, Path)):
        return f"image file {str(value)!r}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"an image of {len(value)} bytes"
    if isinstance(value, np.ndarray):
        return f"an image array of shape {list(value.shape)}"
    return f"an image ({type(value).__name__})"


def _unreadable(value: Any, error: BaseException) -> DataError:
    if isinstance(error, FileNotFoundError):
        return missing_file(value, name_of(value))
    return DataError(
        f"{name_of(value)} cannot be read: {type(error).__name__}: {error}. "
        "Next: replace the file; in training, data.on_error=skip leaves out what cannot be read."
    )


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{option}={value} is not allowed: one of {', '.join(allowed)}")
