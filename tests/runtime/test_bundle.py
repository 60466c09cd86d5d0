import hashlib
import json
import os

import pytest

from automm.errors import BundleError
from automm.runtime import Bundle, Predictor


def test_a_sound_bundle_opens(bundle):
    opened = Bundle.open(bundle)
    assert opened.fields == ("image", "question")
    assert opened.labels == ("bright", "wordy", "unsure")


def test_a_bundle_may_be_reached_through_a_link(bundle, tmp_path):
    (tmp_path / "current").symlink_to(bundle)
    assert Predictor.open(tmp_path / "current").bundle.fields == ("image", "question")


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden/rows.json", "preprocess/1/tokenizer.json", "config.yaml"])
def test_an_altered_file_is_refused(bundle, name):
    with (bundle / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=f"{name} is not the file its manifest was written for"):
        Bundle.open(bundle)


def test_a_missing_file_is_named(bundle):
    (bundle / "model.fp32.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.fp32\.onnx is missing"):
        Bundle.open(bundle)


def test_a_newer_schema_is_refused(bundle, edit_manifest):
    edit_manifest(bundle, lambda m: m.update(schema=99))
    with pytest.raises(BundleError, match=r"schema 99 \(written by automm 0\.1\.0\).*upgrade automm"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.pop("files"),
        lambda m: m["files"].update(extra="not a mapping"),
        lambda m: m.update(fields=[]),
        lambda m: m["fields"][0].pop("preprocess"),
        lambda m: m["graphs"][0]["variants"][0].pop("file"),
        lambda m: m["graphs"][0].update(outputs="scores"),
        lambda m: m["task"].update(labels=[]),
        lambda m: m["golden"].update(tolerance="small"),
    ],
)
def test_a_manifest_that_lacks_something_is_refused(bundle, edit_manifest, edit):
    edit_manifest(bundle, edit)
    with pytest.raises(BundleError, match="is damaged"):
        Bundle.open(bundle)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1, "versions": []}'])
def test_a_manifest_that_is_none_is_refused(bundle, text):
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(bundle)


@pytest.mark.parametrize("name", ["../outside.txt", "golden/../../outside.txt", "C:outside.txt", "..\\outside.txt"])
def test_a_file_that_leaves_the_bundle_is_refused(bundle, tmp_path, edit_manifest, name):
    (tmp_path / "outside.txt").write_text("secret")
    edit_manifest(bundle, lambda m: m["files"].update({name: {"sha256": hashlib.sha256(b"secret").hexdigest()}}))
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle.open(bundle)


def test_an_absolute_path_is_refused(bundle, edit_manifest):
    edit_manifest(bundle, lambda m: m["graphs"][0]["variants"][0].update(file=os.devnull))
    with pytest.raises(BundleError, match="lists no file"):
        Predictor.open(bundle)
    edit_manifest(bundle, lambda m: m["files"].update({os.devnull: {"sha256": ""}}))
    with pytest.raises(BundleError, match="leaves the bundle"):
        Predictor.open(bundle)


def test_a_linked_file_is_refused(bundle, tmp_path):
    moved = tmp_path / "elsewhere.onnx"
    (bundle / "model.fp32.onnx").rename(moved)
    (bundle / "model.fp32.onnx").symlink_to(moved)
    with pytest.raises(BundleError, match="is a link"):
        Bundle.open(bundle, verify=False)


def test_a_linked_folder_is_refused(bundle, tmp_path):
    (bundle / "golden").rename(tmp_path / "golden")
    (bundle / "golden").symlink_to(tmp_path / "golden")
    with pytest.raises(BundleError, match="is a link"):
        Bundle.open(bundle)


def test_an_unlisted_asset_is_refused(bundle):
    (bundle / "preprocess" / "1" / "more.json").write_text("{}")
    with pytest.raises(BundleError, match=r"more\.json is not listed"):
        Bundle.open(bundle)


@pytest.mark.parametrize("name", ["../../../tokenizer.json", "/etc/hostname", ".."])
def test_a_preprocessing_reads_nothing_outside_its_folder(bundle, edit_manifest, name):
    edit_manifest(bundle, lambda m: m["fields"][1]["preprocess"]["config"].update(tokenizer=name))
    with pytest.raises(BundleError, match="which leaves it"):
        Predictor.open(bundle)


def test_golden_rows_read_nothing_outside(bundle, edit_manifest):
    rows = json.dumps({"rows": [{"image": {"file": "../../outside.png"}}]})
    (bundle / "golden" / "rows.json").write_text(rows)
    digest = hashlib.sha256(rows.encode()).hexdigest()
    edit_manifest(bundle, lambda m: m["files"]["golden/rows.json"].update(sha256=digest))
    with pytest.raises(BundleError, match="lists no file"):
        Predictor.open(bundle)


def test_a_bundle_that_computes_something_else_is_refused(bundle, edit_manifest):
    wrong = json.dumps({"scores": [[0.5, 0.2, 0.3]] * 3})
    (bundle / "golden" / "expected.json").write_text(wrong)
    digest = hashlib.sha256(wrong.encode()).hexdigest()
    edit_manifest(bundle, lambda m: m["files"]["golden/expected.json"].update(sha256=digest))
    with pytest.raises(BundleError, match="does not compute here what it computed at export"):
        Predictor.open(bundle)
    Predictor.open(bundle, verify=False)


def test_a_graph_that_cannot_be_loaded_is_named(bundle):
    (bundle / "model.fp32.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"cannot load .*model\.fp32\.onnx"):
        Predictor.open(bundle, verify=False)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["task"].update(decode="beam search"), "decodes by 'beam search'"),
        (lambda m: m["fields"][0]["preprocess"].update(kind="hologram"), "hologram"),
    ],
)
def test_what_this_version_does_not_know_is_named(bundle, edit_manifest, edit, message):
    edit_manifest(bundle, edit)
    with pytest.raises(BundleError, match=message):
        Predictor.open(bundle)


def test_what_is_no_bundle_is_said_to_be_none(tmp_path):
    (tmp_path / "file").write_text("")
    for place, found in (
        (tmp_path, "holds no manifest"),
        (tmp_path / "file", "it is a file"),
        (tmp_path / "none", "nothing"),
    ):
        with pytest.raises(BundleError, match=f"not a bundle: .*{found}"):
            Bundle.open(place)
