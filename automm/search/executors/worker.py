"""What a worker process does: takes jobs from its standard input and says on its standard output what comes of them."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from typing import IO, Any

from automm.errors import TrialFailed
from automm.search.executors.executor import Cancelled
from automm.search.executors.frames import receive, send
from automm.trial import Job, Objective


def main() -> None:
    """Work until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; who started this one ends it
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what components print must not come between messages
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("automm").setLevel(logging.INFO)
    told = receive(sys.stdin.buffer)
    if told is None:
        return
    sys.path[:], modules = told
    for name in modules:
        importlib.import_module(name)
    packed = receive(sys.stdin.buffer)
    if packed is None:
        return
    try:
        objective: Objective = packed.opened()
    except Exception as error:
        send(out, ("unready", f"{type(error).__name__}: {error}"))
        return
    _Work(objective, sys.stdin.buffer, out).run()


class _Work:
    """The jobs of one worker, one at a time; a thread listens meanwhile."""

    def __init__(self, objective: Objective, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self.objective, self.incoming, self.outgoing = objective, incoming, outgoing
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._cancelled: set[int] = set()

    def run(self) -> None:
        """Run what comes."""
        threading.Thread(target=self._listen, name="automm-worker", daemon=True).start()
        while True:
            job = self._jobs.get()
            send(self.outgoing, self._end_of(job))

    def _listen(self) -> None:
        while (message := receive(self.incoming)) is not None:
            kind, what = message
            if kind == "run":
                self._cancelled.discard(what.trial)
                self._jobs.put(what)
            else:
                self._cancelled.add(what)
        os._exit(0)  # nobody is left to tell; a job under way has its state on disk

    def _end_of(self, job: Job) -> tuple[Any, ...]:
        def report(epoch: int, values: dict[str, float]) -> None:
            send(self.outgoing, ("report", epoch, values))
            if job.trial in self._cancelled:
                raise Cancelled

        try:
            return "outcome", asdict(self.objective.run(job, report))
        except TrialFailed as failure:
            return "failure", failure.reason
        except Cancelled:
            return ("cancelled",)
        except BaseException as error:
            return "bug", _sendable(error), traceback.format_exc()


def _sendable(error: BaseException) -> BaseException | None:
    """The error where another process can be given it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error
