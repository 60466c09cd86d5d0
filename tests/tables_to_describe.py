"""Tables for `automm data describe`, and what it says of them."""

import io

import numpy as np
from PIL import Image

from automm.data.describe import Asked, describe
from automm.data.places import need_table

ROWS = 60


COLOURS = ["red", "green", "blue"]


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (number % 256, number // 256, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def plain(first=0, rows=ROWS):
    """Rows in which nothing is wrong: the target hangs on nothing."""
    return [
        {
            "picture": f"img/{i}.png",
            "title": f"a thing, number {i}",
            "weight": (7 * i) % 31 / 4,
            "y": COLOURS[(i * i // 3 + i // 7) % 3],
            "who": f"person {i // 2}",
        }
        for i in range(first, first + rows)
    ]


def found(paths, target="y", group=None, **asked):
    paths = paths if isinstance(paths, dict) else {"train": paths}
    places = {split: need_table(str(path), split) for split, path in paths.items()}
    return describe(places, Asked(target, group, **asked), memo=paths["train"].parent / "cache")


def by_kind(description):
    return {finding.kind: finding for finding in description.findings}


def scene(number, **options):
    """A picture with something in it."""
    rng = np.random.default_rng(number)
    buffer = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).resize((80, 60), Image.Resampling.BICUBIC)
    picture.resize(options.pop("size", picture.size)).save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()
