"""The study: an append-only, ordered ledger of what a search decided and learnt. Only this file knows SQLAlchemy.

Kinds of event, in the order a trial sees them:

ask         a new candidate              {candidate, origin, repeats}
infeasible  a hard constraint forbids it {reason}
launch      a job begins, or begins anew {start, stop}; reports after `start` of an earlier attempt no longer count
report      one epoch's values           {epoch, values}
tell        a job ended well             {values, epochs, finished, seconds}
fail        a job could not go on        {reason}
promote     the trial goes on            {start, stop}; beyond the last rung nothing is compared any more
climb       what is left of the time is  {on}
            for who climbs, or no more so
exhausted   nothing new is left to try   {}
stop        the search stopped           {reason}

Every event is committed before the search goes on, so a killed process loses nothing that was said. The driver is the
only writer: a lock keeps a second process out of an SQLite file, and on any database two writers collide on the event's
number. Reading needs no lock.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, IntegrityError

from automm.errors import StudyError

SCHEMA = 1
Kind = Literal["ask", "infeasible", "launch", "report", "tell", "fail", "promote", "climb", "exhausted", "stop"]

_tables = sa.MetaData()
_studies = sa.Table(
    "automm_study",
    _tables,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("header", sa.Text, nullable=False),  # JSON: what the trajectory depends on
)
_events = sa.Table(
    "automm_event",
    _tables,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("trial", sa.Integer, nullable=True),
    sa.Column("data", sa.Text, nullable=False),  # JSON
    sa.Column("at", sa.Float, nullable=False),  # seconds since the epoch
    sa.Column("elapsed", sa.Float, nullable=False),  # seconds of searching, over all sessions
)


@dataclass(frozen=True)
class Event:
    """One line of the ledger."""

    seq: int
    kind: Kind
    trial: int | None
    data: Mapping[str, Any]
    at: float
    elapsed: float


class Study:
    """A ledger on disk. Use `Study.open`."""

    def __init__(self, engine: sa.Engine, where: str, name: str, lock: sqlite3.Connection | None) -> None:
        self.where = where
        self.name = name
        self._engine = engine
        self._lock = lock
        self._events: list[Event] = []
        self.header: Mapping[str, Any] = {}
        self.reload()

    @classmethod
    def open(cls, where: str | Path, *, readonly: bool = False, name: str = "study") -> Self:
        """Open or create a study in an SQLite file (a path) or in any database SQLAlchemy reaches (a URL).

        Raises:
            StudyError: it is in use by another process, is no study, or was written by a newer automm.
        """
        path = None if "://" in str(where) else Path(where)
        if path is not None and readonly and not path.is_file():
            raise StudyError(f"no study at {path}. Next: name a run directory that holds a study.db.")
        if path is not None and not path.parent.is_dir():
            raise StudyError(f"no directory {path.parent} to keep the study {path.name} in. Next: create it.")
        lock = _lock_beside(path) if path is not None and not readonly else None
        engine = sa.create_engine(str(where) if path is None else f"sqlite:///{path}")
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _wal)
        try:
            if not readonly:
                _tables.create_all(engine)
            elif not sa.inspect(engine).has_table(_events.name):
                raise StudyError(f"{where} holds no study. Next: name a run directory that holds a study.db.")
            return cls(engine, str(where), name, lock)
        except (DatabaseError, StudyError) as error:
            engine.dispose()
            if lock is not None:
                lock.close()
            if isinstance(error, StudyError):
                raise
            raise StudyError(
                f"{where} cannot be read as a study: {error.__cause__ or error}. Next: name another file, or move it."
            ) from error

    @property
    def events(self) -> Sequence[Event]:
        """Every event so far, in order."""
        return self._events

    @property
    def elapsed(self) -> float:
        """Seconds of searching so far, over all sessions."""
        return self._events[-1].elapsed if self._events else 0.0

    def reload(self) -> None:
        """Read header and events again from the database, which alone is the truth after an interruption."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_studies).where(_studies.c.name == self.name)).first()
            if row is not None and row.schema_version > SCHEMA:
                raise StudyError(
                    f"the study {self.where} has schema {row.schema_version}, this automm reads up to {SCHEMA}. "
                    "Next: upgrade automm, or start a new run directory."
                )
            self.header = json.loads(row.header) if row is not None else {}
            rows = connection.execute(sa.select(_events).where(_events.c.study == self.name).order_by(_events.c.seq))
            self._events = [Event(r.seq, r.kind, r.trial, json.loads(r.data), r.at, r.elapsed) for r in rows]

    def begin(self, header: Mapping[str, Any]) -> None:
        """Write the header of a new study, or check that an old one agrees with it (its `versions` may differ).

        Raises:
            StudyError: the study was begun with other settings; the message names them.
        """
        header = json.loads(json.dumps(header))
        if not self.header:
            with self._engine.begin() as connection:
                row = {"name": self.name, "schema_version": SCHEMA, "header": json.dumps(header)}
                connection.execute(_studies.insert(), row)
            self.header = header
            return
        changed = [k for k in {**self.header, **header} if k != "versions" and self.header.get(k) != header.get(k)]
        if changed:
            told = "; ".join(_difference(k, self.header.get(k), header.get(k)) for k in changed)
            raise StudyError(
                f"the study {self.where} was begun with other settings: {told}. "
                "Next: give the same settings to resume it, or name a new run.dir."
            )

    def append(self, kind: Kind, trial: int | None, data: Mapping[str, Any], elapsed: float) -> Event:
        """Commit one event. `data` must be plain JSON with finite numbers."""
        text = json.dumps(data, allow_nan=False)
        event = Event(len(self._events), kind, trial, json.loads(text), time.time(), elapsed)
        row = {"study": self.name, "seq": event.seq, "kind": kind, "trial": trial, "data": text}
        try:
            with self._engine.begin() as connection:
                connection.execute(_events.insert(), {**row, "at": event.at, "elapsed": elapsed})
        except IntegrityError as error:
            raise StudyError(
                f"another process has written to the study {self.where}. Next: end one of the two; nothing is lost."
            ) from error
        self._events.append(event)
        return event

    def close(self) -> None:
        """Let go of the database and the lock."""
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _lock_beside(path: Path) -> sqlite3.Connection:
    """Hold an exclusive SQLite transaction on `<path>.lock`: the system lets go of it however this process ends."""
    lock = sqlite3.connect(path.with_name(path.name + ".lock"), timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        raise StudyError(
            f"the study {path} is in use by another process. Next: wait for it or end it, or name another run.dir."
        ) from error
    return lock


def _wal(connection: Any, _record: Any) -> None:
    """Readers don't block the writer; a commit survives the process (a power cut may take the last ones, no more)."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")


def _difference(key: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [k for k in {**old, **new} if old.get(k) != new.get(k)]
        return "; ".join(_difference(f"{key}.{k}", old.get(k), new.get(k)) for k in parts)
    return f"{key} was {json.dumps(old)} and is now {json.dumps(new)}"
