"""What a table's preset makes of what a user says and leaves unsaid."""

import sys

import pytest
from strangers import lay_down

from automm import presets, registry
from automm.choices import build_space, for_modalities
from automm.config import compose, to_settings
from automm.errors import BrokenPlugin, ConfigError, OutOfRange, UnknownComponent
from automm.field_encoders import for_schema
from automm.space import pinned
from automm.types import FieldSpec, Schema

ASKED = ("+task=classification", "data.train=t.csv", "data.target=y")


def space(tmp_path, *more):
    asked = [*ASKED, *more]
    return to_settings(compose(asked), tmp_path, overrides=asked).space


@pytest.mark.parametrize(
    ("said", "image", "text"),
    [
        ([], ("convnet",), ("ngrams", "text_transformer")),
        (["encoder.text.weights=default"], ("convnet",), ("transformers",)),
        (["encoder.image.model=resnet18", "encoder.image.weights=null"], ("timm",), ("ngrams", "text_transformer")),
        (["encoder.text.options.transformers.model=some/model"], ("convnet",), ("transformers",)),
        (["encoder.image.name=[convnet,timm]"], ("convnet", "timm"), ("ngrams", "text_transformer")),
    ],
)
def test_pretrained_encoders_are_searched_where_weights_or_a_model_are_named(tmp_path, said, image, text):
    found = space(tmp_path, *said).params
    assert found["encoder.image.name"].choices == image
    assert found["encoder.text.name"].choices == text


def test_a_model_may_be_named_without_weights(tmp_path):
    asked = ["encoder.image.model=resnet18", "encoder.image.weights=null"]
    found = space(tmp_path, *asked).defaults()
    assert found["encoder.image.options.timm.weights"] is None
    assert found["encoder.image.options.timm.tune"] == "full"
    by_name = space(tmp_path, *asked, "encoder.image.name=timm").defaults()
    assert by_name["encoder.image.options.timm.tune"] == "full"
    kept = space(tmp_path, *asked, "encoder.image.tune=frozen").defaults()
    assert kept["encoder.image.options.timm.tune"] == "frozen"
    partly = space(tmp_path, *asked, "encoder.image.tune=[last_k,full]")
    assert dict(partly.paths())["encoder.image.options.timm.tune"].choices == ("last_k", "full")
    assert "encoder.image.options.timm.weights" not in space(tmp_path, "encoder.image.weights=null").defaults()


def test_what_is_said_to_all_encoders_goes_before_what_auto_says_of_one(tmp_path):
    timm = "encoder.image.options.timm"
    named = ("encoder.image.model=resnet18", "encoder.text.weights=default")
    plain = space(tmp_path, *named).defaults()
    assert (plain[f"{timm}.pooling"], plain[f"{timm}.tune"]) == ("layers", "frozen")
    asked = space(tmp_path, *named, "encoder.image.pooling=head", "encoder.image.tune=[frozen,last_k]")
    assert asked.defaults()[f"{timm}.pooling"] == "head"
    assert dict(asked.paths())[f"{timm}.tune"].choices == ("frozen", "last_k")
    assert asked.defaults()["encoder.text.options.transformers.pooling"] == "layers"


def test_what_a_column_says_of_one_encoder_stands_beside_what_its_modality_says_to_all(tmp_path):
    asked = [*ASKED, "encoder.text.weights=default", "encoder.text.pooling=cls"]
    asked += ["encoder.fields.title.options.transformers.pooling=mean"]
    fields = (FieldSpec("title", "text"), FieldSpec("body", "text"))
    found = to_settings(compose(asked), tmp_path, overrides=asked)
    chosen = for_schema(found.space, found.fields, Schema(fields)).defaults()
    assert chosen["encoder.text.options.transformers.pooling"] == "cls"
    assert chosen["encoder.fields.title.options.transformers.pooling"] == "mean"


def test_what_a_solver_does_not_go_with_is_no_choice_beside_it(tmp_path):
    solver = space(tmp_path).params["training.solver"]
    assert solver.children["closed_form"].params["fusion.name"].choices == ("concat",)
    assert "gated" in solver.children["gradient"].params["fusion.name"].choices
    only = space(tmp_path, "fusion=gated").params["training.solver"]
    assert only.choices == ("gradient",)
    with pytest.raises(ConfigError, match=r"closed_form does not go with fusion\.name=film"):
        space(tmp_path, "fusion=film", "training.solver=closed_form")


