"""`encoder.fields.*`: one column's own encoder, from the command line to what is searched for a table."""

import re
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from automm.config import compose, to_settings
from automm.errors import AutommError, ConfigError, UnknownKey
from automm.field_encoders import for_schema
from automm.hydra_names import respelt, spelt
from automm.paths import field_of, of_field, segment, segments, unquoted
from automm.search.strategies.random import draw
from automm.sections import settings_of
from automm.space import literal, overrides
from automm.types import FieldSpec, Schema

ASKED = ("+task=classification", "data.train=t.csv", "data.target=y")
SHOP = {"title": "text", "body": "text", "photo": "image", "photo2": "image"}
ODD = ("unit price", "a.b", "a=b", 'say "x"', "back\\slash", "größe", "2020", "", "image", "fields", "quoted__x")


def composed(tmp_path, *more):
    asked = [*ASKED, *more]
    return to_settings(compose(asked), tmp_path, overrides=asked)


@cache
def base():
    return OmegaConf.to_container(compose(ASKED), resolve=True)


def settings(tmp_path, *more):
    """What `composed` gives for plain words, without composing each time."""
    tree = deepcopy(base())
    for path, _, value in (word.partition("=") for word in more):
        *above, last = map(unquoted, segments(path))
        at = tree
        for part in above:
            at[part] = at.get(part) or {}
            at = at[part]
        at[last] = yaml.safe_load(value)
    return settings_of(tree, tmp_path)


def of_table(found, columns=SHOP):
    schema = Schema(tuple(FieldSpec(name, modality) for name, modality in columns.items()))
    return for_schema(found.space, found.fields, schema)


def space(tmp_path, *more, columns=SHOP):
    return of_table(settings(tmp_path, *more), columns)


def test_nothing_said_is_every_column_by_its_modality(tmp_path):
    paths = [path for path, _ in space(tmp_path).paths() if path.startswith("encoder.")]
    assert {path.split(".")[1] for path in paths} == {"text", "image"}


def test_a_column_is_searched_by_itself_and_the_others_share(tmp_path):
    found = space(tmp_path, "encoder.fields.title.name=[ngrams,text_transformer]", "encoder.text.name=ngrams").params
    assert found["encoder.fields.title.name"].choices == ("ngrams", "text_transformer")
    assert found["encoder.text.name"].choices == ("ngrams",)
    assert "encoder.fields.body.name" not in found
    assert list(found)[:3] == ["encoder.image.name", "encoder.text.name", "encoder.fields.title.name"]


def test_an_empty_section_is_the_modalitys_choice_made_anew(tmp_path):
    found = dict(space(tmp_path, "encoder.fields.photo2={}").paths())
    for path, param in found.items():
        if path.startswith("encoder.image.options.") or path == "encoder.image.name":
            own = found[path.replace("encoder.image", "encoder.fields.photo2")]
            assert getattr(own, "choices", own) == getattr(param, "choices", param)


def test_a_modality_that_no_column_goes_by_is_not_searched(tmp_path):
    found = space(tmp_path, "encoder.fields.photo.name=convnet", "encoder.fields.photo2.name=convnet").params
    assert "encoder.image.name" not in found
    assert "encoder.text.name" in found
    weights = {path for path, _ in space(tmp_path, "encoder.fields.photo={}").paths() if path.endswith("_weight")}
    assert weights == {"training.image_weight", "training.text_weight"}


def test_what_a_column_leaves_unsaid_is_its_modalitys(tmp_path):
    defaults = space(
        tmp_path,
        "encoder.text.weights=local-dir:bert",
        "encoder.fields.title.options.transformers.tune=last_k",
        "encoder.fields.body.max_length=16",
    ).defaults()
    of = "options.transformers"
    assert defaults[f"encoder.fields.title.{of}.weights"] == "local-dir:bert"
    assert defaults[f"encoder.fields.title.{of}.tune"] == "last_k"
    assert defaults[f"encoder.fields.title.{of}.last_k"] == 1
    assert defaults[f"encoder.fields.body.{of}.tune"] == "frozen"
    assert defaults[f"encoder.fields.body.{of}.max_length"] == 16


