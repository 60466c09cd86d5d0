"""From overrides to settings, and what is said when they cannot be."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from automm import presets, registry
from automm.config import compose, to_settings
from automm.errors import AutommError, ConfigError
from automm.search.strategies.random import draw
from automm.sections import default_cache
from automm.space import overrides

VQA = ["+task=vqa"]


def settings(*asked, cwd=Path("/somewhere")):
    words = [*VQA, *asked]
    return to_settings(compose(words), cwd, overrides=words)


def test_defaults():
    found = settings()
    assert (found.task.name, found.data.name) == ("vqa", "sort_of_clevr")
    assert found.search.min_epochs <= found.search.max_epochs <= found.training.epochs
    assert found.run_dir.is_relative_to("/somewhere/outputs")
    assert found.run_dir.name.endswith("_vqa")
    assert found.space.defaults()["fusion.name"] == "concat"


def test_metrics_by_name():
    assert settings().metrics == ()
    assert settings("task.metrics=f1").metrics == ("f1",)
    found = settings("task.metrics=[f1,accuracy,auroc,f1]", "search.objective=auroc")
    assert found.metrics == ("f1", "accuracy", "auroc")
    assert found.search.objective == "auroc"
    assert "metrics" not in found.task.options
    assert settings("search.objective=accuracy/relational").metrics == ()  # whether there is such a group the data says


def test_command_line_wins_over_presets_and_task():
    found = settings("search=quick", "fusion=film", "search.trials=7", "training.epochs=30", "encoder/image=timm")
    candidate = found.space.defaults()
    assert found.search.trials == 7
    assert found.training.epochs == 30
    assert candidate["fusion.name"] == "film"
    assert candidate["encoder.image.name"] == "timm"


def test_open_maps_need_no_plus_sign():
    found = settings("fusion.name=[concat,film]", "fusion.options.film.blocks=2", "data=table", "data.columns.age=text")
    assert found.data.options["columns"] == {"age": "text"}
    assert dict(found.space.paths())["fusion.options.film.blocks"].choices == (2,)


def test_relative_paths_are_meant_from_where_the_user_stands():
    found = settings("run.dir=here", "cache_dir=there")
    assert found.run_dir == Path("/somewhere/here")
    assert found.cache_dir == Path("/somewhere/there")


def test_cache_directory_can_be_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOMM_CACHE", str(tmp_path))
    assert default_cache() == tmp_path


def test_a_candidate_is_reproduced_by_its_overrides():
    asked = ["encoder/image=timm", "encoder.image.name=[convnet,timm]", "encoder.image.weights=null", "run.dir=x"]
    found = settings(*asked, "search=quick", "training.lr=[1e-4,1e-2]", "training.epochs=40")
    rng = np.random.default_rng(0)
    candidates = [found.space.defaults(), *(draw(found.space, rng) for _ in range(6))]
    assert "run.dir=x" not in found.overrides
    for candidate in candidates:
        words = [*found.overrides, *overrides(candidate)]
        again = to_settings(compose(words), Path("/elsewhere"), overrides=words)
        assert again.space.defaults() == candidate
        assert again.space.cardinality() == 1
        assert (again.search, again.training) == (found.search, found.training)


@pytest.mark.parametrize("search", presets.groups()["search"])
@pytest.mark.parametrize("task", presets.groups()["task"])
def test_every_budget_suits_every_task(task, search):
    assert to_settings(compose([f"+task={task}", f"search={search}"]), Path.cwd())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("search.trails=5", "Did you mean 'trials'"),
        ("++search.trails=5", "Did you mean 'trials'"),
        ("serach.trials=5", "Did you mean 'search'"),
        ("fuson=concat", "Did you mean 'fusion'"),
        ("fusion=flim", "Did you mean 'film'"),
        ("fusion=early", "fusion.name=early"),
        ("encoder/image=convnte", "Did you mean 'convnet'"),
        ("fusion.name=flim", "Did you mean 'film'"),
        ("fusion.name=[concat,flim]", "Did you mean 'film'"),
        ("fusion=[concat,film]", "fusion.name=[concat,film]"),
        ("encoder/image=[convnet,timm]", "encoder.image.name=[convnet,timm]"),
        ("search=[quick,default]", "-m search=quick,default"),
        ("fusion=concat,film", "put -m first"),
        ("encoder.image=timm", "encoder/image=timm"),
        ("encoder.image=[convnet,timm]", "encoder.image.name=[convnet,timm]"),
        ("encoder.imag.name=timm", "Did you mean 'image'"),
        ("fusion.options.film.blocs=2", "Did you mean 'blocks'"),
        ("fusion.options.film.blocks=99", "fusion.options.film.blocks=99 is not allowed: an integer from"),
        ("fusion.option.film.blocks=2", "fusion.option"),
        ("training.epoch=3", "training.epoch"),
        ("training.learning_rate=3", "training.learning_rate"),
        ("training.lr=fast", "training.lr=fast is not allowed: a number from"),
        ("training.precision=fp8", "training.precision=fp8 is not allowed: one of auto"),
        ("training.epochs=1", "none is smaller than the one before"),
        ("device=gpu", "device=gpu is not allowed: one of auto, cpu, cuda"),
        ("seed=-1", "seed=-1 is not allowed: an integer from 0 to 4294967295"),
        ("seed=0.5", "seed=0.5"),
        ("search.timeout=0", "or null"),
        (
            "task.metrics=[f1,auroc,acuracy]",
            "task.metrics=acuracy: no metric of that name is computed for task vqa. Did",
        ),
        ("task.metrics=rmse", "task.metrics=rmse: it reads numbers, and the targets of task vqa are classes or shares"),
        ("task.metrics={f1:2}", "a list of names"),
        ("search.objective=f1_marco", "search.objective=f1_marco"),
        ("search.objective=acuracy/relational", "Did you mean 'accuracy'"),
        ("search.direction=up", "one of maximize, minimize, or null"),
        ("data.train_imges=3", "Did you mean 'train_images'"),
        ("data.train_images=few", "it takes int, not str"),
        ("data=vqa_v3", "Did you mean 'vqa_v2'"),
        ("run.dri=x", "Did you mean 'dir'"),
        ("run.dir=null", "run.dir=None is no folder"),
        ("~search.trials", "search.trials is missing"),
        ("export.opset=12", "an integer from 18"),
        ("x==", "the override 'x==' cannot be read"),
        ("fusion.name=${nothing}", "nothing"),
    ],
)
def test_bad_overrides_are_answered_in_a_paragraph(asked, said):
    with pytest.raises(AutommError) as raised:
        settings(asked)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_task():
    with pytest.raises(ConfigError, match=r"automm \+task=vqa"):
        to_settings(compose(), Path.cwd())
    with pytest.raises(ConfigError, match=r"\+task="):
        compose(["task=vqa"])


def test_a_slip_is_answered_before_anything_is_imported(monkeypatch):
    monkeypatch.setattr(registry, "get", lambda kind, name: pytest.fail(f"{kind} {name} was imported"))
    with pytest.raises(ConfigError, match="eta"):
        settings("search.eta=1")
    with pytest.raises(ConfigError, match="film"):
        settings("fusion.name=flim")


def test_the_keys_scripts_rely_on(golden):
    """Renaming one breaks command lines."""
    of_components = ("data.", "encoder.", "fusion.options", "strategy.", "executor.", "task.")
    fixed = {"training.solver", "training.epochs", "training.patience", "training.precision", "training.threads",
             "training.refit_on_valid"}  # fmt: skip
    cfg = OmegaConf.to_container(compose(VQA), resolve=False)
    keys = [
        key
        for key in flat(cfg)
        if not key.startswith(of_components) and (key in fixed or not key.startswith("training."))
    ]
    golden("config_keys", "".join(f"{key}\n" for key in sorted(keys)))


def flat(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key
