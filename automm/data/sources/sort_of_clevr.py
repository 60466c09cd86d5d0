"""Sort-of-CLEVR (Santoro et al. 2017, "A simple neural network module for relational reasoning"), generated here.

Shape legend: N images, K objects (one a colour), Q questions an image.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.source import Source
from automm.errors import OutOfRange
from automm.types import Column, FieldSpec, Schema, Splits, Table

log = logging.getLogger(__name__)

VERSION = 1  # of the generator: whatever changes one byte of its output raises it
SIZE = 75  # pixels a side
RADIUS = 5  # an object reaches this far from its centre pixel: 11 pixels wide
COLOURS = ("red", "green", "blue", "orange", "gray", "yellow")
SUBTYPES = ("shape", "left", "top", "closest", "furthest", "count")
NON_RELATIONAL = 3  # the first three subtypes concern one object alone
ANSWERS = ("yes", "no", "square", "circle", "1", "2", "3", "4", "5", "6")
QUESTIONS = tuple(
    template.format(colour)
    for template in (
        "What is the shape of the {} object?",
        "Is the {} object on the left?",
        "Is the {} object at the top?",
        "What is the shape of the object closest to the {} object?",
        "What is the shape of the object furthest from the {} object?",
        "How many objects have the shape of the {} object?",
    )
    for colour in COLOURS
)  # number = 6 * subtype + colour

_RGB = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 156, 0], [128, 128, 128], [255, 255, 0]], np.uint8)
_OFFSETS = np.arange(-RADIUS, RADIUS + 1)
_DISC = _OFFSETS[:, None] ** 2 + _OFFSETS**2 <= RADIUS**2 + 1
_STREAMS = {"train": 1, "valid": 2, "test": 3}
_CHUNK = 512  # images drawn at a time; part of what the random stream means
_SCHEMA = Schema((FieldSpec("image", "image"), FieldSpec("question", "text")))


class SortOfCLEVR(Source):
    """Generated questions about six coloured shapes: the embedded VQA set.

    75x75 RGB images on white ground hold six objects, one of each colour (red, green, blue, orange, gray, yellow), each
    a square or a circle by a fair coin, placed uniformly so that no two bounding boxes overlap. Half of the questions
    concern one object (its shape; on the left? at the top?), half concern it and the others (the shape of the closest
    and of the furthest; how many share its shape, itself included). Subtype and colour are drawn uniformly and
    independently, so that an image may get one question twice. Answers: yes, no, square, circle, 1 to 6.

    Distances are Euclidean, between centres; an object is never its own closest or furthest. Of objects equally far the
    first by colour, in the order above, is taken. An object centred on the middle line counts as left, and as top.

    The images are a pure function of these options. `seed` is the data's own and does not follow the run's, so that
    runs with different seeds are measured on the same test images; train, valid and test draw from separate streams,
    and asking for more images of a split keeps those it had.

    Args:
        train_images: images to train on; 9,800 in the paper.
        valid_images: images the search judges by.
        test_images: images of the final test. 200, as often published, leaves +-1 point of chance.
        relational: relational questions an image.
        non_relational: non-relational questions an image.
        seed: seed of the data.
    """

    def __init__(
        self,
        *,
        train_images: int = 9800,
        valid_images: int = 1000,
        test_images: int = 2000,
        relational: int = 10,
        non_relational: int = 10,
        seed: int = 0,
    ) -> None:
        self.images = {"train": train_images, "valid": valid_images, "test": test_images}
        self.kinds = (non_relational, relational)
        self.seed = seed
        counts = {f"{name}_images": n for name, n in self.images.items()}
        low = {**dict.fromkeys(counts, 1), "relational": 0, "non_relational": 0, "seed": 0}
        given = {**counts, "relational": relational, "non_relational": non_relational, "seed": seed}
        for name, value in given.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < low[name]:
                raise OutOfRange(f"data.{name}={value} is not allowed: an integer of at least {low[name]}")
        if relational + non_relational == 0:
            raise OutOfRange("data.relational=0 and data.non_relational=0 leave no question to ask; raise one of them")

    def load(self, seed: int, cache_dir: Path) -> Splits:
        """The three tables, from `cache_dir` where they are there and whole; `seed` changes nothing here."""
        folder = cache_dir / "sort_of_clevr"
        tables = {split: self._table(*self._cached(split, folder)) for split in self.images}
        return Splits(tables["train"], tables["valid"], tables["test"])

    def generate(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """One split: uint8 images [N, 75, 75, 3], and uint8 [N, Q, 2] question and answer numbers."""
        rng = np.random.default_rng([self.seed, _STREAMS[split]])
        images = np.empty((self.images[split], SIZE, SIZE, 3), np.uint8)
        asked = np.empty((self.images[split], sum(self.kinds), 2), np.uint8)
        for start in range(0, len(images), _CHUNK):
            now = min(_CHUNK, len(images) - start)  # a whole chunk is drawn, so that the stream ignores how many count
            centres_NK2, square_NK = draw_scenes(rng, _CHUNK)
            questions_NQ = draw_questions(rng, _CHUNK, *self.kinds)
            answers_NQ = np.take_along_axis(answer_all(centres_NK2, square_NK), questions_NQ, axis=1)
            images[start : start + now] = paint(centres_NK2[:now], square_NK[:now])
            asked[start : start + now] = np.stack([questions_NQ, answers_NQ], axis=2)[:now]
        return images, asked

    def _cached(self, split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        what = {
            "version": VERSION,
            "split": split,
            "images": self.images[split],
            "kinds": self.kinds,
            "seed": self.seed,
        }
        name = f"{split}-{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]}"
        files = (folder / f"{name}.images.npy", folder / f"{name}.questions.npy")
        sums = folder / f"{name}.crc32"
        found = _read(files, sums)
        if found is None:
            log.info("generating %d Sort-of-CLEVR %s images into %s", self.images[split], split, folder)
            folder.mkdir(parents=True, exist_ok=True)
            for path, array in zip(files, self.generate(split), strict=True):
                _write(path, array)
            _write(sums, _checksums(files))
            found = _read(files, sums)
            assert found is not None, "what was just written is whole"
        return found

    def _table(self, images: np.ndarray, asked: np.ndarray) -> Table:
        n, each = asked.shape[:2]
        question, answer = asked.reshape(-1, 2).T.astype(np.int64)
        subtype = question // len(COLOURS)
        kind = np.where(subtype < NON_RELATIONAL, "non_relational", "relational")
        values: Any = images
        image = np.repeat(np.arange(n), each)
        return Table(
            schema=_SCHEMA,
            columns={"image": Column(values, image), "question": Column(QUESTIONS, question)},
            targets=[ANSWERS[i] for i in answer],
            ids=[f"{i:06d}-{q:02d}" for i in range(n) for q in range(each)],
            groups={"kind": kind, "subtype": np.array(SUBTYPES)[subtype]},
            together=image,
        )


def draw_scenes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Integer centres [N, K, 2] as (x, y), and whether each object is a square [N, K].

    Objects are placed one after another, each uniformly over what the earlier ones leave free. Five objects bar less
    than half of all places, so that there always is one.
    """
    centres_NK2 = np.zeros((n, len(COLOURS), 2), np.int64)
    for k in range(len(COLOURS)):
        todo = np.arange(n)
        while len(todo):
            centres_NK2[todo, k] = rng.integers(RADIUS, SIZE - RADIUS, (len(todo), 2))
            apart = np.abs(centres_NK2[todo, k, None] - centres_NK2[todo, :k]).max(axis=2)
            todo = todo[(apart <= 2 * RADIUS).any(axis=1)]
    return centres_NK2, rng.integers(0, 2, (n, len(COLOURS))).astype(bool)


