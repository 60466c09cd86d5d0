"""The page by its structure: parsed as a browser would, without a browser."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from automm.errors import DataError
from automm.report.data import Sample, TrialRecord
from automm.report.page import write_report
from automm.report.samples import data_uri
from automm.report.sounds import RATE, SECONDS
from automm.runtime.audio import decode
from automm.types import Goal

FIGURES = ("groups", "reliance", "calibration", "history", "parallel", "importance", "curves", "gradients")
SECTIONS = (
    "accuracy",
    "reliance",
    "calibration",
    "configuration",
    "samples",
    "history",
    "parallel",
    "importance",
    "curves",
    "gradients",
    "trials",
    "columns",
    "provenance",
)
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects what the tests ask for and insists that elements nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.references, self.text, self.images, self.classes = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.classes += values.get("class", "").split()
        self.references += [
            values[key] for key in ("src", "href", "action", "data", "poster", "srcset") if values.get(key)
        ]
        self.images += [values["src"]] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page(tmp_path_factory, story):
    folder = tmp_path_factory.mktemp("run")
    path = write_report(folder, story)
    assert path == folder / "report.html"
    assert [each.name for each in folder.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


@pytest.fixture
def short(story):
    """The same with too few trials for a forest, which is what takes time."""
    return replace(story, trials=story.trials[:7])


def figures(text):
    """The plotly data and layout of every figure, by name."""
    found = {}
    decode = json.JSONDecoder().raw_decode
    for call in re.finditer(r'Plotly\.newPlot\(\s*"figure-(\w+)",\s*', text):
        data, end = decode(text, call.end())
        layout, _ = decode(text, re.compile(r"[,\s]*").match(text, end).end())
        found[call[1]] = (data, layout)
    return found


def test_every_section_and_figure_is_there(page):
    parsed = Page(page)
    assert {f"figure-{name}" for name in FIGURES} <= set(parsed.ids)
    assert set(SECTIONS) <= set(parsed.ids)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert set(figures(page)) == set(FIGURES)


def test_nothing_comes_from_outside(page):
    parsed = Page(page)
    assert all(reference.startswith("data:image/png;base64,") for reference in parsed.references)
    assert "@import" not in page.partition("<script>")[0]
    assert "url(" not in page.partition("<script>")[0]
    assert page.count("Plotly.newPlot(") == len(FIGURES)
    assert len(page) < 8_000_000  # plotly.js once


def test_the_headline_stands_beside_its_baselines(page, story):
    words = Page(page).words
    test, baselines = story.result["test"], story.result["baselines"]
    assert f"{100 * test['accuracy']:.1f} %" in words
    for name, values in baselines.items():
        assert name.replace("_", " ") in words
        for group in ("accuracy", "accuracy/relational", "accuracy/closest"):
            assert f"{100 * values[group]:.1f} %" in words
    assert "26 trials (5 completed, 20 pruned, 1 failed), 20 min 07 s in all" in words


def test_inputs_are_shown_by_what_is_left_without_them_and_what_shuffling_costs(page, story):
    words = Page(page).words
    assert "The accuracy on 2,048 test rows" in words
    for name, values in story.result["removed"].items():
        assert name.replace("/", ": ") in words
        assert f"{100 * values['accuracy/closest']:.1f} %" in words
    ((trace,), _) = figures(page)["reliance"]
    assert trace["y"] == ["text: &lt;b&gt;", "image", "text: a_b", "text"]  # plotly draws from below
    assert trace["x"] == pytest.approx([-0.1, 45, 50, 56.1])
    assert trace["error_x"]["array"] == pytest.approx([0.2, 1.2, 1, 2])


def test_scores_are_shown_against_shares_of_right_answers(page, short, tmp_path):
    words = Page(page).words
    assert "Scores miss that by 2.1 % on average" in words
    assert "at temperature 1 it would be 8.4 %" in words
    assert "a temperature of 1.372, which moves no answer and is fitted to the scores" in words
    _, before, after = figures(page)["calibration"][0]
    assert (before["x"], before["y"]) == ([0.6, 0.99], [0.5, 0.95])
    assert after["text"] == ["40 rows", "960 rows"]
    bare = replace(short, result={**short.result, "calibration": None})
    assert "left as they are" in Page(write_report(tmp_path, bare).read_text(encoding="utf-8")).words


def test_metrics_beside_the_headline_have_a_table_of_their_own(page):
    assert "Other metrics found by the search majority" in Page(page).words.replace("  ", " ")
    assert "loss 0.2 – – – –" in Page(page).words


def test_how_sure_figures_are_stands_below_them(page, short, tmp_path):
    words = Page(page).words
    assert "95 % interval 91.2 to 94.8 % 32.0 to 36.1 % – – –" in words
    assert "found's lead, ± 95 % – +59.0 ± 2.5 points -0.4 ± 0.6 points – –" in words
    assert "An interval says where an overall figure is likely to be" in words
    bare = replace(short, result={**short.result, "uncertainty": None})
    assert "An interval says" not in Page(write_report(tmp_path, bare).read_text(encoding="utf-8")).words


@pytest.mark.parametrize(("direction", "best"), [("minimize", "0.3 (defaults)"), ("maximize", "0.9 (majority)")])
def test_the_best_baseline_is_told_by_its_metrics_direction(direction, best, tmp_path, short):
    result = {
        **short.result,
        "test": {"rmse": 0.2},
        "baselines": {"majority": {"rmse": 0.9}, "defaults": {"rmse": 0.3}},
        "directions": {"rmse": direction},
    }
    told = replace(short, result=result, goal=Goal("rmse", direction))
    assert f"best baseline: {best}" in Page(write_report(tmp_path, told).read_text(encoding="utf-8")).words


def test_the_history_colours_states_and_draws_the_incumbent(page, story):
    traces, _ = figures(page)["history"]
    by_name = {trace["name"]: trace for trace in traces}
    assert {"completed", "pruned", "best so far", "without a value"} <= set(by_name)
    assert by_name["without a value"]["x"] == [7]
    assert len({by_name[name]["marker"]["color"] for name in ("completed", "pruned")}) == 2
    best = by_name["best so far"]["y"]
    assert best == sorted(best)
    assert best[-1] == max(t.values["accuracy"] for t in story.trials if t.state == "completed")


def test_parallel_coordinates_show_searched_parameters_alone(page):
    ((trace,), _) = figures(page)["parallel"]
    labels = [dimension["label"] for dimension in trace["dimensions"]]
    assert labels[-1] == "accuracy"
    assert {"fusion.name", "lr", "batch_size", "film.blocks", "relation.blocks"} <= set(labels)
    assert "solver" not in labels  # the same in every trial
    blocks = trace["dimensions"][labels.index("film.blocks")]
    assert blocks["ticktext"][0] == "–"


def test_the_parameter_that_decides_is_the_most_important(page):
    ((trace,), _) = figures(page)["importance"]
    assert trace["y"][-1] == "fusion.name"
    assert "take the order as a hint" in Page(page).words


def test_curves_and_gradients_are_all_drawn(page, story):
    curves, _ = figures(page)["curves"]
    assert len(curves) == sum(bool(trial.curve) for trial in story.trials)
    assert curves[-1]["name"] == f"trial {story.result['best']['trial']}, the best"
    norms, layout = figures(page)["gradients"]
    assert [trace["name"] for trace in norms] == ["encoder.image", "fusion", "global"]
    assert layout["yaxis"]["type"] == "log"


def test_text_is_text(page):
    words = Page(page).words
    for text in ("<it stopped learning>", "<of epoch 1>", "<closest>", "<searching>"):
        assert text in words  # after parsing, so that it was escaped
        assert text not in page


def test_text_inside_figures_is_text(tmp_path, short):
    evil = "</script><img src=x onerror=alert(1)>"
    trials = [
        TrialRecord(t.number, t.state, {**t.candidate, "fusion.name": f"{evil}{t.number % 3}"}, t.values, t.curve, evil)
        for t in short.trials
    ]
    text = write_report(tmp_path, replace(short, trials=trials)).read_text(encoding="utf-8")
    assert len(Page(text).images) == len(Page(write_report(tmp_path, short).read_text(encoding="utf-8")).images)
    assert "<img src=x" not in text


def test_rows_are_counted_and_so_are_those_left_out(page):
    assert "98,000" in page
    assert "3 of 101,003 records of /a/t.csv were left out. row 7: &lt;no&gt; target." in page


def test_samples_show_pictures_and_verdicts(page, story):
    parsed = Page(page)
    assert len(parsed.images) == sum(sample.images["image"] is not None for sample in story.samples)
    assert parsed.classes.count("sample") == len(story.samples)
    assert parsed.classes.count("right") == sum(sample.right for sample in story.samples)
    assert "image: missing" in parsed.words


def test_the_best_configuration_is_a_command(page, story):
    words = Page(page).words
    assert "python -m automm" in words
    assert all(line in words for line in story.result["best"]["overrides"])


def test_failed_and_pruned_trials_say_why(page):
    words = Page(page).words
    assert "loss became NaN at step 12 <of epoch 1>" in words
    assert "not among the best of its rung after epoch 3" in words
    assert "In epoch 2 the fusion had no gradient" in words


def test_a_run_of_nothing_still_has_its_page(tmp_path, short):
    bare = replace(
        short,
        result={"task": "vqa", "seed": 0, "stopped_by": "timeout"},
        trials=(),
        gradients=(),
        findings=(),
        samples=(),
    )
    words = Page(write_report(tmp_path, bare).read_text(encoding="utf-8")).words
    for said in (
        "The run was not tested",
        "No trial was completed",
        "No samples were kept",
        "nothing to compare",
        "Too few comparable trials",
    ):
        assert said in words


def test_a_loss_to_minimise_has_a_falling_incumbent(tmp_path, short):
    text = write_report(
        tmp_path, replace(short, goal=replace(short.goal, metric="loss", direction="minimize"))
    ).read_text(encoding="utf-8")
    traces, _ = figures(text)["history"]
    best = next(trace["y"] for trace in traces if trace["name"] == "best so far")
    assert best == sorted(best, reverse=True)
    assert "Test accuracy beside the baselines" in Page(text).words


def test_an_unreadable_sample_leaves_no_half_page(tmp_path, short):
    broken = Sample({"image": tmp_path / "none.png"}, {"question": "?"}, "yes", "no")
    with pytest.raises(DataError, match=r"none\.png"):
        write_report(tmp_path, replace(short, samples=[broken]))
    assert not list(tmp_path.iterdir())


def test_images_may_be_gray_arrays(tmp_path, short):
    gray = Sample({"image": np.zeros((4, 4), np.uint8)}, {}, "yes", "yes")
    page = write_report(tmp_path, replace(short, samples=[gray]))
    assert data_uri(np.zeros((4, 4), np.uint8)) in page.read_text()


def test_audio_is_played_from_the_page_itself(tmp_path, short):
    tone = np.sin(np.arange(44100 * 20) * 0.05)
    clips = {"said": (np.stack([tone, tone], axis=1), 44100), "low": (tone[:100], 8000), "gone": None}
    page = write_report(tmp_path, replace(short, samples=[Sample({}, {"text": "a"}, "yes", "yes", sounds=clips)]))
    parsed = Page(page.read_text())
    found = re.findall(
        r'<audio controls="controls" preload="none" src="data:audio/wav;base64,([^"]+)">', page.read_text()
    )
    long, low = (decode(base64.b64decode(each)) for each in found)
    assert (len(long[0]), long[1]) == (SECONDS * RATE, RATE)
    wanted = np.sin(np.arange(len(long[0])) * 0.05 * 44100 / RATE)
    np.testing.assert_allclose(long[0][50:-50], wanted[50:-50], atol=1e-4)
    assert (len(low[0]), low[1]) == (100, 8000)
    np.testing.assert_allclose(low[0], tone[:100], atol=1e-4)
    assert "gone: missing" in parsed.words


def test_large_images_are_made_smaller_and_cells_of_several_fields_are_named(tmp_path, short):
    row = {"title": "words " * 100, "area_m2": 12.5, **{f"x{at}": at for at in range(12)}}
    many = Sample({"front": np.zeros((900, 600, 3), np.uint8), "back": None}, row, "yes", "yes")
    parsed = Page(write_report(tmp_path, replace(short, samples=[many])).read_text(encoding="utf-8"))
    (source,) = parsed.images
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert picture.size == (240, 360)
    for said in ("front", "back: missing", "area_m2: 12.5", "x7: 7", "and 4 more"):
        assert said in parsed.words
    assert "words …" in parsed.words
    assert "x8" not in parsed.words


def test_a_number_is_neither_right_nor_wrong_and_a_list_reads_as_words(tmp_path, short):
    number = Sample({}, {"text": "a house"}, 1000.25, 998.123456789)
    listed = Sample({}, {"text": "a film"}, "drama, war", ["war"], None, False)
    parsed = Page(write_report(tmp_path, replace(short, samples=[number, listed])).read_text())
    words = parsed.words
    assert (parsed.classes.count("right"), parsed.classes.count("wrong")) == (0, 1)
    assert "998.123" in words
    assert "answer: 1000.25" in words
    assert "✗ war" in words
    assert "✓" not in words


def test_it_says_that_the_defaults_stay_and_what_was_trained_on(short, tmp_path):
    best = short.result["best"] | {"passed_over": 5}
    told = replace(short, result=short.result | {"best": best, "device": "NVIDIA <H200>"})
    text = " ".join(Page(write_report(tmp_path, told).read_text(encoding="utf-8")).text)
    assert "The defaults stay" in text
    assert "trial 5 was ahead of them on the validation rows" in text
    assert "NVIDIA <H200>" in text
    assert "The best validated configuration" not in text


def test_the_page_says_what_columns_were_read_as_and_why(page, short, tmp_path):
    said = re.sub(r"\s+", " ", " ".join(Page(page).text))
    assert "<note> text 1,204 of 98,000 train, 3 of 1,000 validation, 17 of 2,000 test 12 texts" in said
    assert "number numeric, names rows, no input – running numbers" in said
    assert "2 validation rows count as wrong" in said
    assert "image image none as said, or of the data set" in said
    assert "45 test rows count as wrong whatever is answered" in said
    assert "<zebra> (30), yak (2) and 21 classes more." in said
    old = replace(short, result={**short.result, "data": {"rows": {"train": 3}}})
    assert "The run did not keep what it read." in write_report(tmp_path, old).read_text(encoding="utf-8")
