"""What frozen encoders return, taken from the feature cache, which is filled where it lacks something.

Shape legend: U distinct values, N tokens, D width.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from automm.building import build_encoder, encoder_of
from automm.data.digests import value_digests
from automm.data.features import Arrays, FeatureCache, FeatureStore, Shelf, padded, value_bytes
from automm.data.packed import picked
from automm.encoders.encoder import Encoder
from automm.runtime.preprocess import Preprocess
from automm.settings import TrainingSettings
from automm.space import Candidate
from automm.training.allocator import keep_freed_memory
from automm.training.augment import View
from automm.training.determinism import deterministic
from automm.training.device import device_name, memory_errors
from automm.types import Column, FeatureSpec, FieldSpec

log = logging.getLogger(__name__)

_BATCH = 32  # values encoded at a time
_SEGMENT_BYTES = 256 << 20  # what is kept in memory before it is written,
_SEGMENT_SECONDS = 20.0  # and for how long: as much is lost by a kill
_PROGRESS_SECONDS = 10.0


@dataclass(frozen=True)
class _Built:
    """An encoder that was needed, kept for the splits that come next."""

    identity: str
    preprocess: Preprocess
    encoder: Encoder


class FrozenFeatures:
    """Reads the fields of frozen encoders from the cache.

    Args:
        cache: where features are kept.
        settings: where encoders compute, and with how many threads.
    """

    def __init__(self, cache: FeatureCache, settings: TrainingSettings) -> None:
        self.cache, self.settings = cache, settings
        self._built: dict[str, _Built] = {}  # by field
        self._specs: dict[tuple[str, str], FeatureSpec] = {}
        self._digests: dict[int, tuple[Column, np.ndarray]] = {}
        self._refused: set[tuple[str, bool]] = set()
        self._overflown = False

    def spec(self, candidate: Candidate, field: FieldSpec, *, values: int, tokens: bool) -> FeatureSpec | None:
        """What the candidate's encoder of a field returns, where the cache can give that; None where it cannot.

        Args:
            candidate: names the encoder.
            field: what it reads.
            values: how many distinct ones there will be.
            tokens: whether tokens are needed, or vectors are enough.

        Raises:
            ConfigError: the encoder cannot be built, for want of its weights perhaps.
        """
        identity = self._identity(candidate, field) if self.cache.limit else None
        if identity is None:
            return None
        key = identity, field.name
        if key not in self._specs:
            found = self.cache.spec(identity, field.name)
            self._specs[key] = found or self._encoder(identity, candidate, field).encoder.spec
        spec = self._specs[key]
        wanted = values * value_bytes(spec, tokens=tokens)
        if wanted <= self.cache.limit:
            return spec
        if (identity, tokens) not in self._refused:
            self._refused.add((identity, tokens))
            log.warning(
                "the features of %r would take up to %.1f GB, more than the cache may (cache_max_gb): every trial "
                "encodes it anew. Next: raise cache_max_gb, or choose fusions that need no tokens.",
                field.name,
                wanted / 1e9,
            )
        return None

    def store(
        self,
        candidate: Candidate,
        field: FieldSpec,
        column: Column,
        *,
        tokens: bool,
        memory: int,
        view: View | None = None,
    ) -> FeatureStore:
        """The features of a column's values; what the cache lacks is computed and kept. Only after `spec` gave one.

        Args:
            candidate: names the encoder.
            field: what it reads.
            column: its values.
            tokens: whether tokens are needed.
            memory: bytes that may be held.
            view: what is done to images before they are encoded; None = nothing.

        Raises:
            ConfigError: the encoder cannot be built.
            DataError: a value cannot be read.
        """
        identity = self._identity(candidate, field)
        assert identity is not None, "spec() comes before store()"
        name = identity if view is None else f"{identity}, {view.identity}"
        shelf = self.cache.shelf(name, self._specs[identity, field.name], tokens=tokens)
        keys = self._keys(column, field)
        at = shelf.find(keys)
        if (at < 0).any():
            built = self._encoder(identity, candidate, field)
            self._fill(shelf, built, field, column, keys, at, tokens=tokens, view=view)
            shelf.refresh()
            at = shelf.find(keys)
        return FeatureStore(shelf, at, shelf.spec, tokens=tokens, cache_bytes=memory)

    def _identity(self, candidate: Candidate, field: FieldSpec) -> str | None:
        component, options = encoder_of(candidate, field)
        own = component.factory.identity(**options)
        return None if own is None else f"{component.origin} {component.name} {component.version}: {own}"

    def _encoder(self, identity: str, candidate: Candidate, field: FieldSpec) -> _Built:
        kept = self._built.get(field.name)
        if kept is not None and kept.identity == identity:
            return kept
        component, options = encoder_of(candidate, field)
        preprocess = component.factory.fit_preprocess(field, [], **options)
        with torch.random.fork_rng(devices=[]):
            built = _Built(identity, preprocess, build_encoder(candidate, field, preprocess))
        self._built[field.name] = built
        return built

    def _keys(self, column: Column, field: FieldSpec) -> np.ndarray:
        """The digests of a column's values, worked out once as long as the column is in use."""
        kept = self._digests.get(id(column))
        if kept is None or kept[0] is not column:
            kept = column, value_digests(list(column.values), field.modality, self.cache.folder)
            self._digests[id(column)] = kept
        return kept[1]

    def _fill(
        self,
        shelf: Shelf,
        built: _Built,
        field: FieldSpec,
        column: Column,
        keys: np.ndarray,
        at: np.ndarray,
        *,
        tokens: bool,
        view: View | None,
    ) -> None:
        """Compute what the shelf lacks, each content once, and write it down as it comes."""
        lacking = np.flatnonzero((at < 0).any(axis=1))
        lacking = lacking[np.sort(np.unique(keys[lacking], axis=0, return_index=True)[1])]
        fits = self.cache.make_room(len(lacking) * value_bytes(shelf.spec, tokens=tokens))
        if not fits and not self._overflown:
            self._overflown = True
            log.warning(
                "the features of this run together take more than cache_max_gb=%.3g; they are kept all the same, for "
                "all of them are in use. Next: raise it, or choose among fewer encoders.",
                self.cache.limit / 1e9,
            )
        if built.preprocess.signature and any(
            isinstance(d, str) for s in built.preprocess.signature.values() for d in s.shape
        ):
            lacking = lacking[
                np.argsort([len(str(value)) for value in picked(column.values, lacking)], kind="stable")
            ]  # pad little
        seen = "" if view is None else f" ({view})"
        log.info("features: %d values of %r%s, computed once for all trials", len(lacking), field.name, seen)
        began = said = written = time.monotonic()
        waiting: list[tuple[np.ndarray, Arrays]] = []
        done = 0
        for rows, arrays in self._encoded(built, column, keys, lacking, tokens=tokens, view=view):
            waiting.append((keys[rows], arrays))
            done += len(rows)
            now = time.monotonic()
            size = sum(array.nbytes for _, each in waiting for array in each.values())
            if done == len(lacking) or size > _SEGMENT_BYTES or now - written > _SEGMENT_SECONDS:
                shelf.add(np.concatenate([k for k, _ in waiting]), _joined([each for _, each in waiting]))
                waiting, written = [], now
            if now - said > _PROGRESS_SECONDS and done < len(lacking):
                log.info("features: %d of %d values of %r%s", done, len(lacking), field.name, seen)
                said = now
        log.info("features: %d values of %r%s in %.1f s", len(lacking), field.name, seen, time.monotonic() - began)

    def _encoded(
        self, built: _Built, column: Column, keys: np.ndarray, rows: np.ndarray, *, tokens: bool, view: View | None
    ) -> Iterator[tuple[np.ndarray, Arrays]]:
        """Value numbers and their features, a batch at a time; the next batch is prepared meanwhile."""
        device = torch.device(device_name(self.settings))
        keep_freed_memory()
        encoder = built.encoder.to(device).eval()
        batches = np.array_split(rows, range(_BATCH, len(rows), _BATCH))

        def prepared(batch: np.ndarray) -> dict[str, np.ndarray]:
            arrays = built.preprocess([column.values[i] for i in batch])
            return arrays if view is None else view.of(arrays, keys[batch])

        with (
            ThreadPoolExecutor(1, "automm-ahead") as ahead,
            deterministic(device, self.settings.threads),
            memory_errors(f"{_BATCH} values of {encoder.spec.field!r} at a time"),
            torch.inference_mode(),
        ):
            coming = ahead.submit(prepared, batches[0])
            for at, batch in enumerate(batches):
                inputs = {name: torch.from_numpy(array).to(device) for name, array in coming.result().items()}
                if at + 1 < len(batches):
                    coming = ahead.submit(prepared, batches[at + 1])
                features = encoder(inputs)
                out = {"pooled": features.pooled_BD}
                if tokens:
                    out |= {"tokens": features.tokens_BND, "mask": features.mask_BN}
                yield batch, {name: tensor.cpu().numpy() for name, tensor in out.items()}


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """Batches as one; tokens are padded to the longest."""
    out: dict[str, Any] = {"pooled": np.concatenate([part["pooled"] for part in parts]).astype(np.float32)}
    if "mask" in parts[0]:
        longest = max(part["mask"].shape[1] for part in parts)
        for name in ("tokens", "mask"):
            out[name] = np.concatenate([padded(part[name], longest) for part in parts])
    return out
