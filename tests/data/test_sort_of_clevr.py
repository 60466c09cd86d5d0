import re
import threading
import zlib
from collections import Counter

import numpy as np
import pytest

from automm.data.sources import sort_of_clevr
from automm.data.sources.sort_of_clevr import QUESTIONS, SortOfCLEVR, answer_all, draw_scenes, paint
from automm.errors import OutOfRange

RGB = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "orange": (255, 156, 0),
    "gray": (128, 128, 128),
    "yellow": (255, 255, 0),
}


def small(**options):
    return SortOfCLEVR(**{"train_images": 400, "valid_images": 60, "test_images": 60, **options})


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return small().load(0, tmp_path_factory.mktemp("cache"))


def seen(image):
    """What an image shows, from its pixels alone: colour -> (x, y, shape)."""
    objects = {}
    for colour, rgb in RGB.items():
        rows, columns = np.nonzero((image == np.array(rgb, np.uint8)).all(axis=2))
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert (width, height) == (11, 11), f"the {colour} object is cut or covered"
        shape = "square" if len(rows) == 121 else "circle"
        assert shape == "square" or len(rows) == 89  # the same disc everywhere: nothing covers a part of it
        objects[colour] = (int(columns.min()) + 5, int(rows.min()) + 5, shape)
    return objects


def answer(question, objects):
    """The answer by the published rules, written without numpy."""
    colour = re.search("|".join(objects), question)[0]
    x, y, shape = objects[colour]
    if "left" in question:
        return "yes" if x < 37.5 else "no"
    if "top" in question:
        return "yes" if y < 37.5 else "no"
    if question.startswith("How many"):
        return str(sum(other[2] == shape for other in objects.values()))
    if "closest" in question or "furthest" in question:
        others = [o for c, o in objects.items() if c != colour]
        pick = min if "closest" in question else max  # both take the first of equals, and so the first colour
        return pick(others, key=lambda o: (o[0] - x) ** 2 + (o[1] - y) ** 2)[2]
    return shape


def test_every_answer_follows_from_the_pixels(splits):
    for table in (splits.train, splits.valid, splits.test):
        images = table.columns["image"].values
        objects = [seen(image) for image in images]
        ground = [(image == 255).all(axis=2).sum() for image in images]
        for shown, white in zip(objects, ground, strict=True):
            assert white == 75 * 75 - sum(121 if o[2] == "square" else 89 for o in shown.values())
        for row in range(len(table)):
            question = table.row(row)["question"]
            assert table.targets[row] == answer(question, objects[int(table.columns["image"].index[row])])


def test_all_36_questions_are_answered_by_the_rules():
    centres, squares = draw_scenes(np.random.default_rng(7), 300)
    numbers = answer_all(centres, squares)
    for image, row in zip(paint(centres, squares), numbers, strict=True):
        objects = seen(image)
        assert [sort_of_clevr.ANSWERS[n] for n in row] == [answer(q, objects) for q in QUESTIONS]


def test_an_object_is_never_its_own_closest():
    """One square among five circles: whatever is closest to or furthest from the square is a circle."""
    centres, _ = draw_scenes(np.random.default_rng(3), 2000)
    for k in range(6):
        squares = np.zeros((2000, 6), bool)
        squares[:, k] = True
        numbers = answer_all(centres, squares).reshape(2000, 6, 6)
        assert (numbers[:, 3:5, k] == sort_of_clevr.ANSWERS.index("circle")).all()


def test_ties_go_to_the_first_colour_and_the_middle_counts_as_left_and_top():
    centres = np.array([[[37, 37], [17, 37], [57, 37], [37, 5], [5, 69], [69, 69]]])
    squares = np.array([[False, True, False, False, False, False]])
    by_question = dict(zip(QUESTIONS, (sort_of_clevr.ANSWERS[n] for n in answer_all(centres, squares)[0]), strict=True))
    assert by_question["What is the shape of the object closest to the red object?"] == "square"  # green, before blue
    assert by_question["Is the red object on the left?"] == "yes"
    assert by_question["Is the red object at the top?"] == "yes"
    swapped = dict(zip(QUESTIONS, answer_all(centres, squares[:, [0, 2, 1, 3, 4, 5]])[0], strict=True))
    closest = swapped["What is the shape of the object closest to the red object?"]
    assert sort_of_clevr.ANSWERS[closest] == "circle"


def test_scenes_fill_the_image_and_keep_apart():
    centres, squares = draw_scenes(np.random.default_rng(0), 5000)
    gaps = np.abs(centres[:, :, None] - centres[:, None]).max(axis=3)
    assert gaps[:, ~np.eye(6, dtype=bool)].min() == 11  # bounding boxes may touch, never overlap
    assert centres.min() == 5
    assert centres.max() == 69
    assert abs(squares.mean() - 0.5) < 0.02
    assert np.abs(centres.mean(axis=(0, 1)) - 37).max() < 0.5


