"""One run at a time, in a thread: single flight, Stop, and no thread left behind. Knows no widget."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any, ClassVar, TypeVar

import torch

from unlearn_lib import check
from unlearn_lib.train import Step, run

__all__ = ["Stopped", "Worker"]

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - an answer, not an error
    """Someone pressed Stop."""


class Worker:
    """Runs jobs in a daemon thread, one at a time.

    A worker of the same name, made earlier, is stopped first: a notebook cell run again leaves one thread,
    not two. All workers stop when Python ends.

    Args:
        name: of the panel it works for.
    """

    live: ClassVar[dict[str, Worker]] = {}

    @check.arguments
    def __init__(self, name: str) -> None:
        if name in self.live:
            self.live[name].stop(wait=10)
        self.live[name] = self
        self.name, self.starts = name, 0
        self.busy, self.asked_to_stop = threading.Lock(), threading.Event()
        self.thread: threading.Thread | None = None

    @check.arguments
    def start(self, job: Callable[[], None], before: Callable[[], None] = lambda: None) -> bool:
        """Begin the job in its own thread and return; do nothing and return False while another runs.

        `before` is called first, in the caller's thread: for saying that a run has begun.
        """
        if not self.busy.acquire(blocking=False):
            return False
        self.asked_to_stop.clear()
        self.starts += 1
        before()
        self.thread = threading.Thread(target=self._work, args=(job,), daemon=True, name=f"panel {self.name}")
        self.thread.start()
        return True

    def _work(self, job: Callable[[], None]) -> None:
        try:
            with torch.enable_grad():  # grad mode belongs to a thread
                job()
        finally:
            self.busy.release()

    @check.arguments
    def stop(self, wait: float = 0) -> None:
        """Ask the job to stop at its next step; wait up to this many seconds for the thread to end."""
        self.asked_to_stop.set()
        if wait and self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(wait)

    def drive(self, steps: Generator[Step, None, T], watch: Iterable[Callable[[Step], Any]]) -> T:
        """Like `train.run`, but raises `Stopped` once asked to stop."""

        def look(_: Step) -> None:
            if self.asked_to_stop.is_set():
                raise Stopped

        return run(steps, [look, *watch])


@atexit.register
def _stop_all() -> None:
    for worker in Worker.live.values():
        worker.stop()
    for worker in Worker.live.values():
        worker.stop(wait=1)
