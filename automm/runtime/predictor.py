"""Raw rows in, answers out: numpy and ONNX Runtime, no torch.

Shape legend: B rows, U distinct values among them, C outputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime as ort

from automm.errors import AutommError, BundleError, DataError, near_miss
from automm.runtime import cpu
from automm.runtime.bundle import GOLDEN, Bundle
from automm.runtime.decode import EMBEDDINGS, decoder
from automm.runtime.distinct import distinct, is_missing
from automm.runtime.kinds import load_preprocess
from automm.runtime.manifest import graph_inputs_of
from automm.runtime.nearest import Nearest, nearest
from automm.runtime.preprocess import Preprocess
from automm.runtime.rows import ROWS, read_rows

BATCH = 32


class Predictor:
    """Answers rows with an opened bundle.

    A row is a mapping from field names to raw values: an image is a path, encoded bytes (also as base64), a PIL
    image or a uint8 HWC array; audio is a path, encoded bytes (also as base64), or samples with their rate,
    `(array, rate)`; a text is a string. A field that is left out, None or NaN is a missing modality, which the model
    knows.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        session: ort.InferenceSession,
        variant: Mapping[str, Any],
        preprocessors: Mapping[str, Preprocess],
        threads: int,
    ) -> None:
        self.bundle = bundle
        self.session = session
        self.variant = variant["name"]
        self.threads = threads
        self._preprocessors = dict(preprocessors)
        graph = bundle.manifest["graphs"][0]
        self._inputs = graph_inputs_of(graph)
        self._output = graph["outputs"][0]["name"]
        self._width = int(graph["outputs"][0]["shape"][-1])
        self._decode = decoder(bundle.manifest["task"]["decode"])

    @classmethod
    def open(cls, path: str | Path, *, threads: int | None = None, verify: bool = True) -> Self:
        """Open the bundle at `path`, with the variant that suits this processor.

        Args:
            path: the bundle's folder.
            threads: ONNX Runtime's intra-op threads; None = one per physical core.
            verify: check every file's hash, and that the golden rows still get the scores stored with them.

        Raises:
            BundleError: it is damaged, from a newer version, or does not compute here what it computed at export.
        """
        bundle = Bundle.open(path, verify=verify)
        variant = _variant(bundle)
        used = threads or cpu.physical()
        predictor = cls(
            bundle,
            session=_session(bundle, variant["file"], used),
            variant=variant,
            preprocessors={field["name"]: _preprocess(bundle, field) for field in bundle.manifest["fields"]},
            threads=used,
        )
        if verify:
            predictor.replay()
        return predictor

    def predict(
        self, rows: Sequence[Mapping[str, Any]], *, batch_size: int = BATCH, top: int = 5
    ) -> list[dict[str, Any]]:
        """One dict a row: `answer`, and where answers are labels the `scores` of the `top` best, best first.

        Raises:
            DataError: a row names a field the bundle does not have, or a value cannot be read.
        """
        labels = self.bundle.labels
        return [self._decode(scores_C, labels, top) for scores_C in self.scores(rows, batch_size=batch_size)]

    def scores(self, rows: Sequence[Mapping[str, Any]], *, batch_size: int = BATCH) -> np.ndarray:
        """The scores of every label, or the vectors of all fields side by side, float32 [rows, C].

        Raises:
            DataError: as `predict`.
        """
        self._check(rows, batch_size)
        chunks = [self.run(self.arrays(chunk)) for chunk in _chunks(rows, batch_size)]
        return np.concatenate(chunks) if chunks else np.empty((0, self._width), np.float32)

    def rank(
        self,
        queries: Sequence[Mapping[str, Any]],
        candidates: Sequence[Mapping[str, Any]],
        k: int = 10,
        *,
        batch_size: int = BATCH,
    ) -> Nearest:
        """The `k` candidates most like each query, best first: their numbers and cosines, both [queries, k].

        A bundle of `+task=retrieval` alone can do that. Rows hold one field each: all queries the same one, all
        candidates the same one, such as `rank([{"caption": "a red kite"}], [{"image": "1.jpg"}, {"image": "2.jpg"}])`.

        Raises:
            DataError: the bundle does not compare, `k` is below 1, or as `predict`; rows hold no field, several, or
                different ones.
        """
        kind = self.bundle.manifest["task"]["decode"]
        if kind != EMBEDDINGS or k < 1:
            raise DataError(
                f"rank needs a bundle of +task=retrieval (this one answers by {kind!r}) and k of at least 1 (got {k})."
            )
        queries_QD = self._vectors(queries, "queries", batch_size)
        return nearest(queries_QD, self._vectors(candidates, "candidates", batch_size), k)

    def arrays(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """The graph's inputs for B rows, by name; a value that several rows share is preprocessed once."""
        cells = {name: distinct([row.get(name) for row in rows]) for name in self.bundle.fields}
        ready = {name: self._preprocessors[name](values) for name, (values, _, _) in cells.items()}
        present = np.stack([cells[name][2] for name in self.bundle.fields], axis=1)
        return {
            each.name: present if each.field is None else ready[each.field][str(each.key)][cells[each.field][1]]
            for each in self._inputs
        }

    def run(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The graph alone: its inputs -> scores [B, C]."""
        return np.asarray(self.session.run([self._output], dict(arrays))[0])

    def golden(self) -> tuple[list[dict[str, Any]], np.ndarray]:
        """The raw rows stored at export, and their scores [rows, C].

        Raises:
            BundleError: they are missing or damaged.
        """
        text = self.bundle.read(f"{GOLDEN}/{ROWS}").decode("utf-8")
        try:
            rows = read_rows(text, lambda name: self.bundle.path(f"{GOLDEN}/{name}"))
            expected = np.asarray(json.loads(self.bundle.read(f"{GOLDEN}/expected.json"))["scores"], np.float32)
        except (DataError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"the golden rows of {self.bundle.root} are damaged: {error}") from error
        return rows, expected

    def replay(self) -> float:
        """Score the golden rows again; returns the largest difference from what was stored.

        Raises:
            BundleError: it is beyond the tolerance that the export was held to.
        """
        rows, expected = self.golden()
        tolerance = float(self.bundle.manifest["golden"]["tolerance"])
        found = self.scores(rows)
        apart = float(np.abs(found - expected).max(initial=0.0)) if found.shape == expected.shape else float("inf")
        if not apart <= tolerance:
            raise BundleError(
                f"{self.bundle.root} does not compute here what it computed at export: its golden rows' scores are "
                f"{apart:.3g} apart, {tolerance:.3g} is allowed (variant {self.variant}, on ONNX Runtime "
                f"{ort.__version__}). "
                "Next: export the run again on this machine, or use the ONNX Runtime that the manifest names."
            )
        return apart

    def _vectors(self, rows: Sequence[Mapping[str, Any]], what: str, batch_size: int) -> np.ndarray:
        """The vector of the one field that all of these rows hold, float32 [rows, D]."""
        self._check(rows, batch_size)
        held = {tuple(name for name in self.bundle.fields if not is_missing(row.get(name))) for row in rows}
        if len(held) > 1 or any(len(names) != 1 for names in held):
            found = "; ".join(" and ".join(names) or "none" for names in sorted(held))
            raise DataError(f"rank compares rows of one field each, and {what} hold {found}. Next: keep one of them.")
        at = self.bundle.fields.index(held.pop()[0]) if held else 0
        return np.split(self.scores(rows, batch_size=batch_size), len(self.bundle.fields), axis=1)[at]

    def _check(self, rows: Sequence[Mapping[str, Any]], batch_size: int) -> None:
        if isinstance(rows, (Mapping, str)) or batch_size < 1:
            raise DataError(
                f"predict takes a list of rows (got {type(rows).__name__}) and a batch_size of at least 1 "
                f"(got {batch_size}). Next: predict([row])."
            )
        for number, row in enumerate(rows):
            for key in row:
                if key not in self._preprocessors:
                    raise DataError(
                        f"row {number} has a field {key!r}, which this bundle does not read. "
                        f"{near_miss(str(key), self._preprocessors)}"
                    )


def _chunks(rows: Sequence[Mapping[str, Any]], size: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _variant(bundle: Bundle) -> Mapping[str, Any]:
    """The first variant, in the manifest's order of preference, that this processor can run."""
    have = cpu.flags()
    variants: list[Mapping[str, Any]] = bundle.manifest["graphs"][0]["variants"]
    for variant in variants:
        if have.issuperset(variant["requires"]):
            return variant
    wanted = "; ".join(f"{v['name']} needs {', '.join(v['requires'])}" for v in variants)
    raise BundleError(f"{bundle.root} has no variant for this processor ({wanted}). Next: export an fp32 variant.")


def _session(bundle: Bundle, file: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    outside = f"{file}.data" in bundle.files  # weights beyond 2 GB; ONNX Runtime finds them beside the graph
    source = str(bundle.path(file)) if outside else bundle.read(file)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no public base
        raise BundleError(f"ONNX Runtime {ort.__version__} cannot load {bundle.root / file}: {error}") from error


def _preprocess(bundle: Bundle, field: Mapping[str, Any]) -> Preprocess:
    saved = field["preprocess"]
    try:
        return load_preprocess(bundle.folder(saved["folder"]), saved["kind"], saved["config"])
    except (AutommError, OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the preprocessing of {field['name']!r} in {bundle.root} cannot be read: {error}") from error