def test_questions_and_answers_are_distributed_as_published(splits):
    table = splits.train
    subtype, kind = table.groups["subtype"], table.groups["kind"]
    assert Counter(kind) == {"relational": 4000, "non_relational": 4000}
    for name in sort_of_clevr.SUBTYPES:
        assert abs((subtype == name).mean() - 1 / 6) < 0.02
    best = {s: Counter(np.array(table.targets)[subtype == s].tolist()).most_common(1)[0][1] for s in set(subtype)}
    chance = {k: sum(best[s] for s in set(subtype[kind == k])) / 4000 for k in set(kind)}
    assert 0.48 < chance["non_relational"] < 0.55
    assert 0.42 < chance["relational"] < 0.49


def test_the_majority_shape_of_the_others_gives_eleven_sixteenths():
    centres, squares = draw_scenes(np.random.default_rng(1), 4000)
    others = squares.sum(axis=1, keepdims=True) - squares
    guess = np.where(others >= 3, *(sort_of_clevr.ANSWERS.index(s) for s in ("square", "circle")))
    numbers = answer_all(centres, squares).reshape(-1, 6, 6)
    for relation in (3, 4):
        assert abs((guess == numbers[:, relation]).mean() - 0.6875) < 0.02


def test_a_row_names_its_image_and_question(splits):
    table = splits.valid
    assert len(table) == 60 * 20
    assert table.ids[:2] == ["000000-00", "000000-01"]
    assert table.ids[-1] == "000059-19"
    assert table.columns["image"].index[20 * 3 + 5] == 3
    assert table.row(0)["image"].shape == (75, 75, 3)
    assert set(table.targets) <= set(sort_of_clevr.ANSWERS)
    assert [f.name for f in table.schema.inputs] == ["image", "question"]


def test_no_image_is_in_two_splits(splits):
    shown = [
        {image.tobytes() for image in t.columns["image"].values} for t in (splits.train, splits.valid, splits.test)
    ]
    assert [len(s) for s in shown] == [400, 60, 60]
    assert not shown[0] & shown[1]
    assert not shown[0] & shown[2]
    assert not shown[1] & shown[2]


def test_data_is_a_pure_function_of_its_options(tmp_path):
    first = small().load(0, tmp_path / "a")
    again = small().load(99, tmp_path / "b")  # the run's seed does not reach the data
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 9
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    assert first.train.targets == again.train.targets
    other = small(seed=1).load(0, tmp_path / "a")
    assert not np.array_equal(first.test.columns["image"].values, other.test.columns["image"].values)


def test_the_stream_is_the_one_results_were_published_on():
    """Changes with `VERSION` alone: a cached or published number belongs to these bytes."""
    images, asked = SortOfCLEVR(test_images=20).generate("test")
    assert (zlib.crc32(images.tobytes()), zlib.crc32(asked.tobytes())) == (407444200, 1128818774)


def test_more_images_of_a_split_keep_those_it_had():
    few, many = SortOfCLEVR(train_images=30), SortOfCLEVR(train_images=700)
    for one, other in zip(few.generate("train"), many.generate("train"), strict=True):
        assert np.array_equal(one, other[:30])


def test_a_second_load_reads_what_the_first_wrote(tmp_path, monkeypatch):
    first = small().load(0, tmp_path)
    monkeypatch.setattr(SortOfCLEVR, "generate", lambda *_: pytest.fail("generated again"))
    second = small().load(1, tmp_path)
    assert isinstance(second.train.columns["image"].values, np.memmap)
    assert second.train.targets == first.train.targets


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    ],
    ids=["missing", "cut short", "empty", "one bit"],
)
@pytest.mark.parametrize("which", ["images.npy", "questions.npy", "crc32"])
def test_a_damaged_cache_is_made_again(tmp_path, damage, which):
    source = SortOfCLEVR(train_images=2, valid_images=1, test_images=1)
    before = source.load(0, tmp_path)
    path = next((tmp_path / "sort_of_clevr").glob(f"train-*.{which}"))
    whole = path.read_bytes()
    del before  # an open memory map follows the file
    damage(path)
    after = source.load(0, tmp_path)
    assert path.read_bytes() == whole
    assert seen(after.train.row(0)["image"])


def test_two_runs_may_fill_one_cache_at_once(tmp_path):
    source = SortOfCLEVR(train_images=20, valid_images=5, test_images=5)
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(source.load(0, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 4
    assert all(each.train.targets == loaded[0].train.targets for each in loaded)
    assert not list((tmp_path / "sort_of_clevr").glob(".*"))  # nothing half-written is left


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_images": 0}, "data.test_images=0"),
        ({"relational": -1}, "data.relational=-1"),
        ({"train_images": 1.5}, "data.train_images=1.5"),
        ({"seed": -1}, "data.seed=-1"),
        ({"relational": 0, "non_relational": 0}, "no question"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(OutOfRange, match=message):
        SortOfCLEVR(**options)
