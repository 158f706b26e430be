"""Many independent jobs: here, in processes of this machine, or over anybody's executor.

    run_jobs(job, columns...)                                       # one after the other
    run_jobs(job, columns..., workers=4)                            # in 4 processes
    run_jobs(job, columns..., executor=client.get_executor())       # wherever Dask has workers
    run_jobs(job, columns..., keep="results")                       # and never computed twice

A job is a pure function of what it is given: it carries its data, and its seed. Every job runs with one
torch thread and no other job beside it in its process, so that its result is the same, bit by bit, wherever
it runs.
"""

from __future__ import annotations

import ast
import inspect
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from unlearn_lib import check
from unlearn_lib.results import Results, key
from unlearn_lib.store import StoreError

__all__ = ["Done", "JobsError", "each_job", "run_jobs"]

T = TypeVar("T")
Tasks = dict[int, Callable[[], Any]]  # by the place of the job
Finishing = Generator[tuple[int, Callable[[], Any]], None, None]
ENDED = "the job ended its process, and did so again when it ran alone: killed, or out of memory"
NOTES = 9  # jobs that are named below an error, besides the first
_ALONE = threading.RLock()  # torch's threads and its random stream belong to the process


class JobsError(ExceptionGroup[Exception]):
    """Some jobs failed; all others are done.

    `exceptions` holds each error once, with notes of the jobs that it stopped; `results` maps the place of
    every job that is done to what it returned.
    """

    results: dict[int, Any]

    @classmethod
    def of(cls, failed: Sequence[Exception], results: dict[int, Any], total: int) -> JobsError:
        """Of the errors of some of `total` jobs, by their places, each with a note of its job."""
        kinds: dict[tuple[type[Exception], str], list[Exception]] = {}
        for one in failed:
            kinds.setdefault((type(one), str(one)), []).append(one)
        for first, *others in kinds.values():
            for other in others[:NOTES]:
                first.add_note(other.__notes__[-1])
            if len(others) > NOTES:
                first.add_note(f"and in {len(others) - NOTES} more jobs")
        told = f"{type(failed[0]).__name__}: {failed[0]} ({failed[0].__notes__[0]})"
        words = f"{len(failed)} of {total} jobs failed; the first: {told}"
        error = cls(words, [alike[0] for alike in kinds.values()])
        error.results = results
        return error


class Done(NamedTuple):
    """A job that has ended: its place among all, and its result, or else its error.

    Args:
        place: of the job, from 0.
        result: what it returned.
        error: why it failed, with a note of its arguments.
        kept: whether the result was found on disk.
    """

    place: int
    result: Any = None
    error: Exception | None = None
    kept: bool = False


def run_jobs(
    job: Callable[..., T],
    *columns: Iterable[Any],
    executor: Any = None,
    workers: int = 0,
    keep: Path | str | None = None,
    ahead: int = 128,
    watch: Callable[[int, int], Any] = lambda done, total: None,
) -> list[T]:
    """``list(map(job, *columns))``, wherever there is somebody to work.

    Args:
        job: a pure function. To reach another process, it and its arguments must be picklable.
        columns: one value per job each.
        executor: anything with the `submit` of `concurrent.futures`.
        workers: without an executor, the number of processes; 0 runs here.
        keep: a folder; what was computed there by the same code from the same arguments is not computed
            again. Your own modules that the job reaches count as its code, and so do the versions of the
            packages that these import; `results.key` says what is covered and what is not, and
            `results.Results` what can be kept.
        ahead: how many jobs an executor has at one time: a little more than it has workers.
        watch: told after every job how many are done, and of how many.

    Raises:
        JobsError: jobs failed, or were lost twice with their process. The others are done, and kept.
        RuntimeError: new processes would run the calling script again.
        StoreError: `keep` is a file, or the disk is full.
        TypeError: the job cannot be sent to a process, or its result cannot be kept.
        ValueError: the columns differ in length, or both `executor` and `workers` are given.
    """
    rows = list(zip(*columns, strict=True))
    found: dict[int, T] = {}
    failed: dict[int, Exception] = {}
    every = each_job(job, rows, executor=executor, workers=workers, keep=keep, ahead=ahead)
    with closing(every):
        for done in every:
            if done.error is None:
                found[done.place] = done.result
            else:
                failed[done.place] = done.error
            watch(len(found) + len(failed), len(rows))
    if failed:
        raise JobsError.of([failed[place] for place in sorted(failed)], found, len(rows))
    return [found[place] for place in range(len(rows))]