def test_weights_of_modalities_are_searched_where_there_are_several(tmp_path):
    def weights(*modalities):
        paths = {path for path, _ in for_modalities(space(tmp_path), modalities).paths()}
        return {path for path in paths if path.endswith("_weight")}

    assert weights("image", "text") == {"training.image_weight", "training.text_weight"}
    assert weights("text") == set()


@pytest.mark.skipif("encoder/audio" in presets.groups(), reason="automm-audio is installed in this environment")
@pytest.mark.parametrize("asked", ["encoder/audio=logmel", "+encoder/audio=logmel"])
def test_a_group_that_a_plugin_brings_names_it(asked):
    with pytest.raises(UnknownComponent, match="pip install automm-audio"):
        compose([*ASKED, asked])


def test_a_broken_encoder_that_a_preset_names_harms_nobody_without_its_modality(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    lay_down(tmp_path, "stranger_c", "[automm.encoder]\nodd = stranger_c:Part\n", {"stranger_c/__init__.py": "1 / 0"})
    registry.get.cache_clear()
    said = {"text": {"name": "ngrams"}, "audio": {"name": "auto", "scratch": ["odd"], "pretrained": ["odd"]}}
    found = build_space(said, {"name": "concat"}, {"solver": "closed_form"})
    assert "encoder.text.name" in found.params
    assert "encoder.audio.name" not in found.params
    assert "columns of audio cannot be read" in caplog.text
    with pytest.raises(BrokenPlugin, match=r"stranger_c"):
        build_space({**said, "audio": {"name": "odd"}}, {"name": "concat"}, {"solver": "closed_form"})
    registry.get.cache_clear()


def test_recipes_that_are_not_searched_are_pinned_or_listed(tmp_path):
    found = dict(space(tmp_path, "training.class_weights=balanced", "training.mixup=[0.0,0.4]").paths())
    assert found["training.class_weights"].choices == ("balanced",)
    assert found["training.mixup"].choices == (0.0, 0.4)
    assert "training.focal_gamma" not in found
    with pytest.raises(OutOfRange, match=r"training\.class_weights=even is not allowed: it takes Literal"):
        space(tmp_path, "training.class_weights=even")


def test_pairs_are_kept_whole(tmp_path):
    asked = ["+task=retrieval", "data.train=t.csv"]
    searched = dict(for_modalities(to_settings(compose(asked), tmp_path).space, ("image", "text")).paths())
    assert "training.lr" in searched
    assert searched["training.modality_dropout"] == pinned(0.0)


def test_changing_images_is_for_images(tmp_path):
    asked = space(tmp_path, "training.augment=[none,trivial]")
    assert dict(for_modalities(asked, ("image", "text")).paths())["training.augment"].choices == ("none", "trivial")
    assert "training.augment" not in dict(for_modalities(asked, ("text",)).paths())


@pytest.mark.parametrize(
    ("said", "choices", "ladder"),
    [
        (["weights=default"], ("frozen", "last_k", "full"), True),
        (["weights=null"], ("full",), True),  # what is random and stays so is no encoder
        (["weights=null", "tune=[frozen,full]"], ("frozen", "full"), False),  # unless that is what is asked for
        (["weights=null", "last_k=2"], ("frozen", "last_k", "full"), False),
    ],
)
def test_a_tower_of_random_weights_is_trained(tmp_path, said, choices, ladder):
    asked = ["encoder/image=timm", *(f"encoder.image.options.timm.{each}" for each in said)]
    tune = dict(space(tmp_path, *asked).paths())["encoder.image.options.timm.tune"]
    assert tune.choices == choices
    assert tune.ladder is ladder or len(choices) == 1


def test_losing_fields_is_searched_where_there_are_several(tmp_path):
    def found(*modalities, said=()):
        return dict(for_modalities(space(tmp_path, *said), modalities).paths()).get("training.modality_dropout")

    assert found("image", "text").choices == found("numeric", "numeric").choices == (0.0, 0.2)
    assert found("text") is None
    assert found("image", "text", said=["training.modality_dropout=0.5"]).choices == (0.5,)
    assert found("image", "text", said=["training.solver=closed_form"]) is None