def test_weights_of_a_column_choose_its_pretrained_encoders_alone(tmp_path):
    said = ("encoder.fields.photo2.model=resnet18", "encoder.fields.photo2.weights=file:w")
    found = space(tmp_path, *said, "encoder.fields.body.scratch=[text_transformer]")
    defaults = found.defaults()
    assert found.params["encoder.fields.body.name"].choices == ("text_transformer",)
    assert found.params["encoder.text.name"].choices == ("ngrams", "text_transformer")
    assert defaults["encoder.image.name"] == "convnet"
    assert defaults["encoder.fields.photo2.name"] == "timm"
    assert defaults["encoder.fields.photo2.options.timm.model"] == "resnet18"
    assert defaults["encoder.fields.photo2.options.timm.weights"] == "file:w"
    assert defaults["encoder.fields.photo2.options.timm.tune"] == "frozen"


@pytest.mark.parametrize(("said", "weights"), [("default", "default"), ("null", None)])
def test_a_column_may_take_back_what_its_modality_says(tmp_path, said, weights):
    asked = ("encoder.image.name=timm", "encoder.image.weights=file:w", f"encoder.fields.photo2.weights={said}")
    defaults = space(tmp_path, *asked).defaults()
    assert defaults["encoder.image.options.timm.weights"] == "file:w"
    assert defaults["encoder.fields.photo2.options.timm.weights"] == weights


def test_a_shared_option_of_a_column_wins_over_a_named_one_of_its_modality(tmp_path):
    asked = ("encoder.image.model=resnet18", "encoder.image.options.timm.tune=last_k")
    more = ("encoder.image.options.timm.last_k=2", "encoder.fields.photo2.tune=frozen")
    defaults = space(tmp_path, *asked, *more).defaults()
    assert defaults["encoder.image.options.timm.last_k"] == 2
    assert defaults["encoder.fields.photo2.options.timm.tune"] == "frozen"
    assert "encoder.fields.photo2.options.timm.last_k" not in defaults


def test_what_is_decided_for_a_table_stays_decided(tmp_path):
    found = space(tmp_path, "encoder.fields.title.name=ngrams").narrow("encoder.fields.title.options.ngrams.width", 512)
    schema = Schema(tuple(FieldSpec(name, modality) for name, modality in SHOP.items()))
    assert for_schema(found, {}, schema) == found


def test_null_takes_a_section_back(tmp_path):
    assert composed(tmp_path, "encoder.fields.title.name=ngrams", "encoder.fields.title=null").fields == {}


def test_a_column_may_be_called_anything(tmp_path):
    asked = [f"{of_field(name)}.options.ngrams.width={512 * 2 ** (at % 4)}" for at, name in enumerate(ODD)]
    asked += [f"data.columns.{segment(name)}=text" for name in ODD] + ['data.columns."title"=text']
    found = composed(tmp_path, *asked)
    assert list(found.fields) == list(ODD)
    assert found.data.options["columns"] == dict.fromkeys((*ODD, "title"), "text")
    decided = of_table(found, dict.fromkeys(ODD, "text")).defaults()
    for at, name in enumerate(ODD):
        assert decided[f"{of_field(name)}.options.ngrams.width"] == 512 * 2 ** (at % 4)
    assert {field_of(path) for path in decided if path.startswith("encoder.fields.")} == set(ODD)
    words = [*found.overrides, *overrides(decided)]
    again = to_settings(compose(words), tmp_path, overrides=words)
    assert again.data == found.data
    assert of_table(again, dict.fromkeys(ODD, "text")).defaults() == decided


@pytest.mark.parametrize("name", ODD)
def test_hydra_can_read_any_name_and_gives_it_back(name):
    word = f'{of_field(name)}.options.ngrams.width=[512,"a=b"]'
    assert re.fullmatch(r'encoder\.fields\.\w+\.options\.ngrams\.width=\[512,"a=b"\]', spelt(word), re.ASCII)
    assert respelt(spelt(word)) == word
    assert segments(word.partition(".options")[0]) == ["encoder", "fields", segment(name)]


def test_columns_with_names_alike_are_told_apart(tmp_path):
    asked = ("encoder.fields.a.name=ngrams", 'encoder.fields."a.name".name=text_transformer')
    columns = {"a": "text", "a.name": "text", "name": "text"}
    defaults = space(tmp_path, *asked, columns=columns).defaults()
    assert defaults["encoder.fields.a.name"] == "ngrams"
    assert defaults['encoder.fields."a.name".name'] == "text_transformer"


