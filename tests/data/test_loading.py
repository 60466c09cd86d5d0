import gc
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from automm.data import field_store, record_file
from automm.data.field_store import FieldStore, Spill
from automm.data.loading import Loader
from automm.errors import DataError
from automm.runtime.images import ImagePreprocess
from automm.runtime.ngrams import NgramPreprocess
from automm.runtime.preprocess import Preprocess
from automm.runtime.texts import TextPreprocess
from automm.types import Column, FieldSpec, Schema, Table, TensorSpec

WORDS = ["a", "b", "c", "d", "e", "f", "g"]
ROWS = 60
PICTURES = 12


def texts(fixed=False):
    tokenizer = Tokenizer(models.WordLevel({w: i + 1 for i, w in enumerate(WORDS)} | {"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return TextPreprocess(tokenizer=tokenizer, max_length=len(WORDS), fixed=fixed)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (PICTURES, 5, 6, 3), np.uint8)
    shown = np.repeat(np.arange(PICTURES), ROWS // PICTURES)
    rng.shuffle(shown)
    asked = rng.integers(0, len(WORDS), ROWS)
    asked[[3, 8]] = -1
    shown[[4, 8, 20]] = -1
    columns = {
        "image": Column(images, shown),
        "text": Column([" ".join(WORDS[: n + 1]) for n in range(len(WORDS))], asked),
    }
    schema = Schema((FieldSpec("image", "image"), FieldSpec("text", "text")))
    return Table(schema, columns, list(range(ROWS)), list(range(ROWS)))


def stores(table, cache_bytes=1 << 20, folder=None):
    made = {"image": ImagePreprocess(size=(4, 4)), "text": texts()}
    spill = None if folder is None else Spill(folder, instead=cache_bytes)
    return {f: FieldStore(f, p, table.columns[f], cache_bytes, spill) for f, p in made.items()}


def files_serve(monkeypatch, small=0):
    """However small the values and the disk."""
    monkeypatch.setattr(field_store, "_SMALL", small)
    monkeypatch.setattr(field_store, "_RESERVE", 0)


def loader(table, cache_bytes=1 << 20, folder=None, **options):
    targets = {"label": np.arange(ROWS), "soft": np.eye(ROWS, dtype=np.float32)}
    options = {"batch_size": 16, "shuffle": True, "seed": 0, **options}
    return Loader(table, stores(table, cache_bytes, folder), targets, **options)


def order(loader, epoch=0):
    loader.set_epoch(epoch)
    return [batch.index.tolist() for batch in loader]


def flat(batches):
    return list(itertools.chain.from_iterable(batches))


def threads():
    gc.collect()
    return {t.name for t in threading.enumerate() if t.name.startswith("automm")}


@pytest.mark.parametrize("cache_bytes", [1 << 20, 0], ids=["in memory", "on demand"])
@pytest.mark.parametrize("group_by", [None, "image", "text"])
def test_every_row_gets_its_own_cells_and_target(table, cache_bytes, group_by):
    preprocess = {"image": ImagePreprocess(size=(4, 4)), "text": texts()}
    seen = []
    for batch in loader(table, cache_bytes, group_by=group_by):
        seen += batch.index.tolist()
        assert len(batch) == len(batch.index) <= 16
        assert batch.targets["label"].tolist() == batch.index.tolist()
        assert torch.equal(batch.targets["soft"].argmax(1), torch.from_numpy(batch.index))
        for at, row in enumerate(batch.index):
            for field, value in table.row(int(row)).items():
                item = int(batch.rows[field][at])
                assert bool(batch.present[field][at]) == (value is not None)
                if value is None:
                    assert item == 0
                    continue
                for key, array in preprocess[field]([value]).items():
                    got = batch.inputs[field][key][item].numpy()
                    assert np.array_equal(got[: array.shape[1]], array[0])
                    assert field == "image" or not got[array.shape[1] :].any()  # the rest is padding
    assert sorted(seen) == list(range(ROWS))


@pytest.mark.parametrize("cache_bytes", [1 << 20, 0], ids=["in memory", "on demand"])
def test_a_batch_holds_each_item_once_and_is_padded_to_its_own_longest(table, cache_bytes):
    lengths = set()
    for batch in loader(table, cache_bytes, batch_size=4):
        for field, column in table.columns.items():
            distinct = {int(i) for i in column.index[batch.index] if i >= 0}
            assert all(len(t) == max(len(distinct), 1) for t in batch.inputs[field].values())
            assert batch.rows[field].dtype == torch.int64
            assert batch.present[field].dtype == torch.bool
        mask = batch.inputs["text"]["mask"]
        assert mask[:, -1].any()
        lengths.add(mask.shape[1])
    assert len(lengths) > 1


@pytest.mark.parametrize("chunk", [256, 3])
def test_all_ways_of_storing_give_the_same_batches(table, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(field_store, "_CHUNK", chunk)
    files_serve(monkeypatch)
    for one, *others in zip(loader(table), loader(table, 0), loader(table, 0, tmp_path), strict=True):
        for other in others:
            for field in table.columns:
                assert one.inputs[field].keys() == other.inputs[field].keys()
                for key, tensor in one.inputs[field].items():
                    assert tensor.dtype == other.inputs[field][key].dtype
                    assert torch.equal(tensor, other.inputs[field][key])
                assert torch.equal(one.rows[field], other.rows[field])


class Counted(ImagePreprocess):
    """Says how many values it made."""

    def __call__(self, values):
        self.made = getattr(self, "made", 0) + len(values)
        return super().__call__(values)


@pytest.mark.parametrize("small", [0, 1000], ids=["worth a record", "too small for one"])
@pytest.mark.parametrize("folder", [".", "missing"])
def test_what_memory_does_not_hold_goes_to_a_file_without_a_name(table, tmp_path, monkeypatch, folder, small):
    files_serve(monkeypatch, small)
    preprocess = Counted(size=(4, 4))
    for instead in (0, 1 << 20):
        store = FieldStore("image", preprocess, table.columns["image"], 100, Spill(tmp_path / folder, instead))
        filed = folder == "." and not small
        assert store.load() == (not filed and instead > 0)
        assert not list(tmp_path.iterdir())
        preprocess.made = 0
        assert not filed or not store.load()
        found = store.items(np.array([1, 5]))["pixels"]
        assert preprocess.made == (0 if filed or instead else 2)
        assert np.array_equal(found, preprocess([table.columns["image"].values[at] for at in (1, 5)])["pixels"])


LONG = "abcdefghijklmnopqrstuvwxyz"  # of letters, and no word that is known


@pytest.mark.parametrize("kind", ["tokens", "ngrams"])
@pytest.mark.parametrize("values", [
    ["a b c", "", "d"], ["a b c", "a", LONG], ["a", LONG], [" " * 30, "a b"], ["a", "b"],
], ids=repr)  # fmt: skip
def test_texts_are_padded_alike_wherever_they_are(tmp_path, monkeypatch, kind, values):
    monkeypatch.setattr(field_store, "_CHUNK", 2)
    files_serve(monkeypatch)
    said = Column(values, np.arange(len(values)))
    made = texts() if kind == "tokens" else NgramPreprocess.fit(values, buckets=32, characters=0)
    kept = [FieldStore("text", made, said, *room) for room in ((1 << 20,), (0, Spill(tmp_path, 0)), (0,))]
    assert [store.load() for store in kept] == [True, False, False]
    assert [store._file is None for store in kept] == [True, False, True]
    for count in range(1, len(values) + 1):
        for at in itertools.permutations(range(len(values)), count):
            for name, expected in made([values[i] for i in at]).items():
                for store in kept:
                    assert np.array_equal(store.items(np.array(at))[name], expected), name


class Odd(Preprocess):
    """Texts as arrays of all shapes: of none, and of a length that is not the first axis."""

    kind = "odd"

    @property
    def signature(self):
        shapes = {"count": (), "table": (2, "length"), "mask": ("length",), "both": ("length", 2, 3)}
        return {name: TensorSpec("float32", shape) for name, shape in shapes.items()}

    def __call__(self, values):
        longest = max(len(value or "x") for value in values)
        out = {
            name: np.full((len(values), *(longest if n == "length" else n for n in spec.shape)), -1.0, np.float32)
            for name, spec in self.signature.items()
        }
        out["mask"][:] = 0
        for at, value in enumerate(values):
            numbers = np.array([ord(letter) for letter in value or "x"], np.float32)
            length = len(numbers)
            out["count"][at], out["mask"][at, :length] = length, 1
            out["table"][at, :, :length], out["both"][at, :length] = numbers, numbers[:, None, None]
        return out

    def save(self, folder):
        return {}

    @classmethod
    def load(cls, folder, config):
        return cls()


def test_arrays_may_have_any_shape(tmp_path, monkeypatch):
    monkeypatch.setattr(field_store, "_CHUNK", 2)
    files_serve(monkeypatch)
    values = ["one", "", "three", "four", "x"]
    said = Column(values, np.arange(5))
    kept = [FieldStore("odd", Odd(), said, *room) for room in ((1 << 20,), (0, Spill(tmp_path, 0)))]
    assert [store.load() for store in kept] == [True, False]
    assert [store._file is None for store in kept] == [True, False]
    for at in ([0, 1, 2, 3, 4], [1, 4], [3, 0], [2]):
        for name, expected in Odd()([values[i] for i in at]).items():
            for store in kept:
                assert np.array_equal(store.items(np.array(at))[name], expected), name


def test_where_lengths_are_unknown_there_are_no_records(tmp_path, monkeypatch):
    files_serve(monkeypatch)
    made = texts()
    store = FieldStore("text", made, Column(["a b", "c"], np.arange(2)), 0, Spill(tmp_path, 1 << 20))
    store._signature = {"ids": made.signature["ids"]}  # no mask
    assert store.load()
    assert store.items(np.array([1]))["ids"].tolist() == [[3, 0]]  # as long as the longest of all


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")


@full
@pytest.mark.parametrize("instead", [0, 1 << 20])
@pytest.mark.parametrize("buffering", [0, 1 << 13])
def test_where_the_disk_is_full_memory_serves_or_values_are_made_anew(table, tmp_path, monkeypatch, buffering, instead):
    files_serve(monkeypatch)
    monkeypatch.setattr(record_file, "unnamed_file", lambda _: Path("/dev/full").open("w+b", buffering))  # noqa: SIM115
    for store in stores(table, 0, tmp_path).values():
        store.spill = Spill(tmp_path, instead)
        assert store.load() == store.load() == (instead > 0)
        assert len(next(iter(store.items(np.array([0, 2])).values()))) == 2


@pytest.mark.parametrize("instead", [0, 1 << 20])
def test_files_leave_room_on_the_disk_for_what_must_be_written(table, tmp_path, monkeypatch, instead):
    monkeypatch.setattr(field_store, "_SMALL", 0)
    left = iter([1 << 40, 1 << 30])  # others write, too
    monkeypatch.setattr(field_store, "_room", lambda _: next(left))
    preprocess = Counted(size=(4, 4))
    store = FieldStore("image", preprocess, table.columns["image"], 0, Spill(tmp_path, instead))
    assert store.load() == (instead > 0)
    assert store._file is None
    assert not list(left)
    before = preprocess.made
    assert len(store.items(np.array([0, 2]))["pixels"]) == 2
    assert preprocess.made == before + (0 if instead else 2)


def test_the_order_is_a_function_of_seed_and_epoch(table):
    first = loader(table, group_by="image")
    assert order(first, 0) == order(loader(table, group_by="image"), 0)
    epochs = [order(first, e) for e in (0, 1, 2, 0)]
    assert epochs[0] == epochs[3]
    assert epochs[0] != epochs[1] != epochs[2]
    assert order(loader(table, seed=1, group_by="image")) != epochs[0]
    assert order(loader(table, 0), 5) == order(loader(table), 5)  # however cells are stored


def test_without_shuffling_rows_come_in_order(table):
    plain = loader(table, shuffle=False)
    assert flat(order(plain, 0)) == list(range(ROWS)) == flat(order(plain, 3))
    grouped = flat(order(loader(table, shuffle=False, group_by="image")))
    index = table.columns["image"].index
    firsts = list(dict.fromkeys(int(index[row]) if index[row] >= 0 else -1 - row for row in range(ROWS)))
    assert list(dict.fromkeys(int(index[row]) if index[row] >= 0 else -1 - row for row in grouped)) == firsts


@pytest.mark.parametrize("batch_size", [5, 7, 16, 100])
def test_rows_of_an_item_share_a_batch(table, batch_size):
    index = table.columns["image"].index
    batches = order(loader(table, group_by="image", batch_size=batch_size), 2)
    assert max(map(len, batches)) <= batch_size
    for item in range(PICTURES):
        assert sum(any(index[row] == item for row in batch) for batch in batches) == 1
    for one, following in itertools.pairwise(batches):
        run = sum(index[row] == index[following[0]] for row in following) if index[following[0]] >= 0 else 1
        assert len(one) + run > batch_size  # a batch ends only where the next item does not fit


def test_an_item_with_more_rows_than_a_batch_is_cut(table):
    batches = order(loader(table, group_by="image", batch_size=3))
    assert max(map(len, batches)) == 3
    assert sorted(flat(batches)) == list(range(ROWS))


@pytest.mark.parametrize("group_by", [None, "image"])
def test_the_length_is_the_number_of_batches(table, group_by):
    made = loader(table, group_by=group_by, batch_size=7)
    for epoch in range(4):
        made.set_epoch(epoch)
        assert len(made) == len(list(made))


def test_the_last_batch_may_be_dropped(table):
    assert list(map(len, order(loader(table, drop_last=True)))) == [16, 16, 16]
    assert list(map(len, order(loader(table, drop_last=True, batch_size=20)))) == [20, 20, 20]
    assert list(map(len, order(loader(table, drop_last=True, batch_size=500)))) == [60]


def test_a_part_of_the_rows(table):
    rows = np.array([50, 3, 8, 41, 7])
    assert flat(order(loader(table, indices=rows, shuffle=False))) == rows.tolist()
    for group_by in (None, "image"):
        assert sorted(flat(order(loader(table, indices=rows, group_by=group_by)))) == sorted(rows.tolist())
    assert order(loader(table, 0, indices=np.empty(0, np.int64), group_by="image")) == []


def test_a_batch_of_missing_cells_gets_a_placeholder(table):
    (batch,) = loader(table, indices=np.array([8]))
    assert not batch.present["image"].any()
    assert batch.inputs["image"]["pixels"].shape == (1, 3, 4, 4)
    assert not batch.inputs["image"]["pixels"].any()
    assert batch.inputs["text"]["mask"].tolist() == [[True]]


def test_a_column_of_missing_cells(table):
    empty = Table(table.schema, {**table.columns, "text": Column([], np.full(ROWS, -1))}, table.targets, table.ids)
    for cache_bytes in (0, 1 << 20):
        for batch in loader(empty, cache_bytes):
            assert not batch.present["text"].any()


def test_memory_is_asked_before_it_is_taken(table):
    image = 3 * 4 * 4 * PICTURES
    text = len(WORDS) * len(WORDS) * 9  # int64 ids and a mask of bytes
    for field, need in (("image", image), ("text", text)):
        assert stores(table, need)[field].load()
        assert not stores(table, need - 1)[field].load()
    fixed = FieldStore("text", texts(fixed=True), table.columns["text"], text)
    assert fixed.load()
    assert fixed.items(np.array([0]))["ids"].shape == (1, len(WORDS))


def test_stores_are_shared_by_loaders(table):
    shared = stores(table)
    options = {"batch_size": 8, "seed": 0}
    assert next(iter(Loader(table, shared, {}, shuffle=False, **options))).targets == {}
    before = shared["image"].items(np.arange(3))["pixels"]
    before += 1  # what is handed out is a copy
    list(Loader(table, shared, {}, shuffle=True, **options))
    assert not np.array_equal(before, shared["image"].items(np.arange(3))["pixels"])


def pictures_on_disk(folder, broken):
    for at in range(40):
        Image.new("RGB", (6, 6), (at, 0, 0)).save(folder / f"{at}.png")
    if broken is not None:
        (folder / f"{broken}.png").write_bytes(b"no picture")
    column = Column([str(folder / f"{at}.png") for at in range(40)], np.arange(40))
    return Table(Schema((FieldSpec("image", "image"),)), {"image": column}, list(range(40)), list(range(40)))


@pytest.mark.parametrize("cache_bytes", [1 << 20, 0], ids=["in memory", "on demand"])
def test_an_error_while_decoding_reaches_the_caller_and_leaves_no_thread(tmp_path, cache_bytes):
    table = pictures_on_disk(tmp_path, broken=33)
    store = FieldStore("image", ImagePreprocess(size=(4, 4)), table.columns["image"], cache_bytes)
    batches = Loader(table, {"image": store}, {}, batch_size=8, shuffle=False, seed=0)
    with pytest.raises(DataError, match=r"33\.png"):
        list(batches)
    assert not threads()


def test_leaving_early_leaves_no_thread(tmp_path):
    table = pictures_on_disk(tmp_path, broken=None)
    store = FieldStore("image", ImagePreprocess(size=(4, 4)), table.columns["image"], 0)
    batches = Loader(table, {"image": store}, {}, batch_size=4, shuffle=False, seed=0)
    for batch in batches:
        assert batch.inputs["image"]["pixels"][0, 0, 0, 0] == batch.index[0]
        break
    del batch
    assert not threads()
    assert len(list(batches)) == 10
    assert not threads()


def test_wrong_arguments_are_refused(table):
    with pytest.raises(ValueError, match="batch_size"):
        loader(table, batch_size=0)
    with pytest.raises(ValueError, match="'label' has 3 entries for 60 rows"):
        Loader(table, stores(table), {"label": np.arange(3)}, batch_size=4, shuffle=False, seed=0)
