"""What pictures look like, so that a copy is known though it was resized or encoded anew.

Candidates share most bits of a difference hash, which says of neighbouring places which is the brighter (N. Krawetz,
"Kind of Like That", hackerfactor.com 2013). They are found without comparing all with all, as by G. S. Manku et al.,
"Detecting near-duplicates for web crawling", WWW 2007: hashes that differ in 6 bits agree in 2 of 8 blocks. The
verdict is a comparison of thumbnails in colour, overall and in the place where they differ most.

Thresholds were chosen on emoji of 64 pixels by two makers: copies in JPEG or WebP, at half to three times the size,
pass, and of different drawings only such as are all but the same. What is made small and coarse at once is missed.

Shape legend: N pictures, P pairs, H, W the thumbnail's rows and columns, C colours.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from PIL import Image

from automm.errors import DataError
from automm.runtime.images import decode

_W, _H = 18, 16  # of the thumbnail; the hash compares its means over 2 x 2
_BLOCKS = 8  # of 8 bits, each with one of every row and column, so that a blank margin fills none
_BITS = 6  # in which hashes of candidates may differ: one for every block but two
_WINDOW = 64  # neighbours that each hash is compared with, among those that agree in two blocks
_STEP = 4.0  # of 255 by which a place has to be brighter, so that noise on a plain ground says nothing
_FLAT = 4.0  # of 255: a picture with less contrast has nothing to be compared by
_OFF = 8.0  # of 255 that thumbnails may differ by, root mean square,
_OFF_SHARE = 0.15  # and no more than this of their contrast,
_OFF_ANYWHERE = 20.0  # and by so much in no place of 2 x 2
_AT_ONCE = 4096
_COUNT = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def look(value: str | bytes) -> bytes:
    """A picture's thumbnail, uint8 [H, W, C] as bytes; empty where it is of one colour all over.

    It is laid on white as in training; what vanishes there, such as a white icon, on black.

    Args:
        value: a path, or a file's bytes.

    Raises:
        DataError: it cannot be read to its end.
    """
    seen = _thumbnail(_decoded(value))
    if _contrast(seen) < _FLAT:
        with Image.open(io.BytesIO(value) if isinstance(value, bytes) else value) as opened:
            rgba = opened.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        seen = _thumbnail(Image.alpha_composite(black, rgba).convert("RGB"))
    return b"" if _contrast(seen) < _FLAT else seen.tobytes()


def similar_looks(looks: Sequence[bytes]) -> np.ndarray:
    """Pairs of pictures that look the same, int64 [P, 2], the lower number first.

    Of more than 64 that are alike, not every pair is found, but some of each.

    Args:
        looks: none of them empty.
    """
    seen_NHWC = np.frombuffer(b"".join(looks), np.uint8).reshape(-1, _H, _W, 3)
    pairs = _candidates(_hashes(seen_NHWC))
    kept = [_alike(seen_NHWC, pairs[at : at + _AT_ONCE]) for at in range(0, len(pairs), _AT_ONCE)]
    return np.concatenate([np.zeros((0, 2), np.int64), *kept])


def _decoded(value: str | bytes) -> Image.Image:
    """An RGB picture on white; a JPEG at the least of its sizes that will do, which is several times faster."""
    try:
        with Image.open(io.BytesIO(value) if isinstance(value, bytes) else value) as opened:
            if opened.format == "JPEG":
                opened.draft("RGB", (4 * _W, 4 * _H))
                return decode(opened)
    except (OSError, SyntaxError, ValueError, EOFError, DataError):
        pass  # `decode` gives the verdict and its wording
    return decode(value)


def _thumbnail(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.resize((_W, _H), Image.Resampling.BILINEAR))


def _contrast(seen: np.ndarray) -> np.ndarray:
    """How far places differ from the mean of their colour, root mean square; of thumbnails [..., H, W, C]."""
    return np.asarray(np.sqrt(seen.var(axis=(-3, -2), dtype=np.float32).mean(axis=-1)))


def _hashes(seen_NHWC: np.ndarray) -> np.ndarray:
    """Difference hashes, uint8 [N, blocks]."""
    parts = []
    for at in range(0, len(seen_NHWC), _AT_ONCE):
        gray_NHW = seen_NHWC[at : at + _AT_ONCE] @ np.array([0.299, 0.587, 0.114], np.float32)
        places = gray_NHW.reshape(-1, _H // 2, 2, _W // 2, 2).mean(axis=(2, 4))
        brighter = places[:, :, 1:] - places[:, :, :-1] > _STEP
        rows = np.arange(_BLOCKS)
        parts.append(np.packbits([brighter[:, rows, (rows + block) % _BLOCKS] for block in rows], axis=2)[:, :, 0].T)
    return np.concatenate([np.zeros((0, _BLOCKS), np.uint8), *parts])


def _candidates(hash_NB: np.ndarray) -> np.ndarray:
    """Pairs whose hashes differ in few bits, int64 [P, 2], each once."""
    whole_N = np.ascontiguousarray(hash_NB).view(np.uint64)[:, 0]
    shuffled_N = np.random.default_rng(0).permutation(len(hash_NB))  # among equals each has neighbours from all over
    found = [np.zeros(0, np.int64)]
    for blocks in combinations(range(_BLOCKS), 2):
        shared_N = hash_NB[:, blocks[0]].astype(np.uint16) << 8 | hash_NB[:, blocks[1]]
        order = np.lexsort((shuffled_N, whole_N, shared_N))
        for step in range(1, min(_WINDOW, len(order) - 1) + 1):
            both = shared_N[order[step:]] == shared_N[order[:-step]]
            if not both.any():
                break
            one, other = order[:-step][both], order[step:][both]
            few = _COUNT[hash_NB[one] ^ hash_NB[other]].sum(axis=1) <= _BITS
            low, high = np.minimum(one, other)[few], np.maximum(one, other)[few]
            found.append(low.astype(np.int64) * len(hash_NB) + high)
        found = [np.unique(np.concatenate(found))]
    return np.stack(np.divmod(found[0], max(len(hash_NB), 1)), axis=1)


def _alike(seen_NHWC: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Those of the pairs whose thumbnails are the same but for what encoding and resizing do."""
    one, other = (seen_NHWC[pairs[:, side]].astype(np.float32) for side in (0, 1))
    contrast_P = np.minimum(_contrast(one), _contrast(other))
    off = np.abs(one - other)
    overall_P = np.sqrt((off**2).mean(axis=(1, 2, 3)))
    places = off.reshape(-1, _H // 2, 2, _W // 2, 2, 3).mean(axis=(2, 4))
    anywhere_P = places.max(axis=(1, 2, 3))
    alike_P = (overall_P <= np.minimum(_OFF, _OFF_SHARE * contrast_P)) & (anywhere_P <= _OFF_ANYWHERE)
    return np.asarray(pairs[alike_P])
