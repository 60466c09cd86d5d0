"""argv -> a subcommand, or the Hydra application. `python -m automm` is `automm`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from automm import commands
from automm.errors import AutommError
from automm.registry import needing_extra

if TYPE_CHECKING:
    from omegaconf import DictConfig

STOPPED = 130  # what a shell calls a process ended by Ctrl-C


class JobFailed(Exception):
    """A job of a sweep failed and has said why; the sweep's other jobs still run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. 2 = the user can mend it, and is told how."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if commands.is_subcommand(words):
            return commands.run(words)
        if {"-h", "--help"} & set(words):
            print(commands.help_text())
            return 0
        if "--version" in words:
            print(commands.version_text())
            return 0
        from automm.config import application

        application(_job, words)
    except JobFailed:
        return 2
    except AutommError as error:
        _tell(str(error), traced=_wants_traceback(words))
        return 2
    except KeyboardInterrupt:
        _tell("Stopped.", traced=False)
        return STOPPED
    return 0


def _job(cfg: DictConfig) -> None:
    """One run, in this process or in a launcher's worker."""
    with _head_start(cfg):
        _run(cfg)


def _run(cfg: DictConfig) -> None:
    from automm.config import job_settings, sweep_job

    try:
        settings = job_settings(cfg)
        with needing_extra("a run"):
            from automm.flow import run
    except AutommError as error:
        _fail(error, sweep_job(), traced=bool(cfg.get("debug")))
        return
    try:
        run(settings)
    except AutommError as error:
        _fail(error, sweep_job(), traced=settings.debug)
    except KeyboardInterrupt:
        _tell(f"Stopped. Next: the same command with run.dir={settings.run_dir} goes on.", traced=False)
        raise SystemExit(STOPPED) from None


def _head_start(cfg: DictConfig) -> AbstractContextManager[None]:
    """A worker that starts up on an idle core while this process does."""
    from omegaconf import OmegaConf

    name, slots = (OmegaConf.select(cfg, f"executor.{key}", default=None) for key in ("name", "slots"))
    if name != "processes" or not (slots is None or (isinstance(slots, int) and slots > 0)):
        return nullcontext()
    from automm.search.executors.processes import standing_by

    return standing_by(slots, ["automm.training.objective"])


def _fail(error: AutommError, job: str | None, *, traced: bool) -> None:
    """End a single run; in a sweep, say which job it was and let the others go on."""
    _tell(f"{job}: {error}" if job else str(error), traced=traced)
    if job:
        raise JobFailed(str(error))
    raise SystemExit(2)


def _tell(message: str, *, traced: bool) -> None:
    if traced:
        traceback.print_exc()
    sys.stderr.write(f"{message}\n")  # in one piece: the workers of a sweep share the stream
    sys.stderr.flush()


def _wants_traceback(words: Sequence[str]) -> bool:
    asked = {word.lstrip("+").lower() for word in words}
    return os.environ.get("HYDRA_FULL_ERROR") == "1" or bool(asked & {"debug=true", "debug=yes", "debug=on"})


if __name__ == "__main__":
    from automm.__main__ import main as importable  # so that workers find the job by its module's name

    sys.exit(importable())
