"""Jobs in worker processes on this machine, several at once."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from automm.errors import AutommError, ConfigError, OutOfRange
from automm.runtime.cpu import physical
from automm.search.executors.executor import Ended, Executor, OnReport
from automm.search.executors.frames import receive, send
from automm.search.executors.parcel import Parcel, pack
from automm.trial import Job, Objective, Outcome

_PATIENCE = 5.0  # seconds a worker has to end by itself


@dataclass
class _Waiting:
    """A job that was submitted and whose end has not been handed out."""

    job: Job
    worker: _Worker | None = None
    reports: deque[tuple[int, dict[str, float]]] = field(default_factory=deque)
    ended: Ended | None = None
    bug: BaseException | None = None


class Processes(Executor):
    """Runs jobs in processes of their own, each with its share of the cores: two threads on one trial gain little.

    Ends are handed out in the order of submission, whichever job is over first, so that a search decides the same
    whatever the machine is busy with: same seed, same candidates and numbers. A worker that dies (for want of memory,
    say) fails its trial and is replaced. Workers end with the process that started them, however that ends.

    Args:
        slots: worker processes; None = one a physical core.
        ahead: jobs beyond those, decided on before a worker is free for them, so that none idles while the oldest job
            goes on. The more, the older the news they are decided on, and the more is thrown away when time is up.
            None = 1, or 0 for one worker; `automm` makes it 3 for a run of 50 trials and more.
    """

    def __init__(self, *, slots: int | None = None, ahead: int | None = None) -> None:
        if slots is not None and slots < 1:
            raise OutOfRange(f"executor.slots={slots} is not allowed: at least 1, or null for one a core")
        if ahead is not None and ahead < 0:
            raise OutOfRange(f"executor.ahead={ahead} is not allowed: at least 0, or null")
        self.slots = slots or physical()
        self.capacity = self.slots + (int(self.slots > 1) if ahead is None else ahead)
        self._objective: Parcel | None = None
        self._file: IO[bytes] | None = None  # what the objective's arrays are in
        self._workers: list[_Worker] = []
        self._order: deque[_Waiting] = deque()
        self._cancelled: set[int] = set()
        self._inbox: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()

    def start(self, objective: Objective) -> None:
        """Remember whose jobs to run; workers start with the first of them.

        Raises:
            ConfigError: the objective holds something that no other process can be given.
        """
        self._let_go()
        try:
            self._objective, self._file = pack(objective)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"what judges candidates cannot be handed to another process: {error}. Next: executor=in_process, or "
                "define at the top of a module what is defined inside a function now."
            ) from error

    def submit(self, job: Job) -> None:
        """Give a job to a free worker, or to the next that is."""
        self._cancelled.discard(job.trial)
        self._order.append(_Waiting(job))
        self._assign()

    def wait(self, on_report: OnReport) -> Ended:
        """Block until the oldest job ends."""
        oldest = self._order[0]
        while True:
            while oldest.reports:
                on_report(oldest.job, *oldest.reports.popleft())
            if oldest.ended is not None or oldest.bug is not None:
                break
            if oldest.worker is None and oldest.job.trial in self._cancelled:
                oldest.ended = Ended(oldest.job, cancelled=True)
                break
            self._take(*self._inbox.get())
        self._order.popleft()
        if oldest.bug is not None:
            raise oldest.bug
        assert oldest.ended is not None
        return Ended(oldest.job, cancelled=True) if oldest.job.trial in self._cancelled else oldest.ended

    def cancel(self, trial: int) -> None:
        """End a trial's job at its next report; one that has not begun does not begin."""
        self._cancelled.add(trial)
        for waiting in self._order:
            if waiting.job.trial == trial and waiting.worker is not None:
                waiting.worker.tell(("cancel", trial))

    def kill(self, trial: int) -> None:
        """End a trial's job at once, and its worker with it."""
        self._cancelled.add(trial)
        for waiting in list(self._order):
            if waiting.job.trial == trial and waiting.worker is not None:
                waiting.worker.process.kill()

    def close(self) -> None:
        """End all workers, busy or not."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._order.clear()
        self._inbox = queue.SimpleQueue()  # what they still say is nobody's business
        self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _assign(self) -> None:
        """Give waiting jobs to workers that have none, oldest first."""
        busy = {id(waiting.worker) for waiting in self._order if waiting.ended is None}
        free = [worker for worker in self._workers if id(worker) not in busy]
        for waiting in self._order:
            begun = waiting.worker is not None or waiting.ended is not None
            if begun or waiting.job.trial in self._cancelled:
                continue
            if not free and len(self._workers) < self.slots:
                self._workers.append(_Worker(self._objective, _threads(self.slots), self._inbox))
                free.append(self._workers[-1])
            if not free:
                return
            waiting.worker = free.pop(0)
            waiting.worker.tell(("run", waiting.job))

    def _take(self, worker: _Worker, message: Any) -> None:
        """Take in what a worker says."""
        waiting = next((w for w in self._order if w.worker is worker and w.ended is None and w.bug is None), None)
        kind, *said = message
        if kind == "report":
            if waiting is not None:
                waiting.reports.append((said[0], said[1]))
            return
        if kind == "unready":
            raise ConfigError(f"a worker process cannot take the run on: {said[0]}. Next: executor=in_process")
        if kind == "gone":
            self._workers.remove(worker)
            worker.close()
        if waiting is not None:
            waiting.ended, waiting.bug = _end(waiting.job, kind, said)
        self._assign()


def _end(job: Job, kind: str, said: list[Any]) -> tuple[Ended | None, BaseException | None]:
    """How a job ended, or the bug it ended with."""
    if kind == "outcome":
        return Ended(job, outcome=Outcome(**said[0])), None
    if kind == "failure":
        return Ended(job, failure=said[0]), None
    if kind == "cancelled":
        return Ended(job, cancelled=True), None
    if kind == "gone":
        reason = f"its worker process ended with status {said[0]}; that of a process killed for want of memory is -9"
        return Ended(job, failure=reason), None
    error, trace = said
    if error is None:
        return None, RuntimeError(f"a bug in a worker process:\n{trace}")
    if not isinstance(error, AutommError):
        error.__cause__ = RuntimeError(f"in a worker process:\n{trace}")
    return None, error


_standing_by: deque[tuple[int, subprocess.Popen[bytes]]] = deque()  # with their threads


@contextlib.contextmanager
def standing_by(slots: int | None, modules: Sequence[str]) -> Iterator[None]:
    """Start one worker ahead of its work, so that it imports `modules` while this process is busy starting up.

    Within the block, whoever runs `Processes` of as many slots takes it; if nobody does, it ends with the block.
    """
    threads = _threads(slots or physical())
    _standing_by.append((threads, _spawned(threads, modules)))
    try:
        yield
    finally:
        while _standing_by:
            process = _standing_by.popleft()[1]
            _dismiss(process, 0)
            assert process.stdout is not None
            process.stdout.close()


def _spawned(threads: int, modules: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """A worker's process, told where to find what it needs."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from automm.search.executors.worker import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # one that is gone already says so by itself
        send(process.stdin, (sys.path, tuple(modules)))
    return process


def _dismiss(process: subprocess.Popen[bytes], patience: float) -> None:
    """Close a worker's input, at which it ends; kill it if it does not within so many seconds."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _threads(slots: int) -> int:
    return max(1, physical() // slots)


class _Worker:
    """One process, and a thread that listens to it."""

    def __init__(self, objective: Parcel | None, threads: int, inbox: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        ready = _standing_by and _standing_by[0][0] == threads
        self.process = _standing_by.popleft()[1] if ready else _spawned(threads)
        self._inbox = inbox
        self.tell(objective)
        threading.Thread(target=self._listen, name="automm-worker", daemon=True).start()

    def tell(self, message: Any) -> None:
        """Send a message; a process that is gone says so by itself."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            send(self.process.stdin, message)

    def close(self) -> None:
        """Let the process end, and see to it that it does."""
        _dismiss(self.process, _PATIENCE)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            while (message := receive(stream)) is not None:
                self._inbox.put((self, message))
        self._inbox.put((self, ("gone", self.process.wait())))
