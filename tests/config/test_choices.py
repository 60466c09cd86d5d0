"""The pin and narrow rule, on components of this session."""

import pytest

from automm import registry
from automm.choices import build_space, component
from automm.errors import ConfigError, OutOfRange, UnknownComponent, UnknownKey
from automm.space import Float, Int, OneOf, Space, is_pinned, pinned


class Tower:
    """An image encoder."""

    API = 1
    MODALITIES = ("image",)
    SPACE = Space({"depth": Int(1, 8, default=3), "norm": OneOf((None, "layer", "group"), default="layer")})

    def __init__(
        self, field, preprocess, *, depth: "int" = 3, norm: "str | None" = "layer", weights: "str | None" = "default",
        crop: "bool" = False,
    ): ...  # fmt: skip


class Words:
    """A text encoder."""

    API = 1
    MODALITIES = ("text",)

    def __init__(self, field, preprocess, *, weights: "str | None" = None): ...


class Join:
    """A fusion."""

    API = 1
    SPACE = Space({"rate": Float(0.0, 0.5, default=0.1)})

    def __init__(self, specs, *, rate: "float" = 0.1, heads: "int" = 4): ...


class Descent:
    """A solver."""

    API = 1
    SPACE = Space({"lr": Float(1e-5, 1e-1, log=True, default=1e-3)})

    def __init__(self, *, lr: "float" = 1e-3, clip: "float | None" = 1.0):
        if clip is not None and clip <= 0:
            raise OutOfRange(f"training.clip={clip} is not allowed: above 0, or null.")


class Ridge:
    """A solver."""

    API = 1
    SPACE = Space({"alpha": Float(1e-3, 1e3, log=True)})

    def __init__(self, *, alpha: "float" = 1.0): ...


class Source:
    """A data source."""

    API = 1

    def __init__(self, *, path: "str", rows: "int | None" = None, on_error: "Literal['fail', 'skip']" = "fail"): ...  # noqa: F821


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    monkeypatch.setattr(registry, "_session", {})
    registry.get.cache_clear()
    kinds = {Tower: "encoder", Words: "encoder", Join: "fusion", Descent: "solver", Ridge: "solver", Source: "data"}
    for factory, kind in kinds.items():
        registry.register(kind, f"my_{factory.__name__.lower()}")(factory)
    yield
    registry.get.cache_clear()


def space(image=None, options=None, fusion=None, training=None, **top):
    return build_space(
        {"image": {"name": "my_tower" if image is None else image, "options": {"my_tower": options or {}}, **top}},
        {"name": "my_join", **(fusion or {})},
        {"solver": "my_descent", **(training or {})},
    )


def at(found, path):
    return dict(found.paths()).get(path)


DEPTH = "encoder.image.options.my_tower.depth"
WEIGHTS = "encoder.image.options.my_tower.weights"


def test_null_leaves_what_the_code_declares():
    assert at(space(options={"depth": None}), DEPTH) == Int(1, 8, default=3)
    assert at(space(training={"lr": None}), "training.lr") == Descent.SPACE.params["lr"]


def test_null_pins_where_none_is_legal():
    found = space(options={"norm": None, "weights": None})
    assert at(found, "encoder.image.options.my_tower.norm") == pinned(None)
    assert at(found, WEIGHTS) == pinned(None)


def test_scalar_pins_and_list_narrows():
    assert at(space(options={"depth": 5}), DEPTH) == pinned(5)
    assert at(space(options={"depth": [2, 4]}), DEPTH) == Int(2, 4, default=3)
    assert at(space(options={"norm": ["layer", "group"]}), "encoder.image.options.my_tower.norm").choices == (
        "layer",
        "group",
    )


def test_option_outside_the_space_is_pinned_or_listed():
    assert at(space(fusion={"options": {"my_join": {"heads": 8}}}), "fusion.options.my_join.heads") == pinned(8)
    found = at(space(fusion={"options": {"my_join": {"heads": [2, 8]}}}), "fusion.options.my_join.heads")
    assert found.choices == (2, 8)