def each_job(
    job: Callable[..., Any],
    rows: Sequence[tuple[Any, ...]],
    *,
    executor: Any = None,
    workers: int = 0,
    keep: Path | str | None = None,
    ahead: int = 128,
) -> Generator[Done, None, None]:
    """The same, a job at a time as they end, which may be in any order; a failure is told and raises nothing.

    Args:
        job: a pure function.
        rows: the arguments of each job.
        executor, workers, keep, ahead: as in `run_jobs`.
    """
    check.function("job", job), check.whole("workers", workers, 0), check.whole("ahead", ahead, 1)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"`executor` must have the `submit` of `concurrent.futures`; got {check.brief(executor)}."
        )
    if executor is not None and workers:
        raise ValueError(f"`workers` must be 0 where an `executor` is given; got {workers}.")
    kept = None if keep is None else Results(check.path("keep", keep))
    names = [] if kept is None else _names(job, rows)
    tasks: Tasks = {place: partial(_alone, job, row) for place, row in enumerate(rows)}
    for place, result in _found(kept, names) if kept else ():
        del tasks[place]
        yield Done(place, result, kept=True)
    with closing(_finishing(tasks, executor, workers, ahead)) as finishing:
        for place, finish in finishing:
            try:
                result = finish()
            except Exception as error:
                error.add_note(f"in job {place}: {_described(job, rows[place])}")
                yield Done(place, error=error)
            else:
                if kept is not None:
                    kept.save(names[place], result)
                yield Done(place, result)


def _finishing(tasks: Tasks, executor: Any, workers: int, ahead: int) -> Finishing:
    """The place of each job as it ends, with what returns its result or raises its error."""
    if executor is not None:
        yield from _over(executor, tasks, ahead)
    elif workers and tasks:
        _require_safe_start()
        _require_sendable(next(iter(tasks.values())))
        yield from _in_processes(tasks, min(workers, len(tasks)))
    else:
        yield from tasks.items()


