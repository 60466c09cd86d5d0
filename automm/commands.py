"""The subcommands, and the help that shows them beside the overrides. Knows no Hydra and loads no torch by itself."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from automm import __version__, presets, registry
from automm.errors import ConfigError, DataError, near_miss
from automm.registry import REQUIRED, Component
from automm.space import OneOf, Param, describe

NAMES = ("plugins", "study", "predict", "cache", "data")

_HELP = """\
automm {version}: searches encoders, fusion and hyperparameters jointly, and hands over a verified ONNX bundle.

A run        automm +task=NAME [GROUP=PRESET | KEY=VALUE]...
             automm +task=vqa                               the embedded Sort-of-CLEVR set, the default budget
             automm +task=vqa search=quick run.dir=first    a few minutes; the same command again goes on where it was
             automm +task=vqa fusion.name=[concat,film] training.lr=[1e-4,1e-2] training.batch_size=256
             automm -m +task=vqa seed=0,1,2 fusion=concat,film hydra/launcher=joblib executor=in_process
                                                            a sweep, one run a point
             A scalar pins what would be searched, a list narrows it (two numbers are a range, names are a subset).

Commands     automm plugins [KIND [NAME]] [--json]          what is installed, and its options
             automm study RUN_DIR [--json]                  the trials of a run
             automm predict BUNDLE ROWS.jsonl [--out FILE]  answers from a bundle; needs no torch
             automm data describe FILE [--target COLUMN]    what a table holds, its balance, likely leaks; also as HTML
             automm cache info|clear [--cache-dir DIR]      features and downloads that all runs share

Looking in   automm --cfg job +task=vqa                     every key; automm/conf says what each means
             automm --info searchpath                       where presets are read from
             automm --hydra-help                            all that Hydra understands