@pytest.mark.parametrize("said", [-1.0, [0.5, -1.0]])
def test_a_solver_judges_values_outside_its_space_before_any_work(said):
    assert at(space(training={"clip": [0.5, None]}), "training.clip").choices == (0.5, None)
    with pytest.raises(OutOfRange, match=r"training.clip=-1.0 is not allowed: above 0, or null"):
        space(training={"clip": said})


def test_declared_default_says_nothing_so_that_a_shared_option_wins():
    found = space(options={"weights": "default"}, weights="file:w")
    assert at(found, WEIGHTS) == pinned("file:w")


def test_a_default_that_no_preset_need_spell_out_is_part_of_the_candidate():
    declared = registry.get("fusion", "my_join").options["heads"].default
    found = space(fusion={"options": {"my_join": {"heads": declared}}}).defaults()
    assert found["fusion.options.my_join.heads"] == declared


def test_own_option_wins_over_a_shared_one():
    assert at(space(options={"weights": "file:own"}, weights="file:w"), WEIGHTS) == pinned("file:own")


def test_names_pin_and_narrow():
    assert is_pinned(at(space(), "training.solver"))
    both = space(training={"solver": ["my_descent", "my_ridge"], "lr": 0.01, "alpha": [1.0, 2.0]})
    assert at(both, "training.solver").choices == ("my_descent", "my_ridge")
    assert both.defaults()["training.lr"] == 0.01
    assert at(both, "training.alpha") == Float(1.0, 2.0, log=True)


def test_preset_of_one_solver_serves_another():
    found = space(training={"solver": "my_ridge", "clip": 1.0, "lr": None})
    assert "training.lr" not in dict(found.paths())


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"options": {"depht": 3}}, UnknownKey, "Did you mean 'depth'"),
        ({"options": {"depth": 9}}, OutOfRange, "an integer from 1 to 8"),
        ({"options": {"depth": 2.5}}, OutOfRange, "an integer from 1 to 8"),
        ({"options": {"depth": []}}, OutOfRange, "nothing to choose"),
        ({"options": {"crop": "yes please"}}, OutOfRange, "crop=yes please is not allowed: it takes bool"),
        ({"options": {"crop": {"a": 1}}}, OutOfRange, "a scalar pins it"),
        ({"tune": "full"}, UnknownKey, "encoder.image.tune: none of the candidates (my_tower) takes it"),
        ({"image": "my_words"}, ConfigError, "reads text, not image"),
        ({"image": "my_towr"}, UnknownComponent, "Did you mean 'my_tower'"),
        ({"image": []}, ConfigError, "names no encoder"),
        ({"training": {"learning_rate": 1}}, UnknownKey, "training.learning_rate"),
        ({"training": {"lr": True}}, OutOfRange, "training.lr=True"),
        ({"fusion": {"options": {"my_jion": {}}}}, UnknownKey, "Did you mean 'my_join'"),
        ({"fusion": {"options": {"my_join": {"heads": 2.5}}}}, OutOfRange, "it takes int, not float"),
    ],
)
def test_what_cannot_be_is_refused_with_what_could(given, error, said):
    with pytest.raises(error) as raised:
        space(**given)
    assert said in str(raised.value)


def test_unknown_modality():
    with pytest.raises(UnknownKey, match="Did you mean 'image'"):
        build_space({"imag": {"name": "my_tower"}}, {"name": "my_join"}, {"solver": "my_descent"})


def test_all_is_everything_usable_once():
    registry.register("solver", "my_alias")(Ridge)
    found = space(training={"solver": "all"})
    assert {"my_alias", "my_descent"} <= set(at(found, "training.solver").choices)
    assert "my_ridge" not in at(found, "training.solver").choices


def test_single_component():
    found = component("data", "data", {"name": "my_source", "path": "t.csv", "rows": None})
    assert found.options == {"path": "t.csv", "rows": None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": None}, "needs path, which nothing gives. Next: add data.path=..."),
        ({"path": "t", "row": 3}, "Did you mean 'rows'"),
        ({"path": "t", "rows": "many"}, "it takes int | None, not str"),
        ({"path": "t", "on_error": "ignore"}, "Literal['fail', 'skip']"),
    ],
)
def test_single_component_refuses(given, said):
    with pytest.raises(ConfigError) as raised:
        component("data", "data", {"name": "my_source", **given})
    assert said in str(raised.value)
