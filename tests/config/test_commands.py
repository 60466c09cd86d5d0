"""Subcommands, in this process."""

import html
import json
import os

import numpy as np
import pytest
from PIL import Image

from automm import commands
from automm.data import downloads
from automm.data.digests import DIGESTS, value_digests
from automm.data.downloads import Downloads
from automm.data.features import FeatureCache
from automm.data.file_memo import CHECKS, FOLDER
from automm.data.glimpse import LOOKS, glimpses
from automm.data.hearing import CLIPS, heard
from automm.data.image_files import broken_images
from automm.errors import BundleError, ConfigError, DataError, StudyError, UnknownComponent
from automm.runtime.wav import wav_bytes
from automm.types import FeatureSpec

COLUMNS = ["data", "describe", "fine.jsonl", "--columns"]


def test_which_words_are_subcommands():
    assert commands.is_subcommand(["plugins"])
    assert commands.is_subcommand(["anything"])
    for word in ("+task=vqa", "seed=1", "~search", "-m", "--help"):
        assert not commands.is_subcommand([word])
    assert not commands.is_subcommand([])


def test_plugins_lists_kind_name_version_origin_health(capsys):
    assert commands.run(["plugins", "fusion", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    film = next(row for row in rows if row["name"] == "film")
    assert {**film, "version": ""} == {
        "kind": "fusion", "name": "film", "origin": "automm", "version": "", "health": "ready", "detail": "",
    }  # fmt: skip
    commands.run(["plugins", "fusion"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["kind", "name", "version", "origin", "health"]
    assert len(lines) == len(rows)


def test_plugins_shows_one_component(capsys):
    commands.run(["plugins", "fusion", "film"])
    page = capsys.readouterr().out
    assert "arXiv:1709.07871" in page
    assert "an integer from" in page
    commands.run(["plugins", "fusion", "film", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert {"blocks", "dropout"} <= {option["name"] for option in shown["options"]}


def test_plugins_shows_a_metric(capsys):
    commands.run(["plugins", "metric", "hamming"])
    assert "Lower is better. It reads labels." in capsys.readouterr().out
    commands.run(["plugins", "metric", "--json"])
    listed = {row["name"]: row["health"] for row in json.loads(capsys.readouterr().out)}
    assert {listed[name] for name in ("f1", "auroc", "log_loss", "rmse")} == {"ready"}


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["plugins", "fusoin"], ConfigError, "Did you mean 'fusion'"),
        (["plugins", "fusion", "flim"], UnknownComponent, "Did you mean 'film'"),
        (["study", "nowhere"], StudyError, "nowhere"),
        (["predict", "nowhere", "rows.jsonl"], DataError, "rows.jsonl, line 2"),
        (["predict", "nowhere", "fine.jsonl"], BundleError, "nowhere"),
        (["predcit"], ConfigError, "Did you mean 'predict'"),
        (["data", "describe", "nowhere.csv"], DataError, "FILE=nowhere.csv should be a file"),
        (["data", "describe", "fine.jsonl", "--test", "no.csv"], DataError, "--test=no.csv should be a file"),
        (["data", "describe", "fine.jsonl", "--target", "x"], DataError, "--target x: "),
        ([*COLUMNS, "x"], ConfigError, "--columns x is not NAME=MODALITY. Next: write it as --columns NAME=text"),
        ([*COLUMNS, "x="], ConfigError, "--columns x= is not NAME=MODALITY. Next: write it as --columns NAME=text"),
        ([*COLUMNS, "=text"], ConfigError, "--columns =text is not NAME=MODALITY. Next: write it as --columns NAME="),
        ([*COLUMNS, "="], ConfigError, "--columns = is not NAME=MODALITY. Next: write it as --columns NAME=text"),
        ([*COLUMNS, "q=text", "--columns", "q=image"], ConfigError, "names 'q' twice, as text and as image. Next: "),
        ([*COLUMNS, "q=text", "--columns", "q=text"], ConfigError, "names 'q' twice"),
        (["data", "describe", "."], DataError, "is a folder, and datasets finds no data set in it"),
    ],
)
def test_what_cannot_be_done_is_said(words, error, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"question": "?"}\n[1]\n')
    (tmp_path / "fine.jsonl").write_text('{"question": "?"}\n')
    with pytest.raises(error) as raised:
        commands.run(words)
    assert said in str(raised.value)


def test_help_names_every_command_and_group():
    text = commands.help_text()
    for word in (*commands.NAMES, "encoder/image", "cross_attention", "hydra/launcher=joblib"):
        assert word in text


@pytest.fixture
def cache_dir(tmp_path):
    """Features of two values, a download, and what is known of a picture and of a clip."""
    spec = FeatureSpec("words", "text", 3, 4, has_tokens=True)
    shelf = FeatureCache(tmp_path / FOLDER, 1 << 30).shelf("some encoder", spec, tokens=False)
    shelf.add(value_digests(["a", "b"], "text", tmp_path), {"pooled": np.zeros((2, 3), np.float32)})
    downloaded = Downloads(tmp_path / downloads.FOLDER).path("https://example.org/a.png")
    downloaded.parent.mkdir(parents=True)
    downloaded.write_bytes(bytes(1234))
    Image.new("RGB", (6, 5), "red").save(tmp_path / "a.png")
    (tmp_path / "a.wav").write_bytes(wav_bytes(np.zeros(800, np.int16), 8000))
    for name in ("a.png", "a.wav"):
        os.utime(tmp_path / name, (1e9, 1e9))  # of a younger file nothing is remembered
    glimpses(["a.png"], tmp_path, tmp_path / FOLDER)
    heard(["a.wav"], tmp_path, tmp_path / FOLDER)
    broken_images([str(tmp_path / "a.png")], "decode", tmp_path)
    return tmp_path


def test_cache_says_what_is_kept_and_clears_it(cache_dir, capsys):
    asked = ["--cache-dir", str(cache_dir)]
    assert commands.run(["cache", "info", *asked]) == 0
    said = capsys.readouterr().out
    assert "some encoder" in said
    assert f"0.0 MB of downloads in {cache_dir / downloads.FOLDER}, 1 files" in said
    commands.run(["cache", "info", "--json", *asked])
    kept = json.loads(capsys.readouterr().out)
    assert [s["values"] for s in kept["shelves"]] == [2]
    assert kept["downloads"]["bytes"] == 1234
    memos = list((cache_dir / FOLDER).glob("*.sqlite"))
    assert {memo.name for memo in memos} == {DIGESTS, CHECKS, LOOKS, CLIPS}
    assert kept["memos"] == sum(memo.stat().st_size for memo in memos)
    commands.run(["cache", "clear", "--json", *asked])
    freed = json.loads(capsys.readouterr().out)
    features = sum(shelf["bytes"] for shelf in kept["shelves"]) + kept["memos"]
    assert freed == {"freed": features + 1234, "features": features, "downloads": 1234}
    assert sorted(path.name for path in cache_dir.rglob("*")) == ["a.png", "a.wav", FOLDER]
    commands.run(["cache", "clear", *asked])
    assert capsys.readouterr().out.count("freed 0.0 MB") == 2
    commands.run(["cache", "info", "--json", *asked])
    assert json.loads(capsys.readouterr().out)["shelves"] == []


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOMM_CACHE", str(tmp_path / "cache"))
    lines = [f"{i},it was number {i} of them,{(i % 7) * 3},{'good' if i % 3 else 'bad'}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["row,words,size,verdict", *lines]))
    (tmp_path / "w.csv").write_text("\n".join(["row,words,size,verdict", lines[4], "99,quite another,5,fair"]))
    return ["data", "describe", str(tmp_path / "t.csv"), "--target", "verdict", "--test", str(tmp_path / "w.csv")]


def test_data_describe_prints_a_table_the_balance_and_what_to_look_at(reviews, capsys):
    assert commands.run(reviews) == 0
    out = capsys.readouterr().out
    head, *_ = (line for line in out.splitlines() if line.startswith("column"))
    assert head.split() == ["column", "read", "as", "role", "missing", "distinct", "shows", "why"]
    for said in ("train: ", "40 rows", "whole numbers that run from 0 to 39", "target 'verdict' suits classification"):
        assert said in out
    assert "1. shared rows: 1 of 2 rows of test are in train too" in out
    assert "unseen classes: 1 of 2 rows of test have a class that no row of train has (fair)" in out


def test_data_describe_without_a_target_shows_the_balance_and_says_what_one_would_add(reviews, tmp_path, capsys):
    words = [word for word in reviews if word not in ("--target", "verdict")]
    assert commands.run([*words, "--html", str(tmp_path / "d.html")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "  verdict  good 65.0 %, bad 35.0 %" in out
    assert "  size     0 15.0 %, 12 15.0 %, 3 15.0 %, 6 15.0 %, 9 15.0 %, others 25.0 %" in out
    command = out[-1].partition("such as: ")[2]
    assert command.split()[-2:] == ["--target", "verdict"]
    assert commands.run(command.split()[1:]) == 0
    assert "target 'verdict' suits classification" in capsys.readouterr().out


def test_data_describe_takes_columns_and_drops_as_a_run_does(reviews, capsys):
    more = ["--columns", "row=numeric", "--columns", "words=categorical", "--drop", "size", "--json"]
    assert commands.run([*reviews, *more]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(c["name"], c["modality"], c["role"]) for c in shown["columns"]] == [
        ("row", "numeric", "input"), ("words", "categorical", "input"), ("verdict", "categorical", "target"),
    ]  # fmt: skip


def test_data_describe_gives_the_same_as_json_and_as_a_page(reviews, tmp_path, capsys):
    assert commands.run([*reviews, "--json", "--html", str(tmp_path / "d.html")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(c["name"], c["role"]) for c in shown["columns"]] == [
        ("row", "id"), ("words", "input"), ("size", "input"), ("verdict", "target"),
    ]  # fmt: skip
    assert shown["target"]["counts"] == [["good", 26], ["bad", 14]]
    page = html.unescape((tmp_path / "d.html").read_text(encoding="utf-8"))
    assert all(finding["sentence"] in page for finding in shown["findings"])
    assert [finding["kind"] for finding in shown["findings"]] == ["shared rows", "shared cells", "unseen classes"]
