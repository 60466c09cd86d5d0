"""Tables that Hugging Face's `datasets` wrote, read as its other readers would."""

import io
import sys

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from automm.data.places import is_hub_id, need_table, read_place
from automm.data.sources.table import TableSource
from automm.errors import DataError, MissingExtra

NAMES = ["cold", "warm"]


def png(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (shade, 0, 0)).save(buffer, "png")
    return buffer.getvalue()


def data_set(rows, offset=0):
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "said": datasets.Value("string"),
            "size": datasets.Value("float64"),
            "label": datasets.ClassLabel(names=NAMES),
        }
    )
    columns = {
        "picture": [{"bytes": png(offset + i), "path": None} for i in range(rows)],
        "said": [f"number {offset + i} of many things to say" for i in range(rows)],
        "size": [None if i == 3 else offset + i / 2 for i in range(rows)],
        "label": [i % 2 for i in range(rows)],
    }
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.fixture
def folder(tmp_path):
    """A data set of three splits."""
    splits = {"train": data_set(40), "validation": data_set(10, 50), "test": data_set(12, 100)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def load(tmp_path, **options):
    return TableSource(target="label", **options).load(0, tmp_path / "cache")


def test_a_data_set_brings_its_splits(folder, tmp_path):
    splits = load(tmp_path, train=str(folder))
    assert [len(t) for t in (splits.train, splits.valid, splits.test)] == [40, 10, 12]
    kinds = {field.name: (field.modality, field.role) for field in splits.train.schema.fields}
    assert kinds["picture"] == ("image", "input")
    assert kinds["said"] == ("text", "input")
    assert kinds["size"] == ("numeric", "input")
    assert set(splits.train.targets) == set(NAMES), "classes by name"
    assert splits.test.row(1) == {"picture": png(101), "said": "number 101 of many things to say", "size": 100.5}
    assert splits.train.row(3)["size"] is None


def test_what_is_named_goes_before_a_data_sets_own_splits(folder, tmp_path):
    data_set(7, 200).save_to_disk(tmp_path / "other")
    splits = load(tmp_path, train=str(folder), test=str(tmp_path / "other"))
    assert [len(t) for t in (splits.train, splits.valid, splits.test)] == [40, 10, 7]
    again = load(tmp_path, train=str(tmp_path / "other"), valid=str(folder), test=str(folder))
    assert [len(t) for t in (again.train, again.valid, again.test)] == [7, 10, 12]


def test_a_data_set_without_splits_is_drawn_from(tmp_path):
    data_set(40).save_to_disk(tmp_path / "one")
    splits = load(tmp_path, train=str(tmp_path / "one"), test_fraction=0.25)
    assert len(splits.train) + len(splits.valid) + len(splits.test) == 40
    assert len(splits.test) == 10


def test_a_test_that_hides_its_classes_has_no_targets(folder, tmp_path):
    hidden = data_set(12, 100).remove_columns("label").add_column("label", [-1] * 12)
    feature = datasets.ClassLabel(names=NAMES)
    hidden = hidden.cast_column("label", feature)
    hidden.save_to_disk(tmp_path / "hidden")
    cells = read_place(need_table(str(tmp_path / "hidden"), "data.test"), "test")
    assert cells["test"]["label"] == [None] * 12


def test_a_folder_of_pictures_is_a_table(tmp_path):
    """As `load_dataset` has it: a subfolder a class. Its pictures stay where they are."""
    for name in NAMES:
        (tmp_path / "shots" / name).mkdir(parents=True)
        for i in range(6):
            (tmp_path / "shots" / name / f"{i}.png").write_bytes(png(20 * i + len(name)))
    place = need_table(str(tmp_path / "shots"), "data.train")
    cells = read_place(place, "train")["train"]
    assert sorted(cells["label"]) == sorted(NAMES * 6)
    assert all(str(path).startswith(str(tmp_path / "shots")) for path in cells["image"])
    splits = load(tmp_path, train=str(tmp_path / "shots"), test_fraction=0.0, valid_fraction=0.25)
    assert [field.modality for field in splits.train.schema.inputs] == ["image"]


def test_clips_are_not_decoded_by_it(tmp_path):
    import soundfile

    path = tmp_path / "one.wav"
    soundfile.write(path, np.zeros(800, np.float32), 8000)
    clips = datasets.Dataset.from_dict({"clip": [str(path)], "y": [1]}).cast_column("clip", datasets.Audio())
    clips.save_to_disk(tmp_path / "clips")
    (held,) = read_place(need_table(str(tmp_path / "clips"), "data.train"), "train")["train"]["clip"]
    assert held == path.read_bytes(), "save_to_disk puts what it can read into the data set"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("stanfordnlp/imdb", True),
        ("nyu-mll/glue:sst2", True),
        ("folder/table.csv", False),
        ("/data/imdb", False),
        ("a/b/c", False),
        ("imdb", False),
    ],
)
def test_names_on_the_hub(name, is_one):
    assert is_hub_id(name) == is_one


