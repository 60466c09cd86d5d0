"""Where components come from: entry points of installed distributions, ours and strangers' alike.

Nothing is imported until one component is asked for. `status` says what would happen without raising.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from automm.errors import (
    BrokenPlugin,
    ConfigError,
    MissingExtra,
    PluginConflict,
    PluginError,
    UnknownComponent,
    UnknownKey,
    near_miss,
)
from automm.space import Space
from automm.types import Targets

API = 1
KINDS = ("encoder", "fusion", "task", "data", "strategy", "executor", "solver", "metric")
REQUIRED = inspect.Parameter.empty

# Packages that an extra brings, by the name they are imported by: what misses one is not broken.
_EXTRA_OF = {
    "torch": "train", "torchvision": "train", "timm": "train", "transformers": "train", "open_clip": "train",
    "nevergrad": "train", "lightning_fabric": "train", "onnx": "train", "onnxscript": "train", "safetensors": "train",
    "sklearn": "train", "scipy": "train", "sqlalchemy": "train", "plotly": "train", "pyarrow": "train", "rich": "train",
    "huggingface_hub": "train", "torchmetrics": "train", "soundfile": "audio",
    "datasets": "datasets",
}  # fmt: skip

# Modalities whose encoders a distribution of its own brings.
BROUGHT_BY = {"audio": "automm-audio"}

Health = Literal["ready", "needs an extra", "broken", "API too old", "conflict"]
T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """One keyword option of a component: its signature is its configuration schema."""

    name: str
    annotation: str
    default: Any  # REQUIRED when it has none


@dataclass(frozen=True)
class Component:
    """A named, verified factory."""

    kind: str
    name: str
    origin: str  # the distribution, or "this session" for the decorator
    version: str
    factory: Any

    @property
    def space(self) -> Space:
        """What may be searched, with local names (`blocks`, not `fusion.options.film.blocks`)."""
        return getattr(self.factory, "SPACE", Space())

    @property
    def options(self) -> dict[str, Option]:
        """The keyword-only parameters of the factory, by name."""
        signature = inspect.signature(self.factory)
        return {
            p.name: Option(p.name, str(p.annotation), p.default)
            for p in signature.parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        }

    @property
    def doc(self) -> str:
        """The docstring, clean."""
        return inspect.getdoc(self.factory) or ""

    def check_options(self, given: dict[str, Any]) -> None:
        """Raise UnknownKey for an option this component does not take."""
        for key in given:
            if key not in self.options:
                raise UnknownKey(f"{self.kind} {self.name!r} has no option {key!r}. {near_miss(key, self.options)}")


@dataclass(frozen=True)
class Listing:
    """One row of `automm plugins`."""

    kind: str
    name: str
    origin: str
    version: str
    health: Health
    detail: str


_session: dict[tuple[str, str], Any] = {}


def register(kind: str, name: str) -> Callable[[T], T]:
    """Decorator for notebooks and tests; packages use entry points.

    Raises:
        ConfigError: no such kind.
        BrokenPlugin: a metric that does not say what it is.
    """
    if kind not in KINDS:
        raise ConfigError(f"no kind of component named {kind!r}. {near_miss(kind, KINDS)}")

    def add(factory: T) -> T:
        if kind == "metric":
            _verify(Component(kind, name, "this session", "", factory))
        _session[kind, name] = factory
        get.cache_clear()
        return factory

    return add


def in_session() -> bool:
    """Whether any component was registered by the decorator: no other process knows those."""
    return bool(_session)


def names(kind: str) -> list[str]:
    """Every installed name of a kind, sorted; loads nothing."""
    session = {n for k, n in _session if k == kind}
    return sorted(session | {e.name for e in _entries(kind)})


@cache
def get(kind: str, name: str) -> Component:
    """The component, imported and verified.

    Raises:
        UnknownComponent: nothing of that name is installed.
        PluginConflict: two distributions ship the name.
        MissingExtra: it needs a package that an extra of automm brings.
        BrokenPlugin: importing it raised, or it is not what its kind demands.
    """
    if (kind, name) in _session:
        return Component(kind, name, "this session", "", _session[kind, name])
    entry = _entry(kind, name)
    origin, version = _distribution(entry)
    try:
        with needing_extra(f"{kind} {name!r}"):
            factory = entry.load()
    except MissingExtra:
        raise
    except (Exception, SystemExit) as error:  # a plugin that ends the process when it is imported ends only itself
        raise BrokenPlugin(_broken(kind, name, origin, error)) from error
    component = Component(kind, name, origin, version, factory)
    _verify(component)
    return component


def encoders_of(modality: str) -> list[str]:
    """The usable encoders that read a modality, sorted by name; imports every encoder."""
    found = []
    for name in names("encoder"):
        with suppress(PluginError):
            if modality in get("encoder", name).factory.MODALITIES:
                found.append(name)
    return found


def status(kind: str, name: str) -> Listing:
    """What asking for the component would give, without raising."""
    origins = sorted({_distribution(e) for e in _entries(kind) if e.name == name})
    origin, version = origins[0] if origins else ("this session", "")
    health: Health = "ready"
    detail = ""
    try:
        get(kind, name)
    except MissingExtra as error:
        health, detail = "needs an extra", str(error)
    except PluginConflict as error:
        health, detail, origin = "conflict", str(error), " and ".join(o for o, _ in origins)
    except PluginError as error:
        health = "API too old" if isinstance(error, _ApiMismatch) else "broken"
        detail = str(error)
    return Listing(kind, name, origin, version, health, detail)


def listing(kinds: Iterable[str] = KINDS) -> Iterator[Listing]:
    """Every installed component of these kinds with its health; loads them one at a time."""
    for kind in kinds:
        for name in names(kind):
            yield status(kind, name)


@contextmanager
def needing_extra(who: str) -> Iterator[None]:
    """A package that an extra of automm brings and that is missing becomes MissingExtra: `who` needs it.

    Any other module that is not found is somebody's mistake and stays a ModuleNotFoundError.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtra(
            f'{who} needs the package {error.name!r}, which is not installed. Next: pip install "automm[{extra}]".'
        ) from error


