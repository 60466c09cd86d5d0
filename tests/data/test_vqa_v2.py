import json
import logging

import pytest
from PIL import Image
from vqa_files import Files

from automm.data.sources.vqa_v2 import VQAv2
from automm.errors import ConfigError, DataError, OutOfRange, UnknownKey
from automm.runtime.images import image_size


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "train")


def load(files, tmp_path, **options):
    return VQAv2(**files.write().options(**options)).load(0, tmp_path / "cache")


def failure(files, tmp_path, **options):
    with pytest.raises(DataError) as caught:
        load(files, tmp_path, **options)
    return str(caught.value)


def test_a_set_without_validation_is_split_by_image(files, tmp_path):
    splits = load(files, tmp_path, valid_fraction=0.2)
    assert (len(splits.train), len(splits.valid), splits.test) == (24, 6, None)
    shown = [set(t.columns["image"].values) for t in (splits.train, splits.valid)]
    assert not shown[0] & shown[1]
    row = splits.train.row(0)
    assert row["question"] == "what color it?"
    assert image_size(row["image"]) == (20, 24)
    assert splits.train.targets[0] == ["a0"] * 10
    assert splits.train.ids[0] % 10 == 0
    assert splits.train.groups["answer_type"].tolist()[:3] == ["other", "yes/no", "number"]
    assert splits.train.groups["question_type"][2] == "how many"
    assert len(splits.train.columns["question"].values) == 3


def test_the_split_follows_the_seed(files, tmp_path):
    source = VQAv2(**files.write().options(valid_fraction=0.3))
    first, again, other = (source.load(seed, tmp_path).valid.ids for seed in (0, 0, 1))
    assert first == again != other


def test_given_sets_are_taken_as_they_are(files, tmp_path):
    valid = Files(tmp_path / "valid", first=100, images=4, name="{:012d}.png").write()
    test = Files(tmp_path / "test", first=200, images=3, name="COCO_test2015_{:012d}.jpg").write()
    without = test.options()
    del without["annotations"]
    splits = load(files, tmp_path, valid=valid.options(), test=without)
    assert [len(t) for t in (splits.train, splits.valid, splits.test)] == [30, 12, 9]
    assert splits.test.targets == [None] * 9
    assert splits.test.groups == {}
    assert splits.valid.ids[0] == 1000
    assert load(files, tmp_path, test=test.options()).test.targets[0] == ["a0"] * 10


def test_keys_that_are_null_are_not_given(files, tmp_path):
    nothing = dict.fromkeys(("questions", "annotations", "images", "template"))
    assert load(files, tmp_path, valid=nothing, test=nothing).test is None


def test_other_file_names_need_a_template(tmp_path):
    files = Files(tmp_path / "train", name="picture-{}.jpg")
    assert "COCO_val2014_000000000042.jpg" in failure(files, tmp_path)
    assert len(load(files, tmp_path, template="picture-{image_id}.jpg").train) == 27


def test_two_files_for_one_image_need_a_template(files, tmp_path):
    Image.new("RGB", (4, 4)).save(files.pictures / "000000000003.png")
    message = failure(files, tmp_path)
    assert "two files for image 3" in message
    assert "data.template" in message
    assert len(load(files, tmp_path, template="COCO_val2014_{image_id:012d}.jpg").train) == 27