def test_a_name_on_the_hub_that_is_not_here_says_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"no file or folder here.*HF_HUB_OFFLINE is set.* Next: "):
        load(tmp_path, train="nobody/nothing")


def test_a_folder_that_holds_none_is_told_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty is a folder, and datasets finds no data set in it: .* Next: "):
        load(tmp_path, train=str(tmp_path / "empty"))


def test_a_picture_that_is_not_there_is_missing(tmp_path):
    cells = {"picture": [{"bytes": png(1), "path": None}, None]}
    features = datasets.Features({"picture": datasets.Image()})
    datasets.Dataset.from_dict(cells, features=features).save_to_disk(tmp_path / "gaps")
    found = read_place(need_table(str(tmp_path / "gaps"), "data.train"), "train")["train"]["picture"]
    assert found == [png(1), None]


@pytest.mark.parametrize(("given", "said"), [("saved", "is a folder"), ("owner/tabel", "no file or folder here")])
def test_without_the_package_the_path_is_doubted_first(folder, monkeypatch, given, said):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=rf"{said}.* Next: check the path, or pip install .automm\[datasets\]"):
        load(folder.parent, train=given)


def test_a_missing_split_is_named(tmp_path):
    datasets.DatasetDict({"first": data_set(4), "second": data_set(4)}).save_to_disk(tmp_path / "odd")
    with pytest.raises(DataError, match="has the splits first, second, and none of them is train"):
        load(tmp_path, train=str(tmp_path / "odd"))


def test_a_parquet_file_of_a_data_set_holds_its_pictures_too(tmp_path):
    """A struct of bytes and path, as the hub's own files have it."""
    data_set(40).to_parquet(tmp_path / "one.parquet")
    splits = load(tmp_path, train=str(tmp_path / "one.parquet"), test_fraction=0.0, valid_fraction=0.25)
    assert splits.train.schema["picture"].modality == "image"
    assert splits.train.row(0)["picture"] == png(splits.train.ids[0])
    none = [{"bytes": b"", "path": None}, {"bytes": None, "path": None}, None]
    named = pa.array([{"bytes": None, "path": "a.png"}, {"bytes": png(1), "path": "b.png"}, *none])
    pq.write_table(pa.table({"picture": named}), tmp_path / "named.parquet")
    cells = read_place(need_table(str(tmp_path / "named.parquet"), "data.train"), "train")["train"]
    assert cells["picture"] == ["a.png", png(1), b"", None, None]


def test_empty_bytes_of_a_data_set_are_a_bad_row(tmp_path):
    whole = data_set(40).to_dict()
    whole["picture"] = [{"bytes": b"", "path": None}, *({"bytes": png(i), "path": None} for i in range(1, 40))]
    pq.write_table(pa.Table.from_pydict(whole), tmp_path / "one.parquet")
    with pytest.raises(DataError, match="row 1: an image of 0 bytes cannot be read"):
        load(tmp_path, train=str(tmp_path / "one.parquet"))
