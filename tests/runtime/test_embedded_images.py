import base64
import io

import numpy as np
import pytest
from PIL import Image

from automm.errors import DataError
from automm.runtime.embedded import embedded
from automm.runtime.images import decode


def encoded(kind):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF"])
def test_base64_alone_and_in_a_data_uri_is_the_file(kind):
    data = encoded(kind)
    text = base64.b64encode(data).decode()
    lines = base64.encodebytes(data).decode()
    uri = f"data:image/{kind.lower()};charset=utf-8;base64,{text.rstrip('=')}"
    assert embedded(text, "image") == embedded(lines, "image") == embedded(uri, "image") == data
    np.testing.assert_array_equal(np.asarray(decode(text)), np.asarray(decode(data)))


@pytest.mark.parametrize(
    "text",
    ["img/a.png", "/9j/photo.jpg", "/9j/AAAA", "x" * 200, "https://example.org/a.png", "data:text/plain;base64,AA"],
)
def test_a_path_or_a_text_holds_no_image(text):
    assert embedded(text, "image") is None


def test_a_damaged_one_is_an_image_that_cannot_be_read():
    assert embedded("data:image/png;base64,****", "image") == b""
    with pytest.raises(DataError, match="cannot be read"):
        decode("data:image/png;base64,****")
    with pytest.raises(DataError, match="an image of 30 bytes cannot be read"):
        decode("data:image/png;base64," + base64.b64encode(encoded("PNG")[:30]).decode())