def test_relative_paths_start_where_the_user_stands(files, tmp_path, monkeypatch):
    files.write()
    monkeypatch.chdir(files.folder)
    splits = VQAv2(questions="q.json", annotations="a.json", images="images").load(0, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert image_size(splits.train.row(0)["image"]) == (20, 24)


def test_leakage_between_given_sets_is_an_error(files, tmp_path):
    message = failure(files, tmp_path, test=files.options())
    assert "train and test sets share 9 image(s)" in message or "train and test sets share 10 image(s)" in message


BAD = {
    "question without annotation": (lambda f: f.annotations.pop(4), "question_id 21", "no annotation"),
    "question used twice": (lambda f: f.questions.append(f.questions[0]), "question_id 10", "used before"),
    "question annotated twice": (lambda f: f.annotations.append(f.annotations[0]), "question_id 10", "before"),
    "images that disagree": (lambda f: f.annotations[0].update(image_id=7), "question_id 10", "about image 7"),
    "question without text": (lambda f: f.questions[5].pop("question"), "question_id 22", "no 'question'"),
    "text that is no string": (lambda f: f.questions[5].update(question=3), "question_id 22", "not a string"),
    "record that is no object": (lambda f: f.questions.insert(2, "hm"), "record 2", "str, not an object"),
    "id that is no number": (lambda f: f.questions[0].update(question_id="10"), "record 0", "not an integer"),
    "no answers": (lambda f: f.annotations[1].update(answers=[]), "question_id 11", "empty"),
    "answer without text": (lambda f: f.annotations[1]["answers"][3].pop("answer"), "question_id 11", "no 'answer'"),
    "missing image": (lambda f: (f.pictures / "COCO_val2014_000000000005.jpg").unlink(), "question_id 50", "image 5"),
    "image that is none": (lambda f: picture(f).write_bytes(b"no picture"), "question 50", "cannot be read"),
    "image cut short": (lambda f: picture(f).write_bytes(picture(f).read_bytes()[:-60]), "question 50", "cannot be"),
}


def picture(files):
    return files.pictures / "COCO_val2014_000000000005.jpg"


@pytest.mark.parametrize("case", BAD)
def test_a_bad_record_is_named_or_skipped_and_counted(files, tmp_path, caplog, case):
    break_it, record, problem = BAD[case]
    break_it(files)
    message = failure(files, tmp_path)
    assert str(files.folder) in message
    assert record in message
    assert problem in message
    assert "data.on_error=skip" in message
    with caplog.at_level(logging.WARNING):
        splits = load(files, tmp_path, on_error="skip")
    rows = len(splits.train) + len(splits.valid)
    assert rows == {"question used twice": 30, "question annotated twice": 30, "record that is no object": 30,
                    "missing image": 27, "image that is none": 27, "image cut short": 27}.get(case, 29)  # fmt: skip
    assert any("skipped" in r.message and record in r.message for r in caplog.records)
    assert any(each.skipped and record in each.first for each in splits.skipped)


def test_a_header_check_does_not_read_to_the_end(files, tmp_path):
    picture(files).write_bytes(picture(files).read_bytes()[:-60])
    splits = load(files, tmp_path, check_images="header")
    assert len(splits.train) + len(splits.valid) == 30


def test_a_set_of_nothing_but_bad_records_is_an_error(files, tmp_path):
    for path in files.pictures.iterdir():
        path.write_bytes(b"")
    assert "none of its 30 records can be used" in failure(files, tmp_path, on_error="skip")


def test_malformed_json_is_located(files, tmp_path):
    files.write()
    path = files.folder / "a.json"
    path.write_text('{"annotations": [\n{"question_id": 1,}\n]}')
    with pytest.raises(DataError, match=r"a\.json is not valid JSON: .* at line 2, column \d+"):
        VQAv2(**files.options()).load(0, tmp_path)
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(DataError, match=r"a\.json is not UTF-8"):
        VQAv2(**files.options()).load(0, tmp_path)


@pytest.mark.parametrize("content", [[], {"annotations": []}, {"questions": []}, {"questions": 3}])
def test_a_file_of_another_kind_is_named(files, tmp_path, content):
    files.write()
    (files.folder / "q.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r'q\.json should hold \{"questions"'):
        VQAv2(**files.options()).load(0, tmp_path)


@pytest.mark.parametrize("key", ["questions", "annotations", "images"])
def test_a_missing_file_is_named_with_its_key(files, tmp_path, key):
    files.write()
    with pytest.raises(DataError, match=rf"data\.{key}=nowhere should be a .*; there is nothing at .*nowhere\. Next"):
        VQAv2(**files.options(**{key: "nowhere"})).load(0, tmp_path)
    with pytest.raises(DataError, match=rf"data\.{key} is not set.*data\.{key}=PATH"):
        VQAv2(**files.options(**{key: None})).load(0, tmp_path)
    with pytest.raises(DataError, match=rf"data\.test\.{key}=nowhere"):
        VQAv2(**files.options(test=files.options(**{key: "nowhere"}))).load(0, tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"valid": {"question": "x"}}, UnknownKey, "data.valid has no key 'question'. Did you mean 'questions'"),
        ({"on_error": "skp"}, ConfigError, "data.on_error='skp' is not a choice. Did you mean 'skip'"),
        ({"check_images": "head"}, ConfigError, "Did you mean 'header'"),
        ({"template": "picture.jpg"}, ConfigError, "data.template='picture.jpg' does not name"),
        ({"template": "{id}.jpg"}, ConfigError, "data.template='{id}.jpg' does not name"),
        ({"test": {"questions": "q", "template": "{"}}, ConfigError, "data.test.template='{'"),
        ({"valid_fraction": 1.0}, OutOfRange, "data.valid_fraction=1.0"),
    ],
)
def test_bad_options_fail_before_any_file_is_read(options, error, message):
    with pytest.raises(error) as caught:
        VQAv2(questions="q", annotations="a", images="i", **options)
    assert message in str(caught.value)
