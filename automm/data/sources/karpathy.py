"""Captioned images with Karpathy's splits (Karpathy & Fei-Fei 2015): `dataset_flickr30k.json`, `dataset_coco.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from automm.data.captions import Captions, broken_among, inside
from automm.data.image_files import check_mode
from automm.data.json_records import lack, need_path, read_json, records
from automm.data.problems import Problems, check_on_error
from automm.data.source import Source
from automm.errors import DataError
from automm.types import Skipped, Splits

_IMAGE: dict[str, type] = {"filename": str, "split": str, "sentences": list}
_SPLITS = {"train": "train", "restval": "train", "val": "valid", "test": "test"}


class Karpathy(Source):
    """Images and captions with the splits that most papers report: a row is an image and one of its captions.

    The file's own splits are honoured: `train`, `val` and `test`, and `restval` (of COCO) is trained on too. Where an
    image names a folder (`filepath`, as COCO's do), it is looked for there, below `images`.

    Args:
        json: JSON file, `{"images": [{filename, split, sentences: [{raw}]}]}`.
        images: folder of the image files.
        restval: train on the split `restval` too.
        on_error: `fail` or `skip`: what a record does that cannot be used.
        check_images: `decode` reads every image to its end, `header` opens it only.
    """

    def __init__(
        self,
        *,
        json: str | None = None,
        images: str | None = None,
        restval: bool = True,
        on_error: str = "fail",
        check_images: str = "decode",
    ) -> None:
        self.json, self.images, self.restval = json, images, restval
        self.on_error = check_on_error(on_error)
        self.check_images = check_mode(check_images)

    def load(self, seed: int, cache_dir: Path) -> Splits:
        """The tables; both paths are checked before any file is read."""
        path, folder = need_path(self.json, "data.json"), need_path(self.images, "data.images", folder=True)
        found = records(read_json(path), "images", path)
        skipped: list[Skipped] = []
        problems = Problems(str(path), self.on_error, skipped)
        splits = {name: Captions() for name in ("train", "valid", "test")}
        seen = set[Path]()
        for number, record in enumerate(found):
            image, problem = _examine(record, folder)
            if problem is None and image in seen:
                problem = "its image was listed before"
            if problem is not None:
                problems.add(f"{path}, {_name(record, number)}: {problem}.")
            elif record["split"] != "restval" or self.restval:
                seen.add(image)
                _add(splits[_SPLITS[record["split"]]], record, image, problems)
        broken = broken_among(splits.values(), self.check_images, cache_dir)
        tables = {name: captions.table(broken, problems) for name, captions in splits.items()}
        problems.close(problems.skipped + sum(map(len, tables.values())))
        for name, said in (("train", "train"), ("valid", "val")):
            if not len(tables[name]):
                raise DataError(
                    f"{path} has no usable caption of the split {said!r}. {problems.first} "
                    "Next: check that the file is one of Karpathy's, and whole."
                )
        return Splits(tables["train"], tables["valid"], tables["test"] if len(tables["test"]) else None, skipped)


def _add(captions: Captions, record: dict[str, Any], image: Path, problems: Problems) -> None:
    """The captions of a usable record."""
    for number, sentence in enumerate(record["sentences"]):
        problem = lack(sentence, {"raw": str}) or (None if sentence["raw"].strip() else "its 'raw' is empty")
        if problem is not None:
            problems.add(f"{problems.where}, {record['filename']}, sentence {number}: {problem}.")
        else:
            captions.add(image, sentence["raw"].strip(), sentence.get("sentid", f"{record['filename']}#{number}"))


def _examine(record: Any, folder: Path) -> tuple[Path, str | None]:
    """Where a record's image is, and what is wrong with the record."""
    problem = lack(record, _IMAGE)
    if problem is None and not record["sentences"]:
        problem = "its 'sentences' are empty"
    if problem is None and record["split"] not in _SPLITS:
        problem = f"its split {record['split']!r} is none of {', '.join(_SPLITS)}"
    if problem is not None:
        return folder, problem
    below = record.get("filepath", "")
    return inside(folder, f"{below}/{record['filename']}" if below else record["filename"])


def _name(record: Any, number: int) -> str:
    known = record.get("filename") if isinstance(record, dict) else None
    return f"record {number}" if known is None else f"record {number} ({known})"