def draw_questions(rng: np.random.Generator, n: int, non_relational: int, relational: int) -> np.ndarray:
    """Question numbers [N, Q], the non-relational ones first."""
    single = rng.integers(0, NON_RELATIONAL, (n, non_relational))
    among = rng.integers(NON_RELATIONAL, len(SUBTYPES), (n, relational))
    subtype = np.concatenate([single, among], axis=1)
    return subtype * len(COLOURS) + rng.integers(0, len(COLOURS), subtype.shape)


def answer_all(centres_NK2: np.ndarray, square_NK: np.ndarray) -> np.ndarray:
    """The answer number of every one of the 36 questions, [N, 36]."""
    gaps = centres_NK2[:, :, None] - centres_NK2[:, None]
    squared_NKK = (gaps**2).sum(axis=3).astype(np.float64)
    itself = np.eye(len(COLOURS), dtype=bool)
    closest_NK = np.where(itself, np.inf, squared_NKK).argmin(axis=2)  # argmin and argmax take the first of equals
    furthest_NK = np.where(itself, -np.inf, squared_NKK).argmax(axis=2)
    shape_NK = np.where(square_NK, ANSWERS.index("square"), ANSWERS.index("circle"))
    near_NK2 = np.where(centres_NK2 < SIZE / 2, ANSWERS.index("yes"), ANSWERS.index("no"))
    same_NK = (square_NK[:, :, None] == square_NK[:, None]).sum(axis=2)
    by_subtype = (
        shape_NK,
        near_NK2[:, :, 0],
        near_NK2[:, :, 1],
        np.take_along_axis(shape_NK, closest_NK, axis=1),
        np.take_along_axis(shape_NK, furthest_NK, axis=1),
        ANSWERS.index("1") - 1 + same_NK,
    )
    return np.concatenate(by_subtype, axis=1)


def paint(centres_NK2: np.ndarray, square_NK: np.ndarray) -> np.ndarray:
    """The images of the scenes, uint8 [N, 75, 75, 3]."""
    images = np.full((len(centres_NK2), SIZE, SIZE, 3), 255, np.uint8)
    for image, centres, squares in zip(images, centres_NK2.tolist(), square_NK.tolist(), strict=True):
        for (x, y), square, rgb in zip(centres, squares, _RGB, strict=True):
            box = image[y - RADIUS : y + RADIUS + 1, x - RADIUS : x + RADIUS + 1]
            box[... if square else _DISC] = rgb
    return images


def _read(files: tuple[Path, Path], sums: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """The arrays, memory-mapped; None where a file is missing or is not what was written."""
    try:
        if sums.read_bytes() != _checksums(files):
            return None
        return np.load(files[0], mmap_mode="r"), np.load(files[1], mmap_mode="r")
    except (OSError, ValueError):
        return None


def _checksums(files: tuple[Path, Path]) -> bytes:
    sums = []
    for path in files:
        crc = 0
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                crc = zlib.crc32(block, crc)
        sums.append(f"{crc:08x} {path.name}\n")
    return "".join(sums).encode()


def _write(path: Path, content: np.ndarray | bytes) -> None:
    """Write a whole file or none: readers and other writers of the same bytes never see half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                np.save(stream, content, allow_pickle=False)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
