"""Clips from a table's files to the answers of a bundle, alone and together with text."""

import base64
import json
import logging
import shutil
import wave

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from automm.config import compose, to_settings
from automm.data.features import FeatureCache
from automm.data.file_memo import FOLDER
from automm.flow import run
from automm.runtime import Predictor

RATE = 8000
NOTES = {"low": 300, "middle": 600, "high": 1200}


def tone(hertz, random, samples=2400):
    phase = random.uniform(0, 2 * np.pi)
    x = random.uniform(0.2, 0.8) * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE + phase)
    return (32767 * (x + 0.01 * random.normal(size=samples)).clip(-1, 1)).astype("<i2")


def write_tone(path, samples, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, RATE, len(samples), "NONE", ""))
        file.writeframes(np.repeat(samples, channels).tobytes())


def table(folder, rows=72, text=False):
    """Tones of three heights and several lengths, mono and stereo; a row may lack its clip where there are texts."""
    random = np.random.default_rng(0)
    (folder / "clips").mkdir()
    lines = []
    for n in range(rows):
        note = list(NOTES)[n % 3]
        clip = f"clips/{n}.wav"
        write_tone(folder / clip, tone(NOTES[note], random, 1600 + 100 * (n % 9)), channels=1 + n % 2)
        # the texts tell one note from the other two alone
        words = f"a {'deep' if note == 'low' else 'clear'} note number {n}"
        lines.append(f"{'' if text and n % 10 == 9 else clip},{words},{note}")
    (folder / "rows.csv").write_text("\n".join(["clip,words,note", *lines]) + "\n")
    return folder / "rows.csv"


def finished(folder, *more, solver="gradient", train="rows.csv"):
    what = ("+task=classification", "data.target=note", "data.folds=1", f"training={solver}", "fusion=concat")
    return ran(folder, *what, f"data.train={folder / train}", *more)


def ran(folder, *more):
    asked = [
        "training.lr=5e-3",
        "training.optimizer=adamw",
        "training.batch_size=12",
        "search.trials=1",
        "executor=in_process",
        "search.min_epochs=12",
        "search.max_epochs=12",
        "training.epochs=12",
        "baselines.unimodal=false",
        "export.golden=3",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
        *more,
    ]
    return run(to_settings(compose(asked), folder, overrides=asked))


SMALL = ("encoder.audio.rate=8000", "encoder.audio.width=48", "encoder.audio.channels=16", "encoder.audio.depth=3")


def test_tones_are_told_apart_and_the_bundle_says_the_same(tmp_path):
    path = table(tmp_path)
    done = finished(tmp_path, "data.drop=[words]", *SMALL)
    assert done.values["best"]["candidate"]["encoder.audio.name"] == "logmel"
    assert done.values["test"]["accuracy"] >= 0.9
    predictor = Predictor.open(done.run_dir / "bundle")
    lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
    answers = json.loads((done.run_dir / "predictions.json").read_text())
    asked = [tmp_path / lines[int(answer["id"])][0] for answer in answers]
    served = predictor.predict([{"clip": each} for each in asked])
    assert [each["answer"] for each in served] == [answer["prediction"] for answer in answers]
    assert predictor.predict([{"clip": asked[0].read_bytes()}])[0]["answer"] == served[0]["answer"]
    golden = done.run_dir / "bundle" / "golden"
    stored = json.loads((golden / "rows.json").read_text())["rows"]
    assert all((golden / row["clip"]["file"]).suffix == ".wav" for row in stored)
    right = sum(answer["prediction"] == lines[int(answer["id"])][2] for answer in answers)
    page = (done.run_dir / "report.html").read_text()
    assert page.count("data:audio/wav;base64,") == min(6, right) + min(6, len(answers) - right)


def as_parquet(folder, clips, notes):
    pq.write_table(pa.table({"clip": [clip.read_bytes() for clip in clips], "note": notes}), folder / "rows.parquet")
    return "rows.parquet"


def as_data_set(folder, clips, notes):
    """As `datasets` saves clips: it puts their bytes into files of its own."""
    named = datasets.Dataset.from_dict({"clip": [str(clip) for clip in clips], "note": notes})
    named.cast_column("clip", datasets.Audio()).save_to_disk(folder / "saved")
    return "saved"


