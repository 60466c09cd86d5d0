"""Where pretrained weights come from: one field, the same for timm, open_clip and transformers.

weights: null | default | hf-hub:org/name | local-dir:/path | file:/path
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import load_file

from automm.errors import ConfigError, near_miss
from automm.offline import offline

Source = Literal["none", "default", "hf-hub", "local-dir", "file"]
_FORMS = "null, default, hf-hub:org/name, local-dir:/path, file:/path"
_PREFIXES = ("hf-hub", "local-dir", "file")


@dataclass(frozen=True)
class Weights:
    """A parsed `weights` field. `none`: random initialisation, no network; `default`: what the model's name says."""

    source: Source
    ref: str = ""  # org/name of the hub, or an absolute path

    def __str__(self) -> str:
        if self.source == "none":
            return "null"
        return f"{self.source}:{self.ref}" if self.ref else self.source

    @property
    def own_config(self) -> bool:
        """Whether they bring their model's configuration (and tokenizer) along."""
        return self.source in ("hf-hub", "local-dir")

    @property
    def path(self) -> Path:
        """The folder or file of `local-dir` and `file`."""
        return Path(self.ref)


def parse_weights(text: str | None) -> Weights:
    """The `weights` field; a relative path is taken from the current directory.

    Raises:
        ConfigError: it has none of the five forms, or its path does not exist.
    """
    if text is None:
        return Weights("none")
    if text == "default":
        return Weights("default")
    prefix, colon, ref = text.partition(":")
    if not colon or prefix not in _PREFIXES or not ref:
        raise ConfigError(f"weights={text} is not understood. {_guess(text, prefix)}")
    if prefix == "hf-hub":
        if ref.count("/") != 1 or not all(ref.split("/")):
            raise ConfigError(f"weights={text} is not understood: hf-hub: is followed by org/name.")
        return Weights("hf-hub", ref)
    path = Path(ref).expanduser().absolute()
    if not (path.is_dir() if prefix == "local-dir" else path.is_file()):
        kind = "folder" if prefix == "local-dir" else "file"
        raise ConfigError(f"weights={text}: there is no {kind} {path}. Next: check the path, and where you stand.")
    return Weights(cast("Source", prefix), str(path))


def content(weights: Weights) -> str | None:
    """A name that changes when what the weights hold does: of files their digest, of a hub's repository its revision.

    None where that cannot be told: random weights, and those that only a library knows by the model's name.
    """
    if weights.source == "hf-hub":
        return revision(weights.ref)
    if weights.source == "file":
        return _digest((weights.path,))
    if weights.source == "local-dir":
        return _digest(sorted(path for path in weights.path.rglob("*") if path.is_file()))
    return None


def revision(repository: str) -> str:
    """The commit of a hub's repository that is in the local cache, or else the one the hub has now.

    Raises:
        ConfigError: neither can be had.
    """
    from huggingface_hub.constants import HF_HUB_CACHE  # half a second, of which local weights have no need

    noted = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "refs" / "main"
    if noted.is_file():
        return noted.read_text(encoding="utf-8").strip()
    with loading(repository, Weights("hf-hub", repository)):
        from huggingface_hub import HfApi

        return str(HfApi().model_info(repository).sha)


def _digest(paths: Sequence[Path]) -> str:
    stamps = ((path, path.stat()) for path in paths)
    digests = [_of_file(path, stat.st_size, stat.st_mtime_ns) for path, stat in stamps]
    return hashlib.blake2b("\n".join(digests).encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=1024)
def _of_file(path: Path, size: int, changed: int) -> str:
    """The digest of a file, read once as long as its size and time stamp are these."""
    with path.open("rb") as stream:
        return f"{path.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}"


@contextmanager
def loading(what: str, weights: Weights) -> Iterator[None]:
    """Turn whatever a library raises while it loads `what` from `weights` into one error with a next step.

    Raises:
        ConfigError: the weights, their configuration or their tokenizer could not be loaded; the cause is chained.
    """
    try:
        yield
    except ConfigError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AssertionError, LookupError) as error:
        raise ConfigError(f"{what} cannot be loaded from weights={weights}: {_reason(error, weights)}") from error


def on_this_machine(name: str) -> Path:
    """The folder of a model's configuration and tokenizer: `name` itself, or the local hub cache's; asks no network.

    Raises:
        ConfigError: there is none.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    try:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, "config.json")
    except ValueError:  # no name the hub could know
        cached = None
    if isinstance(cached, str):
        return Path(cached).parent
    raise ConfigError(
        f"weights=null does no network I/O, and {name!r} is neither a folder nor in the local hub cache. "
        "Next: weights=default, or the model's folder."
    )


def load_state(path: Path) -> dict[str, Any]:
    """The tensors of a `.safetensors` file, or of one that torch wrote; nothing in it is executed."""
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    return dict(state.get("state_dict", state))


def _guess(text: str, prefix: str) -> str:
    if text.lower() in ("none", "null", ""):
        return "Did you mean null (no quotes), random initialisation?"
    if Path(text).expanduser().exists():
        return f"Did you mean {'local-dir' if Path(text).is_dir() else 'file'}:{text}?"
    if text.count("/") == 1 and ":" not in text:
        return f"Did you mean hf-hub:{text}? The forms: {_FORMS}."
    return f"{near_miss(prefix, ['default', *_PREFIXES])} The forms: {_FORMS}."


def _reason(error: Exception, weights: Weights) -> str:
    if isinstance(error, OSError) and weights.source in ("default", "hf-hub") and (forbids := offline()):
        return (
            f"it is not in the local hub cache, and {forbids} forbids to download it. Next: run once without "
            f"{forbids}, or copy the files here and use weights=local-dir:/path, or weights=null (random)."
        )
    said = " ".join(str(error).split())[:300] or type(error).__name__
    return f"{said} Next: {_NEXT[weights.source]}."


_NEXT: dict[Source, str] = {
    "none": "weights=default, or a model whose configuration is a local folder; null does no network I/O",
    "default": "check the name and the network, or use weights=local-dir:/path, or weights=null (random)",
    "hf-hub": "check the name and the network, or use weights=local-dir:/path, or weights=null (random)",
    "local-dir": "check that the folder holds this kind of model's configuration and weights",
    "file": "check that the file holds this model's weights",
}