class _ApiMismatch(BrokenPlugin):
    pass


def _entries(kind: str) -> EntryPoints:
    """What is installed of a kind."""
    found: EntryPoints = _installed(tuple((path, _changed(path)) for path in sys.path)).select(group=f"automm.{kind}")
    return found


@lru_cache(maxsize=1)
def _installed(_paths: tuple[tuple[str, int], ...]) -> Any:
    """All entry points: a file a distribution, read again only when a folder on the path has changed.

    Before Python 3.12 what comes back is not EntryPoints, but has their `select` too.
    """
    return entry_points()


def _changed(path: str) -> int:
    """When a folder last got or lost something, in nanoseconds."""
    try:
        return Path(path or ".").stat().st_mtime_ns
    except OSError:
        return 0


def _entry(kind: str, name: str) -> EntryPoint:
    found = {_distribution(e): e for e in _entries(kind) if e.name == name}
    if not found:
        raise UnknownComponent(
            f"no {kind} named {name!r} is installed. {near_miss(name, names(kind))} "
            "Next: `automm plugins` lists what is installed and whether it works."
        )
    if len(found) > 1:
        both = " and ".join(f"{origin} {version}".strip() for origin, version in sorted(found))
        raise PluginConflict(f"{kind} {name!r} is shipped by {both}. Next: uninstall one of them.")
    return next(iter(found.values()))


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")


def _broken(kind: str, name: str, origin: str, error: BaseException) -> str:
    return (
        f"{kind} {name!r} of {origin} cannot be imported: {type(error).__name__}: {error}. "
        f"Next: report it to {origin}, or choose another {kind}."
    )


def _verify(component: Component) -> None:
    where = f"{component.kind} {component.name!r} of {component.origin}"
    if not callable(component.factory):
        raise BrokenPlugin(f"{where} is a {type(component.factory).__name__}; its entry point must name a callable.")
    if component.kind == "metric":
        _verify_metric(component.factory, where)
        return
    api = getattr(component.factory, "API", None)
    if api != API:
        raise _ApiMismatch(
            f"{where} is written for API {api}, this automm speaks {API}. Next: upgrade {component.origin}."
        )
    if not component.doc:
        raise BrokenPlugin(f"{where} has no docstring; `automm plugins` shows it to users.")
    if not isinstance(component.space, Space):
        raise BrokenPlugin(f"{where} has a {type(component.space).__name__} for SPACE, which must be a Space.")
    for path, _ in component.space.paths():
        if path not in component.options:
            raise BrokenPlugin(f"{where} declares {path!r} in SPACE, but takes no such keyword option.")


def _verify_metric(metric: Any, where: str) -> None:
    """A metric is a plain callable that says which way is better and what it reads."""
    reads = getattr(metric, "reads", None)
    known = isinstance(reads, tuple) and bool(reads) and set(reads) <= set(get_args(Targets))
    if not callable(metric) or not inspect.getdoc(metric):
        raise BrokenPlugin(f"{where} is no function with a docstring; `automm plugins` shows it to users.")
    if not isinstance(getattr(metric, "higher_is_better", None), bool) or not known:
        raise BrokenPlugin(
            f"{where} does not say which way is better and what it reads: higher_is_better="
            f"{getattr(metric, 'higher_is_better', None)}, reads={reads}. Next: a bool, and a tuple of some of "
            f"{', '.join(get_args(Targets))}, as the decorator automm.metrics.metric.metric sets them."
        )
