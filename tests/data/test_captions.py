"""Captioned images in COCO's and in Karpathy's format, sound and broken."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from automm.data.sources.coco_captions import COCOCaptions
from automm.data.sources.karpathy import Karpathy
from automm.errors import ConfigError, DataError, OutOfRange, UnknownKey
from automm.types import PAIR


def pictures(folder, names):
    random = np.random.default_rng(len(names))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (9, 8, 3), np.uint8)).save(folder / name)


class Coco:
    """Ten images with two captions each."""

    def __init__(self, folder, first=1, images=10):
        self.folder, self.pictures = folder, folder / "images"
        numbers = range(first, first + images)
        self.images = [{"id": n, "file_name": f"COCO_val2014_{n:012d}.jpg"} for n in numbers]
        self.annotations = [
            {"id": 10 * n + at, "image_id": n, "caption": f"caption {at} of image {n} "}
            for n in numbers
            for at in (0, 1)
        ]
        pictures(self.pictures, [image["file_name"] for image in self.images])

    def options(self, **more):
        content = {"info": {}, "images": self.images, "annotations": self.annotations}
        (self.folder / "captions.json").write_text(json.dumps(content))
        return {"captions": f"{self.folder}/captions.json", "images": str(self.pictures), **more}

    def load(self, **more):
        return COCOCaptions(**self.options(**more)).load(0, self.folder / "cache")


class Split:
    """Flickr30k as Karpathy split it, a small one: twelve images with two sentences each."""

    def __init__(self, folder):
        self.folder, self.pictures = folder, folder / "flickr"
        splits = ["train"] * 6 + ["val"] * 2 + ["test"] * 2 + ["restval"] * 2
        self.images = [
            {
                "filename": f"{at}.jpg",
                "split": split,
                "imgid": at,
                "sentences": [{"raw": f"Sentence {n} of {at}.", "sentid": 5 * at + n, "tokens": []} for n in (0, 1)],
            }
            for at, split in enumerate(splits)
        ]
        pictures(self.pictures, [image["filename"] for image in self.images])

    def load(self, **more):
        (self.folder / "dataset.json").write_text(json.dumps({"dataset": "flickr30k", "images": self.images}))
        options = {"json": f"{self.folder}/dataset.json", "images": str(self.pictures), **more}
        return Karpathy(**options).load(0, self.folder / "cache")


@pytest.fixture
def coco(tmp_path):
    return Coco(tmp_path / "train")


@pytest.fixture
def split(tmp_path):
    return Split(tmp_path)


def test_coco_without_validation_is_split_by_image(coco):
    splits = coco.load(valid_fraction=0.2)
    assert (len(splits.train), len(splits.valid), splits.test) == (16, 4, None)
    assert not set(splits.train.columns["image"].values) & set(splits.valid.columns["image"].values)
    row = splits.train.row(0)
    number = splits.train.ids[0] // 10
    assert row == {
        "image": str(coco.pictures / f"COCO_val2014_{number:012d}.jpg"),
        "caption": f"caption {splits.train.ids[0] % 10} of image {number}",
    }
    assert set(splits.train.targets) == {PAIR}
    assert [(field.name, field.modality) for field in splits.train.schema.inputs] == [
        ("image", "image"),
        ("caption", "text"),
    ]


def test_coco_sets_that_are_given_are_taken_as_they_are(coco, tmp_path):
    valid, test = Coco(tmp_path / "valid", 100, 3), Coco(tmp_path / "test", 200, 2)
    splits = coco.load(valid=valid.options(), test={**test.options(), "images": str(test.pictures)})
    assert [len(t) for t in (splits.train, splits.valid, splits.test)] == [20, 6, 4]
    assert coco.load(valid={"captions": None, "images": None}).test is None
    pictures(coco.pictures, [image["file_name"] for image in test.images])
    shared = coco.load(test={"captions": test.options()["captions"]})  # in the folder of the training images
    assert len(shared.test) == 4


def test_an_image_without_captions_is_left_out_and_need_not_be_there(coco):
    coco.images.append({"id": 99, "file_name": "nowhere.jpg"})
    assert sum(len(t) for t in (coco.load().train, coco.load().valid)) == 20


def test_leakage_between_coco_sets_is_an_error(coco):
    with pytest.raises(DataError, match="train and test sets share"):
        coco.load(test=coco.options())


def picture(files, at=2):
    record = files.images[at]
    return files.pictures / record.get("file_name", record.get("filename"))


BAD_COCO = {
    "no caption": (lambda f: f.annotations[3].pop("caption"), r"record 3 \(id 21\): it has no 'caption'", 19),
    "empty caption": (lambda f: f.annotations[3].update(caption="  "), "id 21.*'caption' is empty", 19),
    "caption of no image": (lambda f: f.annotations[3].update(image_id=77), "image 77 is not among", 19),
    "id used twice": (lambda f: f.annotations[3].update(id=10), r"record 3 \(id 10\): its id was used before", 19),
    "no object": (lambda f: f.annotations.insert(0, "hm"), "annotation record 0: it is str, not an object", 20),
    "image without a name": (lambda f: f.images[2].pop("file_name"), r"record 2 \(id 3\): it has no 'file_name'", 18),
    "image that leaves": (lambda f: f.images[2].update(file_name="../x.jpg"), "'../x.jpg' is not inside", 18),
    "missing image": (lambda f: picture(f).unlink(), "its image COCO_val2014_000000000003.jpg is not in", 18),
    "broken image": (lambda f: picture(f).write_bytes(b"no picture"), "caption 30: .*cannot be read", 18),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_COCO)
def test_a_bad_record_of_coco_is_named_or_skipped_and_counted(coco, case, caplog):
    break_it, message, left = BAD_COCO[case]
    break_it(coco)
    with pytest.raises(DataError, match=message) as caught:
        coco.load()
    assert str(coco.folder) in str(caught.value)
    assert "data.on_error=skip" in str(caught.value)
    with caplog.at_level(logging.WARNING):
        splits = coco.load(on_error="skip")
    assert len(splits.train) + len(splits.valid) == left
    assert "skipped" in caplog.text
    assert sum(each.skipped for each in splits.skipped) > 0


def test_karpathys_splits_are_honoured(split):
    splits = split.load()
    assert [len(t) for t in (splits.train, splits.valid, splits.test)] == [16, 4, 4]
    assert splits.test.row(0) == {"image": str(split.pictures / "8.jpg"), "caption": "Sentence 0 of 8."}
    assert splits.test.ids[:2] == [40, 41]
    assert len(split.load(restval=False).train) == 12


def test_karpathys_folders_are_looked_into(split):
    for record in split.images:
        record["filepath"] = "val2014"
        record["sentences"][0].pop("sentid")
    pictures(split.pictures, [f"val2014/{record['filename']}" for record in split.images])
    splits = split.load()
    assert splits.train.row(0)["image"] == str(split.pictures / "val2014" / "0.jpg")
    assert splits.train.ids[:2] == ["0.jpg#0", 1]


BAD_KARPATHY = {
    "no split": (lambda f: f.images[2].pop("split"), r"record 2 \(2.jpg\): it has no 'split'", 22),
    "unknown split": (lambda f: f.images[2].update(split="dev"), "its split 'dev' is none of train, restval", 22),
    "no sentences": (lambda f: f.images[2].update(sentences=[]), "its 'sentences' are empty", 22),
    "empty sentence": (lambda f: f.images[2]["sentences"][1].update(raw=" "), "2.jpg, sentence 1: its 'raw' is", 23),
    "sentence of another kind": (lambda f: f.images[2].update(sentences=["x", {"raw": "y"}]), "0: it is str", 23),
    "image listed twice": (lambda f: f.images.append(f.images[2]), "its image was listed before", 24),
    "image that leaves": (lambda f: f.images[2].update(filename="/etc/x.jpg"), "is not inside", 22),
    "missing image": (lambda f: picture(f).unlink(), "its image 2.jpg is not in", 22),
    "broken image": (lambda f: picture(f).write_bytes(b"no picture"), "caption 10: .*cannot be read", 22),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_KARPATHY)
def test_a_bad_record_of_karpathys_is_named_or_skipped_and_counted(split, case, caplog):
    break_it, message, left = BAD_KARPATHY[case]
    break_it(split)
    with pytest.raises(DataError, match=message):
        split.load()
    with caplog.at_level(logging.WARNING):
        splits = split.load(on_error="skip")
    assert sum(len(t) for t in (splits.train, splits.valid, splits.test)) == left
    assert "skipped" in caplog.text
    assert [each.records - each.skipped for each in splits.skipped] == [left]


def test_a_file_without_validation_is_none_of_karpathys(split):
    for record in split.images:
        record["split"] = "train"
    with pytest.raises(DataError, match="no usable caption of the split 'val'"):
        split.load()


@pytest.mark.parametrize("source", [COCOCaptions, Karpathy])
def test_files_that_are_not_there_or_are_others_are_named(source, coco, tmp_path):
    key = "captions" if source is COCOCaptions else "json"
    with pytest.raises(DataError, match=rf"data\.{key} is not set"):
        source().load(0, tmp_path)
    (tmp_path / "other.json").write_text('{"licenses": []}')
    with pytest.raises(DataError, match=r'should hold \{"(annotations|images)"'):
        source(**{key: str(tmp_path / "other.json")}, images=str(coco.pictures)).load(0, tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'skip'"):
        source(on_error="skp")


def test_bad_options_fail_before_any_file_is_read():
    with pytest.raises(UnknownKey, match=r"data\.valid has no key 'caption'. Did you mean 'captions'"):
        COCOCaptions(captions="c", images="i", valid={"caption": "x"})
    with pytest.raises(OutOfRange, match=r"data\.valid_fraction=1"):
        COCOCaptions(valid_fraction=1.0)
