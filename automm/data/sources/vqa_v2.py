"""VQA in the official v2 JSON format (Goyal et al. 2017), https://visualqa.org/vqa_v2_data_format.html."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.apart import check_apart
from automm.data.image_files import NumberedImages, broken_images, check_mode, check_template
from automm.data.json_records import lack, need_path, read_json, records
from automm.data.packed import column_of
from automm.data.problems import Problems, check_on_error
from automm.data.source import Source
from automm.data.split import split_rows, take
from automm.errors import OutOfRange, UnknownKey, near_miss
from automm.types import FieldSpec, Schema, Skipped, Splits, Table

_SCHEMA = Schema((FieldSpec("image", "image"), FieldSpec("question", "text")))
_QUESTION: dict[str, type] = {"question_id": int, "image_id": int, "question": str}
_ANNOTATION: dict[str, type] = {"question_id": int, "image_id": int, "answers": list}
_UNKNOWN = "unknown"  # the group of a row whose annotation does not say


class VQAv2(Source):
    """Questions, annotations and images in the official VQA v2 format.

    A target is the list of the people's answers (ten, officially); a split without annotations has None for targets.
    Rows are grouped by `answer_type` and `question_type` where the annotations have them. Image files are found by
    number (`COCO_val2014_000000000042.jpg`, `000000000042.jpg`), or by `template`. Every file that is used is read
    before training starts; what cannot be used is an error, or skipped and counted with `on_error=skip`.

    Args:
        questions: JSON file, `{"questions": [{question_id, image_id, question}]}`.
        annotations: JSON file, `{"annotations": [{question_id, image_id, answers: [{answer}], ..}]}`.
        images: folder of the image files.
        template: name of an image file, such as `COCO_train2014_{image_id:012d}.jpg`; null = by COCO's names.
        valid: the same four keys for a validation set; null = a part of the training images.
        test: the same four keys for a test set, `annotations` may be left out; null = no test.
        valid_fraction: share of the training questions that validate where `valid` is null; split by image.
        on_error: `fail` or `skip`: what a record does that cannot be used.
        check_images: `decode` reads every image to its end, `header` opens it only.
    """

    def __init__(
        self,
        *,
        questions: str | None = None,
        annotations: str | None = None,
        images: str | None = None,
        template: str | None = None,
        valid: Mapping[str, str | None] | None = None,
        test: Mapping[str, str | None] | None = None,
        valid_fraction: float = 0.1,
        on_error: str = "fail",
        check_images: str = "decode",
    ) -> None:
        train = {"questions": questions, "annotations": annotations, "images": images, "template": template}
        self.files = {"train": _Files("data", **train)}
        for split, given in (("valid", valid), ("test", test)):
            named = {key: value for key, value in dict(given or {}).items() if value is not None}
            for key in dict(given or {}):
                if key not in train:
                    raise UnknownKey(f"data.{split} has no key {key!r}. {near_miss(key, train)}")
            if named:
                shared = {"images": images, "template": template} if "images" not in named else {}
                self.files[split] = _Files(f"data.{split}", **{**shared, **named})
        if not 0 < valid_fraction < 1:
            raise OutOfRange(f"data.valid_fraction={valid_fraction} is not allowed: a number between 0 and 1")
        self.valid_fraction = valid_fraction
        self.on_error = check_on_error(on_error)
        self.check_images = check_mode(check_images)

    def load(self, seed: int, cache_dir: Path) -> Splits:
        """The tables; every path is checked before any file is read."""
        for split, files in self.files.items():
            files.check(annotated=split != "test")
        skipped: list[Skipped] = []
        tables = {split: self._table(files, cache_dir, skipped) for split, files in self.files.items()}
        test = tables.get("test")
        if "valid" in tables:
            train, valid = tables["train"], tables["valid"]
        else:
            groups = tables["train"].columns["image"].index
            parts = split_rows(len(groups), fraction=self.valid_fraction, seed=seed, groups=groups)
            train, valid = take(tables["train"], parts[0]), take(tables["train"], parts[1])
        splits = Splits(train, valid, test, skipped)
        check_apart(splits, "image")
        return splits

    def _table(self, files: _Files, cache_dir: Path, skipped: list[Skipped]) -> Table:
        """One split's table; its rows are in the questions file's order."""
        path = need_path(files.questions, f"{files.key}.questions")
        asked = records(read_json(path), "questions", path)
        answers = None if files.annotations is None else Path(files.annotations).expanduser()
        annotated = None if answers is None else self._annotations(answers, skipped)
        folder = NumberedImages(need_path(files.images, f"{files.key}.images", folder=True), files.template)
        problems = Problems(str(path), self.on_error, skipped)
        kept: dict[int, tuple[dict[str, Any], dict[str, Any], Path]] = {}
        for number, record in enumerate(asked):
            problem, annotation, image = _examine(record, kept, annotated, folder, files)
            if problem or image is None:
                problems.add(f"{path}, {_name(record, number)}: {problem}.")
            else:
                kept[record["question_id"]] = record, annotation, image
        self._drop_broken(kept, problems, path, cache_dir)
        problems.close(len(asked))
        return _assemble(list(kept.values()), annotated is not None)

    def _annotations(self, path: Path, skipped: list[Skipped]) -> dict[int, dict[str, Any]]:
        path = path.absolute()
        found = records(read_json(path), "annotations", path)
        problems = Problems(str(path), self.on_error, skipped)
        by_question: dict[int, dict[str, Any]] = {}
        for number, record in enumerate(found):
            problem = lack(record, _ANNOTATION) or _lack_answers(record["answers"])
            if problem is None and record["question_id"] in by_question:
                problem = "its question was annotated before"
            if problem:
                problems.add(f"{path}, {_name(record, number)}: {problem}.")
            else:
                by_question[record["question_id"]] = record
        problems.close(len(found))
        return by_question

    def _drop_broken(
        self, kept: dict[int, tuple[Any, Any, Path]], problems: Problems, path: Path, cache_dir: Path
    ) -> None:
        broken = broken_images(sorted({image for *_, image in kept.values()}), self.check_images, cache_dir)
        for question_id in [q for q, (*_, image) in kept.items() if image in broken]:
            problems.add(f"{path}, question {question_id}: {broken[kept.pop(question_id)[2]]}.")


@dataclass(frozen=True)
class _Files:
    """The files of one split, and the configuration key they stand under."""

    key: str
    questions: str | None = None
    annotations: str | None = None
    images: str | None = None
    template: str | None = None

    def __post_init__(self) -> None:
        check_template(self.template, f"{self.key}.template")

    def check(self, *, annotated: bool) -> None:
        """Raise DataError unless every file is there."""
        need_path(self.questions, f"{self.key}.questions")
        if annotated or self.annotations is not None:
            need_path(self.annotations, f"{self.key}.annotations")
        need_path(self.images, f"{self.key}.images", folder=True)


def _examine(
    record: Any,
    kept: Mapping[int, Any],
    annotated: Mapping[int, dict[str, Any]] | None,
    folder: NumberedImages,
    files: _Files,
) -> tuple[str | None, dict[str, Any], Path | None]:
    """What is wrong with a question, its annotation and its image."""
    problem = lack(record, _QUESTION)
    if problem:
        return problem, {}, None
    question_id, image_id = record["question_id"], record["image_id"]
    annotation = {} if annotated is None else annotated.get(question_id)
    image = folder.path(image_id)
    if question_id in kept:
        problem = "its question_id was used before"
    elif annotation is None:
        problem = f"it has no annotation in {files.annotations}"
    elif annotation.get("image_id", image_id) != image_id:
        problem = f"it is about image {image_id}, its annotation about image {annotation['image_id']}"
    elif image is None:
        problem = f"image {image_id} is not in {files.images}"
    return problem, annotation or {}, image


def _assemble(kept: list[tuple[dict[str, Any], dict[str, Any], Path]], annotated: bool) -> Table:
    images = [str(image) for *_, image in kept]
    columns = {"image": column_of(images), "question": column_of([record["question"] for record, *_ in kept])}
    annotations = [annotation for _, annotation, _ in kept]
    groups = {
        name: np.array([str(annotation.get(name, _UNKNOWN)) for annotation in annotations])
        for name in ("answer_type", "question_type")
        if any(name in annotation for annotation in annotations)
    }
    targets = [[each["answer"] for each in a["answers"]] if annotated else None for a in annotations]
    names = [record["question_id"] for record, *_ in kept]
    return Table(_SCHEMA, columns, targets, names, groups, together=columns["image"].index)


def _lack_answers(answers: list[Any]) -> str | None:
    if not answers:
        return "its 'answers' are empty"
    if all(isinstance(each, dict) and isinstance(each.get("answer"), str) for each in answers):
        return None  # by far the most frequent case, ten times a question
    return next(f"of its answers one is wrong: {p}" for each in answers if (p := lack(each, {"answer": str})))


def _name(record: Any, number: int) -> str:
    known = record.get("question_id") if isinstance(record, dict) else None
    return f"record {number}" if known is None else f"record {number} (question_id {known})"
