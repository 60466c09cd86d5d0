import dataclasses
import socket

import pytest
import torch
from cases import build
from safetensors.torch import save_file

from automm.encoders.weights import Weights, load_state, loading, parse_weights
from automm.errors import ConfigError
from automm.offline import offline


def test_the_five_forms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.bin").touch()
    assert parse_weights(None) == Weights("none")
    assert parse_weights("default") == Weights("default")
    assert parse_weights("hf-hub:org/name") == Weights("hf-hub", "org/name")
    assert parse_weights(f"local-dir:{tmp_path}") == Weights("local-dir", str(tmp_path))
    assert parse_weights("file:file.bin") == Weights("file", str(tmp_path / "file.bin"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse_weights(None).ref = "x"


def test_a_field_prints_as_it_is_written(tmp_path):
    for text in ("default", "hf-hub:org/name", f"local-dir:{tmp_path}"):
        assert str(parse_weights(text)) == text
    assert str(parse_weights(None)) == "null"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("none", "Did you mean null"),
        ("defautl", "Did you mean 'default'"),
        ("org/name", "Did you mean hf-hub:org/name"),
        ("hf-hub:name", "followed by org/name"),
        ("hf_hub:org/name", "Did you mean 'hf-hub'"),
        ("local-dir:/no/such/folder", "there is no folder /no/such/folder"),
        ("file:/no/such/file.bin", "there is no file /no/such/file.bin"),
        ("https://host/file.bin", "The forms: null, default"),
    ],
)
def test_what_is_no_form_is_refused_with_the_near_miss(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_weights(text)


def test_a_bare_path_is_advised(tmp_path):
    with pytest.raises(ConfigError, match=f"Did you mean local-dir:{tmp_path}"):
        parse_weights(str(tmp_path))


def test_only_loading_errors_are_turned():
    says = "the thing cannot be loaded from weights=default: no such file"
    with pytest.raises(ConfigError, match=says) as caught, loading("the thing", Weights("default")):
        raise ValueError("no such\n file")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ZeroDivisionError), loading("the thing", Weights("default")):
        1 / 0  # noqa: B018


def test_states_are_read_from_both_formats(tmp_path):
    state = {"a.weight": torch.arange(3.0)}
    save_file(state, tmp_path / "state.safetensors")
    torch.save(state, tmp_path / "state.bin")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "nested.bin")
    for file in ("state.safetensors", "state.bin", "nested.bin"):
        assert load_state(tmp_path / file)["a.weight"].tolist() == [0, 1, 2]


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to reach a host fails the test, whatever the library makes of it."""
    attempts = []

    def refuse(*args, **_):
        attempts.append(args)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    yield attempts
    assert not attempts


def test_null_does_no_network_io(tiny_bert, no_network):
    build("timm", "image", model="test_vit", weights=None, image_size=32)
    build("transformers", "text", model=str(tiny_bert), weights=None)
    build("open_clip_image", "image", model="roberta-ViT-B-32", weights=None, image_size=32)
    assert no_network == []  # no host was tried


@pytest.mark.usefixtures("no_network")
def test_null_with_a_name_of_the_hub_says_what_to_do():
    with pytest.raises(ConfigError, match="null does no network I/O"):
        build("transformers", "text", model="nobody/has-this-model", weights=None)
    with pytest.raises(ConfigError, match="null does no network I/O"):
        build("open_clip_text", "text", model="roberta-ViT-B-32", weights=None)


@pytest.mark.parametrize(
    ("name", "modality", "options"),
    [
        ("timm", "image", {"model": "test_vit"}),
        ("timm", "image", {"weights": "hf-hub:nobody/has-this-model"}),
        ("transformers", "text", {"model": "nobody/has-this-model"}),
        ("open_clip_image", "image", {"weights": "hf-hub:nobody/has-this-model"}),
    ],
)
def test_offline_the_error_names_what_is_missing(name, modality, options, tmp_path, monkeypatch):
    assert offline()  # tests/conftest.py
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))  # whatever this machine has cached
    with pytest.raises(ConfigError, match="not in the local hub cache, and HF_HUB_OFFLINE forbids") as caught:
        build(name, modality, **options)
    assert "has-this-model" in str(caught.value) or "test_vit" in str(caught.value)