def test_overrides_reproduce_a_candidate_of_columns(tmp_path):
    asked = (
        "encoder.text.weights=local-dir:bert",
        "encoder.text.options.transformers.tune=[frozen,last_k,full]",
        "encoder.fields.title.name=[ngrams,transformers]",
        f'encoder.fields."photo 2".model={literal("a model")}',
        'encoder.fields."photo 2".options.timm.tune=[frozen,last_k]',
        "encoder.fields.photo.name=[convnet,timm]",
    )
    columns = {"title": "text", "body": "text", "photo": "image", "photo 2": "image", "other": "image"}
    found = composed(tmp_path, *asked)
    wanted = of_table(found, columns)
    rng = np.random.default_rng(0)
    for candidate in [wanted.defaults(), *(draw(wanted, rng) for _ in range(4))]:
        words = [*found.overrides, *overrides(candidate)]
        again = of_table(to_settings(compose(words), tmp_path, overrides=words), columns)
        decided = again.defaults()
        left = {path: value for path, value in candidate.items() if path not in decided}
        assert {**left, **decided} == candidate
        assert left in ({}, {"training.modality_dropout": 0.0}), "what repeats a declared default says nothing"
        assert again.cardinality() == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("encoder.fields.title.name=ngrms", "encoder.fields.title.name=ngrms: no encoder of that name"),
        ("encoder.fields.title.name=[ngrams,ngrms]", "Did you mean 'ngrams'"),
        ("encoder.fields.title.name=[ngrams,timm]", "that encoder reads"),
        ("encoder.fields.title.name=[]", "names no encoder"),
        ("encoder.fields.title.options.ngrms.width=512", "Did you mean 'ngrams'"),
        ("encoder.fields.title.options.ngrams.widht=512", "Did you mean 'width'"),
        ("encoder.fields.title.options.ngrams.width=3", "encoder.fields.title.options.ngrams.width=3 is not allowed"),
        ("encoder.fields.title.options.transformers.tune=full", "Next: encoder.fields.title.name=transformers"),
        ("encoder.fields.title.moddel=x", "encoder.fields.title.moddel: none of the candidates"),
        ("encoder.fields.title=ngrams", "Next: encoder.fields.title.name=ngrams"),
        ("encoder.fields.title.options=3", "encoder.fields.title.options=3 is not allowed"),
        ("encoder.fields.title.options.ngrams=3", "encoder.fields.title.options.ngrams=3 is not allowed"),
        ("encoder.fields.a.b.name=ngrams", 'Next: encoder.fields."a.b", where a.b is the column'),
        ("encoder.field.title.name=ngrams", "Did you mean 'fields'"),
    ],
)
def test_what_cannot_be_is_refused_before_data_is_read(tmp_path, asked, said):
    with pytest.raises(AutommError) as raised:
        settings(tmp_path, asked)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("encoder.fields.unit price.name=ngrams", "'encoder.fields.\"a b\"...'"),
        ('encoder.fields."unit price.name=ngrams', "'encoder.fields.\"a b\"...'"),
        ('encoder.fields."a\\q c".name=x', 'write a quote in a name as \\" and'),
        ("encoder.fields=ngrams", "Next: encoder.fields.COLUMN.name=ngrams"),
    ],
)
def test_words_that_cannot_be_read_say_how_to_quote(tmp_path, asked, said):
    with pytest.raises(ConfigError) as raised:
        composed(tmp_path, asked)
    assert said in str(raised.value)


def test_an_unknown_column_is_named_with_the_near_miss(tmp_path):
    with pytest.raises(UnknownKey, match=r"encoder\.fields\.titel: .* Did you mean 'title'"):
        space(tmp_path, "encoder.fields.titel.name=ngrams")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("photo.name=ngrams", "'photo' is image. encoder.fields.photo.name=ngrams: that encoder reads text, not image"),
        ("photo.options.ngrams.width=512", "encoder.fields.photo.options.ngrams: that encoder reads text, not image"),
        ("title.coordinates=true", "encoder.fields.title.coordinates: none of the candidates"),
    ],
)
def test_a_section_for_another_modality_is_refused_once_the_column_is_known(tmp_path, asked, said):
    with pytest.raises(ConfigError) as raised:
        space(tmp_path, f"encoder.fields.{asked}")
    assert said in str(raised.value)
