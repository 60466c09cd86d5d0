"""Every installed component keeps its kind's contract: parametrised over the registry, so that coverage cannot lag."""

import json

import numpy as np
import pytest
from PIL import Image

from automm import registry
from automm.testing import checks_for, subject

# What a component cannot be built without where there is no network: fixtures and options by name.
OPTIONS = {
    ("encoder", "timm"): {"model": "test_vit", "weights": None, "image_size": 48},
    ("data", "sort_of_clevr"): {"train_images": 3, "valid_images": 2, "test_images": 2},
}
# Raw values (of a task: targets) where the samples do not serve.
VALUES = {("task", "regression"): [1.5, -2.0, 3.0, 0.25, 8.0, 1.0, 2.0, -4.0]}
WEIGHTS = {"transformers": "tiny_bert", "open_clip_image": "tiny_clip", "open_clip_text": "tiny_clip"}
FILES = {
    "table": "table_files",
    "vqa_v2": "vqa_files",
    "coco_captions": "coco_files",
    "karpathy": "karpathy_files",
}
ALIASES = {("fusion", "early")}  # of concat
EXPORTED_ELSEWHERE = {"encoder"}  # tests/encoders exports every variant


def contracts():
    for kind in registry.KINDS:
        for name in registry.names(kind):
            if (kind, name) in ALIASES:
                continue
            for check in checks_for(kind):
                slow = kind in EXPORTED_ELSEWHERE and check.__name__ == "check_exports"
                marks = [pytest.mark.slow] if slow else []
                yield pytest.param(kind, name, check, id=f"{kind}-{name}-{check.__name__}", marks=marks)


@pytest.fixture
def table_files(tmp_path):
    rows = [f"{n},text number {n},the {n % 3}th kind,{'yes' if n % 2 else 'no'}" for n in range(40)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["id,words,kind,label", *rows]) + "\n")
    return {"train": str(path), "target": "label", "id": "id", "columns": {"kind": "text"}}


@pytest.fixture
def vqa_files(tmp_path):
    random = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    questions, annotations = [], []
    for image in range(12):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"COCO_val2014_{image:012d}.jpg")
        for at in range(2):
            number, answer = 10 * image + at, "yes" if (image + at) % 2 else "no"
            questions.append({"question_id": number, "image_id": image, "question": f"is it {at}?"})
            annotations.append(
                {
                    "question_id": number,
                    "image_id": image,
                    "question_type": "is it",
                    "answer_type": "yes/no",
                    "multiple_choice_answer": answer,
                    "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": n + 1} for n in range(10)],
                }
            )
    files = {}
    for name, rows in (("questions", questions), ("annotations", annotations)):
        (tmp_path / f"{name}.json").write_text(json.dumps({name: rows}))
        files[name] = str(tmp_path / f"{name}.json")
    return {**files, "images": str(images), "valid_fraction": 0.25}


@pytest.fixture
def captioned(tmp_path):
    """Twelve pictures of random pixels, and two sentences about each."""
    random = np.random.default_rng(0)
    for image in range(12):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{image}.png")
    return {f"{image}.png": [f"sentence {at} of {image}" for at in (0, 1)] for image in range(12)}


@pytest.fixture
def coco_files(tmp_path, captioned):
    images = [{"id": at, "file_name": name} for at, name in enumerate(captioned)]
    annotations = [
        {"id": 10 * at + n, "image_id": at, "caption": said}
        for at, sentences in enumerate(captioned.values())
        for n, said in enumerate(sentences)
    ]
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return {"captions": str(tmp_path / "captions.json"), "images": str(tmp_path), "valid_fraction": 0.25}


@pytest.fixture
def karpathy_files(tmp_path, captioned):
    splits = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    images = [
        {"filename": name, "split": split, "sentences": [{"raw": said} for said in captioned[name]]}
        for name, split in zip(captioned, splits, strict=True)
    ]
    (tmp_path / "dataset.json").write_text(json.dumps({"images": images}))
    return {"json": str(tmp_path / "dataset.json"), "images": str(tmp_path)}


@pytest.mark.parametrize(("kind", "name", "check"), list(contracts()))
def test_contract(kind, name, check, request):
    options = dict(OPTIONS.get((kind, name), {}))
    if kind == "encoder" and name in WEIGHTS:
        options["weights"] = f"local-dir:{request.getfixturevalue(WEIGHTS[name])}"
    if kind == "data" and name in FILES:
        options |= request.getfixturevalue(FILES[name])
    check(subject(kind, name, values=VALUES.get((kind, name)), **options))


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_alias_is_another_component(alias):
    factory = registry.get(*alias).factory
    others = [registry.get(alias[0], n).factory for n in registry.names(alias[0]) if (alias[0], n) not in ALIASES]
    assert factory in others