@pytest.mark.parametrize("saved", [as_parquet, as_data_set])
def test_clips_may_be_in_the_table_itself(saved, tmp_path, caplog):
    lines = [line.split(",") for line in table(tmp_path).read_text().splitlines()[1:]]
    files = [tmp_path / clip for clip, *_ in lines]
    files[7].write_bytes(files[7].read_bytes()[:-5])
    clips = [file.read_bytes() for file in files]
    train = saved(tmp_path, files, [note for *_, note in lines])
    shutil.rmtree(tmp_path / "clips")
    with caplog.at_level(logging.INFO):
        done = finished(tmp_path, "data.on_error=skip", *SMALL, train=train)
    assert "column 'clip' is read as audio: every value is bytes, such as a clip of 0.200 s" in caplog.text
    assert [each["skipped"] for each in done.values["data"]["skipped"]] == [1]
    assert done.values["best"]["candidate"]["encoder.audio.name"] == "logmel"
    assert done.values["test"]["accuracy"] >= 0.9
    predictor = Predictor.open(done.run_dir / "bundle")
    answers = json.loads((done.run_dir / "predictions.json").read_text())
    asked = [clips[int(answer["id"])] for answer in answers]
    served = [each["answer"] for each in predictor.predict([{"clip": each} for each in asked])]
    assert served == [answer["prediction"] for answer in answers]
    text = [f"data:audio/wav;base64,{base64.b64encode(each).decode()}" for each in asked]
    assert [each["answer"] for each in predictor.predict([{"clip": each} for each in text])] == served
    assert "data:audio/wav;base64," in (done.run_dir / "report.html").read_text()


def test_audio_together_with_text_and_without(tmp_path):
    table(tmp_path, text=True)
    done = finished(tmp_path, "encoder.text.name=ngrams", "encoder.text.options.ngrams.width=512", *SMALL)
    assert done.values["test"]["accuracy"] >= 0.8
    random = np.random.default_rng(9)
    high = (tone(NOTES["high"], random) / 32768).astype(np.float32)
    rows = [{"clip": (high, RATE), "words": "a clear note"}, {"words": "a deep note"}, {"clip": (high, RATE)}]
    answers = [each["answer"] for each in Predictor.open(done.run_dir / "bundle").predict(rows)]
    assert answers[:2] == ["high", "low"]


def test_a_sound_is_found_by_what_it_is_called_and_the_other_way_round(tmp_path):
    random, lines = np.random.default_rng(0), []
    for n, note in enumerate([*NOTES] * 24):
        write_tone(tmp_path / f"{n}.wav", tone(NOTES[note], random))
        lines.append(f"{n}.wav,a {note} note of an organ")
    (tmp_path / "pairs.csv").write_text("\n".join(["clip,words", *lines]) + "\n")
    what = ("+task=retrieval", "data.columns.words=text", f"data.train={tmp_path / 'pairs.csv'}", "encoder/text=ngrams")
    done = ran(tmp_path, *what, "fusion.options.towers.dim=64", *SMALL)
    assert done.values["best"]["candidate"]["encoder.audio.name"] == "logmel"
    assert done.values["test"]["recall@1/clip_to_words"] > 0.9
    predictor = Predictor.open(done.run_dir / "bundle")
    clips = [{"clip": (tmp_path / f"{n}.wav").read_bytes()} for n in range(3)]
    names = [{"words": f"a {note} note of an organ"} for note in NOTES]
    assert predictor.rank(clips, names, k=1).index_QK.tolist() == [[0], [1], [2]]
    assert predictor.rank(names, clips, k=1).index_QK.tolist() == [[0], [1], [2]]


@pytest.mark.parametrize("solver", ["closed_form", "gradient"])
def test_features_of_a_frozen_model_are_kept_and_exported(solver, tmp_path, tiny_wav2vec2):
    table(tmp_path, rows=36)
    weights = f"encoder.audio.weights=local-dir:{tiny_wav2vec2}"
    done = finished(tmp_path, "data.drop=[words]", weights, "encoder.audio.seconds=0.3", solver=solver)
    assert done.values["best"]["candidate"]["encoder.audio.name"] == "audio_transformers"
    kept = FeatureCache(tmp_path / "cache" / FOLDER, 1 << 30).info()
    assert [shelf.values for shelf in kept] == [36]
    assert "AudioTransformers" in kept[0].identity
    clip = {"clip": tmp_path / "clips" / "0.wav"}
    assert Predictor.open(done.run_dir / "bundle").predict([clip])[0]["answer"] in NOTES