def _alone(job: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """A job with one torch thread, and no other beside it in this process."""
    with _ALONE:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return job(*arguments)
        except SystemExit as error:
            raise RuntimeError(f"the job wanted to end the process: exit({error.code!r})") from error
        finally:
            torch.set_num_threads(threads)


def _names(job: Callable[..., Any], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """The keys of all jobs; what they have in common is read once."""
    common = key(job)
    return [key(common, *row) for row in rows]


def _found(kept: Results, names: list[str]) -> Iterator[tuple[int, Any]]:
    """The results that are there already, by the places of their jobs."""
    for place, name in enumerate(names):
        try:
            yield place, kept.load(name)
        except KeyError:
            continue
        except StoreError as error:
            check.warn(f"{error} It is computed again.")


def _described(job: Callable[..., Any], row: tuple[Any, ...]) -> str:
    """The arguments of a job by name."""
    try:
        given = inspect.signature(job).bind(*row).arguments
    except (TypeError, ValueError):  # a built-in function
        given = {f"argument {i}": value for i, value in enumerate(row, 1)}
    return ", ".join(f"{name}={check.brief(value)}" for name, value in given.items())


# ---- somebody else's executor


def _over(executor: Any, tasks: Tasks, ahead: int) -> Finishing:
    left = iter(tasks.items())
    running: dict[Any, int] = {}
    try:
        while True:
            for place, task in islice(left, ahead - len(running)):
                try:
                    running[_sent(executor, task)] = place
                except BrokenExecutor as error:
                    yield place, partial(_raise, error)
            if not running:
                return
            for future in _finished(running):
                yield running.pop(future), partial(_value, future)
    finally:
        for future in running:
            future.cancel()


def _finished(running: dict[Any, int]) -> list[Any]:
    """Those that are done; of futures that nobody can wait for together, the first."""
    if all(isinstance(future, Future) for future in running):
        return list(wait(running, return_when=FIRST_COMPLETED).done)
    return [next(iter(running))]


class _Pickled(bytes):
    """A result, to be read."""


def _sent(executor: Any, task: Callable[[], Any]) -> Any:
    """The future of a task. Python's own processes get and return tensors by value.

    Left alone torch sends each tensor as an open file, and of these a process may have about a thousand.
    """
    if isinstance(executor, ProcessPoolExecutor):
        return executor.submit(_by_value, pickle.dumps(task))
    return executor.submit(task)


def _by_value(task: bytes) -> _Pickled:
    return _Pickled(pickle.dumps(pickle.loads(task)()))


def _value(future: Any) -> Any:
    found = future.result()
    return pickle.loads(found) if isinstance(found, _Pickled) else found


def _raise(error: Exception) -> None:
    raise type(error)(*error.args)  # a new one each time, because every error gets a note of its job


# ---- processes of this machine


def _in_processes(tasks: Tasks, workers: int, *, again: bool = True) -> Finishing:
    """No process is given a job before it is free, so we know which jobs were lost with it."""
    left = deque(tasks)
    while left:
        running: dict[Future[Any], int] = {}
        lost: set[int] = set()
        with _processes(workers) as pool, suppress(BrokenProcessPool):
            while left or running:
                while left and len(running) < workers:
                    running[_sent(pool, tasks[left[0]])] = left[0]
                    left.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    place = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        lost.add(place)
                    else:
                        yield place, partial(_value, future)
        lost.update(running.values())
        if lost and again:
            check.warn(
                "a process ended early (killed, or out of memory?) with jobs "
                f"{', '.join(map(str, sorted(lost)))}; they run again, one at a time."
            )
            yield from _in_processes({place: tasks[place] for place in sorted(lost)}, 1, again=False)
        else:  # each was alone in its process, so it is to blame
            yield from ((place, partial(_raise, BrokenProcessPool(ENDED))) for place in sorted(lost))


@contextmanager
def _processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """New processes that end when they are no longer wanted, even in the middle of a job."""
    spawn = multiprocessing.get_context("spawn")  # a forked torch may hang
    wanted, ours = spawn.Pipe(duplex=False)
    pool = ProcessPoolExecutor(number, spawn, initializer=_begin, initargs=(wanted,))
    try:
        yield pool
    except BaseException:
        ours.close()
        pool.shutdown(cancel_futures=True)
        raise
    else:
        pool.shutdown()
    finally:
        ours.close()
        wanted.close()


def _begin(wanted: Connection) -> None:
    """The first thing in a new process. An interrupt is for the one that asked, who ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(wanted,), daemon=True).start()


def _end_with(wanted: Connection) -> None:
    """End when the asking process closes its end of the pipe, or is gone: a killed kernel gives no notice."""
    parent = multiprocessing.parent_process()
    wait_for([wanted, *([parent.sentinel] if parent else [])])
    os._exit(1)


def _require_sendable(task: Any) -> None:
    """Raise unless a new process can be told of this job."""
    remedy = "Define its functions and classes at the top of a module that can be imported."
    try:
        data = pickle.dumps(task)
    except Exception as error:
        raise TypeError(f"`job` cannot be sent to another process: {error}. {remedy}") from error
    if b"__main__" in data and getattr(sys.modules["__main__"], "__file__", None) is None:
        raise TypeError(
            "`job` cannot be sent to another process: a part of it is defined in a notebook or at a prompt, "
            f"where a new process cannot look. {remedy}"
        )


def _require_safe_start() -> None:
    """Raise if each new process, which begins by importing the main script, would come here again."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    name = getattr(getattr(main, "__spec__", None), "name", "")
    if file is None or name.split(".")[-1] == "__main__":  # neither is imported by new processes
        return
    if not Path(file).is_file():
        raise RuntimeError(
            f"new processes begin by running the main script, and {file} is no file. Write the script to "
            "one, or take `workers=0`."
        )
    frame = inspect.currentframe()
    while frame is not None and not (frame.f_globals is vars(main) and frame.f_code.co_name == "<module>"):
        frame = frame.f_back
    if frame is None:  # called from a thread
        return
    line = frame.f_lineno
    for node in ast.parse(Path(file).read_bytes()).body:
        if node.lineno <= line <= (node.end_lineno or line):
            if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
                return
            raise RuntimeError(
                f"{file}, line {line}, asks for new processes, and each of them would begin by running "
                "this script again. Put that line, and all that is to run once, under "
                '`if __name__ == "__main__":`; or take `workers=0`.'
            )