Presets      GROUP=PRESET takes one of
{groups}
Errors are one paragraph and exit status 2; debug=true adds the traceback."""


def is_subcommand(words: Sequence[str]) -> bool:
    """Whether the first word is bare: no override (`=`, or `+ ~` in front) and no flag."""
    return bool(words) and "=" not in words[0] and words[0][:1] not in ("+", "~", "-", "")


def run(words: Sequence[str]) -> int:
    """Run the subcommand that the first word names; returns the exit status.

    Raises:
        AutommError: no such subcommand, or it cannot do what was asked.
    """
    if words[0] not in NAMES:
        raise ConfigError(
            f"no command {words[0]!r}. {near_miss(words[0], NAMES)} "
            "Next: `automm --help` shows commands and overrides; an override is written KEY=VALUE."
        )
    asked = _parser().parse_args(list(words), argparse.Namespace(words=tuple(words)))
    lines: Iterable[str] = asked.command(asked)
    if getattr(asked, "out", None) is None:
        for line in lines:
            sys.stdout.write(line + "\n")
    else:
        _write(asked.out, lines)
    return 0


def help_text() -> str:
    """What `automm --help` prints."""
    rows = [(group, " ".join(options)) for group, options in presets.groups().items()]
    groups = "".join(f"             {group:<15}{options}\n" for group, options in rows)
    return _HELP.format(version=__version__, groups=groups)


def version_text() -> str:
    """What `automm --version` prints."""
    return f"automm {__version__}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="automm")
    commands = parser.add_subparsers(required=True)
    plugins = commands.add_parser("plugins", help="list components and their health, or show one of them")
    plugins.add_argument("kind", nargs="?", help=f"one of {', '.join(registry.KINDS)}")
    plugins.add_argument("name", nargs="?", help="a component of that kind: show its options, space and docstring")
    plugins.add_argument("--json", action="store_true", help="print JSON")
    plugins.set_defaults(command=_plugins)
    study = commands.add_parser("study", help="list the trials of a run")
    study.add_argument("run_dir", type=Path, help="the run's directory")
    study.add_argument("--json", action="store_true", help="print JSON: number, state, candidate, values, reason")
    study.set_defaults(command=_study)
    predict = commands.add_parser("predict", help="answer rows with a bundle")
    predict.add_argument("bundle", type=Path, help="the bundle's folder, such as RUN_DIR/bundle")
    predict.add_argument(
        "rows", type=Path, help="JSON lines, one row each; paths of images and audio are relative to where you stand"
    )
    predict.add_argument("--out", type=Path, help="write the answers there instead of printing them")
    predict.set_defaults(command=_predict)
    data = commands.add_parser("data", help="look at a data set before anything trains").add_subparsers(required=True)
    about = data.add_parser("describe", help="what columns are read as and why, the target's balance, likely leaks")
    where = "a .csv, .tsv, .parquet or .jsonl file, or a folder or hub name of Hugging Face's datasets"
    about.add_argument("train", metavar="FILE", help=f"{where}, whose own splits are compared too")
    about.add_argument("--target", metavar="COLUMN", help="the column to predict")
    about.add_argument("--group", metavar="COLUMN", help="a column whose rows belong together")
    about.add_argument("--valid", metavar="FILE", help="a table of its own for validation")
    about.add_argument("--test", metavar="FILE", help="a table of its own for the test")
    about.add_argument(
        "--columns", action="append", default=[], metavar="NAME=MODALITY", help="as data.columns.NAME=MODALITY of a run"
    )
    about.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="a column to leave out, as data.drop"
    )
    about.add_argument("--html", type=Path, metavar="FILE", help="write the same as a page that needs no network")
    about.add_argument("--json", action="store_true", help="print JSON")
    about.set_defaults(command=_describe)
    cache = commands.add_parser("cache", help="show or clear what runs keep: features of frozen encoders and downloads")
    cache.add_argument("action", choices=("info", "clear"))
    cache.add_argument(
        "--cache-dir", type=Path, help="as cache_dir of the runs; default: $AUTOMM_CACHE or the platform's"
    )
    cache.add_argument("--json", action="store_true", help="print JSON")
    cache.set_defaults(command=_cache)
    return parser


def _plugins(asked: argparse.Namespace) -> Iterable[str]:
    if asked.kind is not None and asked.kind not in registry.KINDS:
        raise ConfigError(f"no kind of component named {asked.kind!r}. {near_miss(asked.kind, registry.KINDS)}")
    if asked.name is not None:
        shown = _shown(registry.get(asked.kind, asked.name))
        return [_json(shown)] if asked.json else _page(shown)
    kinds = [asked.kind] if asked.kind else registry.KINDS
    rows = [asdict(listed) for listed in registry.listing(kinds)]
    if asked.json:
        return [_json(rows)]
    table = _table(rows, ("kind", "name", "version", "origin", "health"))
    details = [f"{row['kind']} {row['name']}: {row['detail']}" for row in rows if row["detail"]]
    return [*table, *([""] if details else []), *details]


def _shown(component: Component) -> dict[str, Any]:
    """All there is to say about a component, plain JSON."""
    searched = dict(component.space.paths())
    options = [
        {
            "name": option.name,
            "type": option.annotation,
            "required": option.default is REQUIRED,
            "default": None if option.default is REQUIRED else option.default,
            "searched": _searched(searched[option.name]) if option.name in searched else None,
        }
        for option in component.options.values()
    ]
    return {
        "kind": component.kind,
        "name": component.name,
        "version": component.version,
        "origin": component.origin,
        "options": options,
        "doc": component.doc,
        **_of_metric(component),
    }


def _of_metric(component: Component) -> dict[str, Any]:
    """What there is to say about a metric alone."""
    if component.kind != "metric":
        return {}
    return {"higher_is_better": component.factory.higher_is_better, "reads": list(component.factory.reads)}


def _searched(param: Param) -> str:
    brings = sorted(str(choice) for choice in param.children) if isinstance(param, OneOf) else []
    return describe(param) + (f"; {', '.join(brings)} bring options of their own" if brings else "")


def _page(shown: Mapping[str, Any]) -> Iterable[str]:
    yield f"{shown['kind']} {shown['name']}, from {shown['origin']} {shown['version']}".rstrip()
    yield ""
    yield from shown["doc"].splitlines()
    yield ""
    if "reads" in shown:
        yield f"{'Higher' if shown['higher_is_better'] else 'Lower'} is better. It reads {' or '.join(shown['reads'])}."
        return
    if not shown["options"]:
        yield "It takes no options."
        return
    rows = [
        {
            "option": option["name"],
            "type": option["type"],
            "default": "(required)" if option["required"] else json.dumps(option["default"], default=str),
            "searched": option["searched"] or "no: pin it, or list values to choose from",
        }
        for option in shown["options"]
    ]
    yield from _table(rows, ("option", "type", "default", "searched"))


def _study(asked: argparse.Namespace) -> Iterable[str]:
    with registry.needing_extra("`automm study`"):
        from automm.search.history import trials_table
        from automm.search.study import Study

    with Study.open(asked.run_dir / "study.db", readonly=True) as study:
        rows = trials_table(study)
        goal = study.header["goal"]["metric"] if study.header else ""
    if asked.json:
        return [_json(rows)]
    flat = [{**row, "value": _pairs(_only(goal, row["values"])), "candidate": _pairs(row["candidate"])} for row in rows]
    return _table(flat, ("number", "state", "epochs", "value", "reason", "candidate"))


def _only(metric: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """One metric alone, for a table; JSON has them all."""
    return {name: value for name, value in (values or {}).items() if name == metric}


def _predict(asked: argparse.Namespace) -> Iterable[str]:
    from automm.runtime.predictor import Predictor

    rows = _read_rows(asked.rows)
    return [json.dumps(answer, ensure_ascii=False) for answer in Predictor.open(asked.bundle).predict(rows)]


def _describe(asked: argparse.Namespace) -> Iterable[str]:
    registry.get("data", "table")  # which says what to install where that is missing
    from automm.data.describe import Asked
    from automm.data.describe import describe as described
    from automm.data.file_memo import FOLDER
    from automm.data.places import need_table
    from automm.report import description as words
    from automm.report.description_page import write_description
    from automm.sections import default_cache

    given = {"train": ("FILE", asked.train), "valid": ("--valid", asked.valid), "test": ("--test", asked.test)}
    places = {split: need_table(place, key) for split, (key, place) in given.items() if place is not None}
    columns = Asked(asked.target, asked.group, _modalities(asked.columns), tuple(asked.drop))
    found = described(places, columns, memo=default_cache() / FOLDER)
    hint = words.target_hint(found, asked.words)
    if asked.html is not None:
        write_description(asked.html, found, hint)
    if asked.json:
        return [_json(asdict(found))]
    table = _table([words.column_row(column) for column in found.columns], words.HEAD)
    target = words.target_lines(found.target) if found.target else []
    about = [table, words.notes(found), words.value_lines(found), target, words.finding_lines(found)]
    parts = [[words.files(found)], *about, [hint] if hint else []]
    return [line for part in parts if (lines := list(part)) for line in ("", *lines)][1:]


def _modalities(given: Sequence[str]) -> dict[str, str]:
    """What `--columns` says, by column."""
    said: dict[str, str] = {}
    for each in given:
        name, _, modality = each.rpartition("=")
        if not (name and modality):
            raise ConfigError(
                f"--columns {each} is not NAME=MODALITY. Next: write it as --columns NAME=text, with the column's name."
            )
        if name in said:
            raise ConfigError(
                f"--columns names {name!r} twice, as {said[name]} and as {modality}. Next: leave one of them out."
            )
        said[name] = modality
    return said


def _cache(asked: argparse.Namespace) -> Iterable[str]:
    from automm.data import downloads, file_memo
    from automm.data.features import FeatureCache
    from automm.sections import default_cache

    folder = asked.cache_dir or default_cache()
    cache, files = FeatureCache(folder / file_memo.FOLDER, 0), downloads.Downloads(folder / downloads.FOLDER)
    if asked.action == "clear":
        freed = {"features": cache.clear(), "downloads": files.clear()}
        if asked.json:
            return [_json({"freed": sum(freed.values())} | freed)]
        return [
            f"freed {freed['features'] / 1e6:,.1f} MB in {cache.folder}",
            f"freed {freed['downloads'] / 1e6:,.1f} MB of downloads in {files.folder}",
        ]
    shelves, memos, sizes = [asdict(shelf) for shelf in cache.info()], cache.memo_bytes(), files.sizes()
    if asked.json:
        kept = {"folder": str(files.folder), "files": len(sizes), "bytes": sum(sizes)}
        return [_json({"folder": str(cache.folder), "shelves": shelves, "memos": memos, "downloads": kept})]
    rows = [
        {
            "values": f"{shelf['values']:,}",
            "MB": f"{shelf['bytes'] / 1e6:,.1f}",
            "last used": f"{datetime.fromtimestamp(shelf['used']):%Y-%m-%d %H:%M}",
            "encoder": shelf["identity"],
        }
        for shelf in shelves
    ]
    total = sum(shelf["bytes"] for shelf in shelves) + memos
    return [
        *_table(rows, ("values", "MB", "last used", "encoder")),
        f"{total / 1e6:,.1f} MB in {cache.folder}, {memos / 1e6:,.1f} MB of it what is known of files",
        f"{sum(sizes) / 1e6:,.1f} MB of downloads in {files.folder}, {len(sizes):,} files",
    ]


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the rows in {path} cannot be read: {error}. Next: name a file of JSON lines.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is no JSON: {error}. Next: write one object a line.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} holds a {type(row).__name__}. Next: write one object a line.")
        rows.append(row)
    return rows


def _write(path: Path, lines: Iterable[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"the answers cannot be written to {path}: {error}. Next: name a file in a folder that exists."
        ) from error


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Iterable[str]:
    """Aligned columns; the last one is as long as it is."""
    cells = [list(columns)] + [["" if row[c] is None else str(row[c]) for c in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns) - 1)]
    for line in cells:
        padded = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)]
        yield "  ".join([*padded, line[-1]]).rstrip()


def _pairs(values: Mapping[str, Any] | None) -> str:
    return " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in (values or {}).items())


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
