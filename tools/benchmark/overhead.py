"""What a trial's time goes to: model compute, data, and the framework around them.

    python tools/benchmark/overhead.py [OVERRIDE ...]

Fits one trial of `+task=vqa` (by default two epochs on 2,560 images, cross_attention) through the same objective that
a search calls, with clocks around the calls that compute (forward and loss, backward, clipping, optimizer, weight
average, the forward passes of validation) and around those that fetch data (reading, preprocessing, batches). The rest
of the wall time is the framework's: checking the candidate, building the model, the loop, the gradient monitor,
metrics, checkpoints.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from search_vs_random import conditions

from automm.config import compose, to_settings
from automm.data.loading import Loader
from automm.flow import Run
from automm.model import Model
from automm.training import objective
from automm.training.ema import Average

DEFAULT = (
    "data.train_images=2560", "data.valid_images=500", "fusion=cross_attention", "training.batch_size=320",
    "training.ema=0.99", "training.epochs=24",
)  # fmt: skip
EPOCHS = 2


class Clock:
    """Seconds by part. Calls nest: what an inner one takes is not counted for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, part: str | Callable[[Any], str], call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, its time added to `part`, or to what `part` says of the first argument."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent = time.perf_counter() - began
                name = part if isinstance(part, str) else part(args[0])
                self.seconds[name] += spent - self._inner.pop()
                self._inner[-1] += spent

        return wrapped

    def wrap(self, owner: Any, name: str, part: str | Callable[[Any], str]) -> None:
        """Time every call of `owner.name`."""
        setattr(owner, name, self.timed(part, getattr(owner, name)))

    def wrap_iterator(self, owner: Any, part: str) -> None:
        """Time every `next` of what iterating over an `owner` gives."""
        iterate = owner.__iter__

        def timed(instance: Any) -> Iterator[Any]:
            items = iterate(instance)
            fetch = self.timed(part, lambda: next(items, None))
            while (item := fetch()) is not None:
                yield item

        owner.__iter__ = timed


def main() -> None:
    """Fit the trial and print the table."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        asked = ["+task=vqa", f"run.dir={folder}/run", *DEFAULT, *sys.argv[1:]]
        run = Run(to_settings(compose(asked), Path.cwd(), overrides=asked))
        candidate, state = run.space.defaults(), Path(folder) / "state.safetensors"

        def fit(epochs: int) -> None:
            assert run.objective.check(candidate) is None
            run.objective.fit(candidate, start=0, stop=epochs, resume=None, save_to=state, report=lambda *_: None)

        fit(1)  # what is prepared once for all trials is not theirs
        clock.wrap(Model, "forward", lambda model: "forward and loss" if model.training else "validation")
        clock.wrap(type(run.task), "loss", "forward and loss")
        clock.wrap(Fabric, "backward", "backward")
        clock.wrap(torch.nn.utils, "clip_grad_norm_", "clipping, optimizer, weight average")
        clock.wrap(torch.optim.AdamW, "step", "clipping, optimizer, weight average")
        clock.wrap(Average, "update", "clipping, optimizer, weight average")
        clock.wrap(objective, "fit_preprocess", "data")
        clock.wrap_iterator(Loader, "data")
        began = time.perf_counter()
        fit(EPOCHS)
        total = time.perf_counter() - began
    rows = {**clock.seconds, "framework: all the rest": total - sum(clock.seconds.values())}
    where = conditions().replace("one thread", f"{torch.get_num_threads()} threads")
    print(f"{where}; {EPOCHS} epochs, {total:.1f} s\n")
    print("| part | seconds | share |\n|---|---|---|")
    for part, seconds in rows.items():
        print(f"| {part} | {seconds:.2f} | {100 * seconds / total:.1f} % |")


if __name__ == "__main__":
    main()
