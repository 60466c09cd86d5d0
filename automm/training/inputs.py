"""What models read of tables: features that are kept of frozen encoders, preprocessed values of all other fields.

Candidates differ less in what they read than in what they make of it, so that the last of each is shared by them.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from automm import paths, registry
from automm.data.features import FeatureCache, FeatureStore
from automm.data.field_store import FieldStore, Spill, Store
from automm.data.file_memo import FOLDER
from automm.data.views import ViewStore
from automm.runtime.kinds import save_preprocess
from automm.runtime.preprocess import Preprocess
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.augment import NONE, View
from automm.training.fit import Part
from automm.training.frozen import FrozenFeatures
from automm.types import FILES, FeatureSpec, FieldSpec, Schema, Table

_MEMORY = 64 << 20  # bytes of one field of one split that stay in memory; files hold the rest, which the system caches,
_INSTEAD = 1 << 30  # and where no file serves, as much may stay
_SHARED = 0.9  # a field is worth grouping by when distinct items are at most this share of the rows


class Inputs:
    """Reads tables for candidates.

    Args:
        settings: where features are kept, and how many bytes of them.
        learnt: what is trained on; what is read of it is remembered.
        valid: what is judged on; likewise.
        task: makes the targets.
    """

    def __init__(self, settings: Settings, learnt: Table, valid: Table, task: Task) -> None:
        self.learnt, self.valid, self.task = learnt, valid, task
        cache = FeatureCache(settings.cache_dir / FOLDER, settings.cache_bytes)
        self._frozen = FrozenFeatures(cache, settings.training)
        self._folder = settings.run_dir
        self._stores: dict[str, Store] = {}

    def kept(self, candidate: Candidate, schema: Schema) -> dict[str, FeatureSpec]:
        """The fields whose features are kept, with what is kept."""
        found = {}
        for field in schema.inputs:
            changing, views = _changing(candidate, field)
            if changing and not views:
                continue
            learnt, valid = (len(table.columns[field.name].values) for table in (self.learnt, self.valid))
            values = learnt * (len(views) or 1) + valid
            spec = self._frozen.spec(candidate, field, values=values, tokens=_reads_tokens(candidate))
            if spec is not None:
                found[field.name] = spec
        return found

    def keep_features(self, candidate: Candidate) -> None:
        """See to it that the features a candidate reads of both tables are there.

        Raises:
            ConfigError: an encoder cannot be built.
            DataError: a value cannot be read.
        """
        schema = self.learnt.schema
        for name in self.kept(candidate, schema):
            for table in (self.learnt, self.valid):
                self._features(table, schema[name], candidate)

    def part(self, table: Table, candidate: Candidate, preprocessors: Mapping[str, Preprocess]) -> Part:
        """A table as a solver reads it; fields without a preprocessing are read as features."""
        stores: dict[str, Store] = {}
        for field in table.schema.inputs:
            preprocess = preprocessors.get(field.name)
            if preprocess is None:
                stores[field.name] = self._features(table, field, candidate)
            else:
                stores[field.name] = self._values(table, field.name, preprocess)
        return Part.of(table, stores, self.task, group_by=costly_field(table))

    def _features(self, table: Table, field: FieldSpec, candidate: Candidate) -> Store:
        tokens = _reads_tokens(candidate)
        section = f"{paths.section_of(field, candidate)}."
        encoder = {path: value for path, value in candidate.items() if path.startswith(section)}
        views = _changing(candidate, field)[1] if table is self.learnt else []
        key = f"{tokens} {json.dumps(encoder, sort_keys=True)} {views}"

        def store(view: View | None = None) -> FeatureStore:
            memory = _MEMORY // max(len(views), 1)
            column = table.columns[field.name]
            return self._frozen.store(candidate, field, column, tokens=tokens, memory=memory, view=view)

        return self._remembered(
            table, field.name, key, lambda: ViewStore([store(view) for view in views]) if views else store()
        )

    def _values(self, table: Table, field: str, preprocess: Preprocess) -> Store:
        column, again = table.columns[field], table is self.learnt or table is self.valid
        spill = Spill(self._folder, _INSTEAD) if again else None  # what is read once is not worth a file
        return self._remembered(
            table, field, digest(preprocess), lambda: FieldStore(field, preprocess, column, _MEMORY, spill)
        )

    def _remembered(self, table: Table, field: str, key: str, make: Callable[[], Store]) -> Store:
        """The store of a field of a table, the last one made where it is the same."""
        split = "train" if table is self.learnt else "valid" if table is self.valid else "other"
        if split == "other":
            return make()
        key = f"{split}/{field}/{key}"
        if key not in self._stores:
            self._stores = {k: s for k, s in self._stores.items() if not k.startswith(f"{split}/{field}/")}
            self._stores[key] = make()
        return self._stores[key]


def costly_field(table: Table) -> str | None:
    """The image or audio field that rows share most, whose rows are worth keeping in one batch; None when none is."""
    shares = {
        f.name: len(table.columns[f.name].values) / max(len(table), 1)
        for f in table.schema.inputs
        if f.modality in FILES
    }
    name = min(shares, key=lambda n: shares[n], default=None)
    return name if name is not None and shares[name] <= _SHARED else None


def digest(preprocess: Preprocess) -> str:
    """A name for what a preprocessing does: equal for equal configurations and assets."""
    with tempfile.TemporaryDirectory() as folder:
        config = save_preprocess(preprocess, Path(folder))
        found = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for asset in sorted(Path(folder).rglob("*")):
            if asset.is_file():
                found.update(asset.read_bytes())
    return found.hexdigest()


def _changing(candidate: Candidate, field: FieldSpec) -> tuple[bool, list[View]]:
    """Whether training changes a field's values, and the views whose features can be kept all the same."""
    how, views = candidate.get("training.augment", NONE), candidate.get("training.views", 0)
    if how == NONE or field.modality != "image":
        return False, []
    assert isinstance(views, int)  # as its solver takes it
    return True, [View(str(how), number) for number in range(views)]


def _reads_tokens(candidate: Candidate) -> bool:
    """Whether the candidate's fusion reads tokens, or vectors alone."""
    return bool(registry.get("fusion", str(candidate["fusion.name"])).factory.TOKENS)
