"""The kinds of preprocessing a saved one may name: a closed list, so that reading a bundle can import nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from automm.errors import BundleError, near_miss
from automm.runtime.audio import AudioPreprocess
from automm.runtime.categories import CategoryPreprocess
from automm.runtime.dates import DatePreprocess
from automm.runtime.images import ImagePreprocess
from automm.runtime.ngrams import NgramPreprocess
from automm.runtime.numbers import NumericPreprocess
from automm.runtime.preprocess import Preprocess
from automm.runtime.texts import TextPreprocess

KINDS: dict[str, type[Preprocess]] = {
    cls.kind: cls
    for cls in (
        ImagePreprocess,
        TextPreprocess,
        NumericPreprocess,
        DatePreprocess,
        CategoryPreprocess,
        NgramPreprocess,
        AudioPreprocess,
    )
}


def save_preprocess(preprocess: Preprocess, folder: Path) -> dict[str, Any]:
    """Write its assets into `folder` (made if there are any) and return `{"kind": str, "config": dict}`, plain JSON.

    Raises:
        BundleError: its kind could not be read back.
    """
    if KINDS.get(preprocess.kind) is not type(preprocess):
        raise BundleError(
            f"a preprocessing of kind {preprocess.kind!r} ({type(preprocess).__name__}) cannot be served. "
            f"{near_miss(preprocess.kind, KINDS)} Next: build the encoder on one of these."
        )
    return {"kind": preprocess.kind, "config": preprocess.save(folder)}


def load_preprocess(folder: Path, kind: str, config: dict[str, Any]) -> Preprocess:
    """The preprocessing that `save_preprocess` wrote.

    Raises:
        BundleError: this automm knows no such kind.
    """
    if kind not in KINDS:
        raise BundleError(f"no preprocessing of kind {kind!r} here. {near_miss(kind, KINDS)} Next: upgrade automm.")
    return KINDS[kind].load(folder, config)
