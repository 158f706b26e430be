"""Many jobs, here and in processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny_jobs
from tests.tiny_jobs import runs, same_bytes, told, trained, wrong
from unlearn_lib import jobs
from unlearn_lib.jobs import JobsError, run_jobs

ROOT = Path(__file__).parents[2]
SEEDS = range(5)
HERE = run_jobs(trained, SEEDS)


def until(there: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not there() and time.monotonic() < end:
        time.sleep(0.05)
    return there()


def test_who_waits_is_told_after_every_job_how_many_are_done() -> None:
    seen: list[tuple[int, int]] = []
    assert run_jobs(pow, [2, 3, 4], [2, 2, 2], watch=lambda *done: seen.append(done)) == [4, 9, 16]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert run_jobs(pow, [], []) == run_jobs(pow, [], [], workers=2) == []
    with pytest.raises(ValueError, match="shorter"):
        run_jobs(pow, [2, 3], [2])


def test_processes_and_other_executors_give_the_same_bytes() -> None:
    assert same_bytes(HERE, run_jobs(trained, SEEDS, workers=2))
    with ThreadPoolExecutor(4) as pool:
        assert same_bytes(HERE, run_jobs(trained, SEEDS, executor=pool))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_results_of_processes_hold_no_open_files() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = run_jobs(torch.ones, range(1, 31), workers=1)
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 10
    assert [len(ones) for ones in found] == list(range(1, 31))


def test_an_executor_of_another_kind_will_do() -> None:
    class Later:
        def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
            self.result, self.cancelled = partial(function, *arguments), False

        def cancel(self) -> None:
            self.cancelled = True

    class Simple:
        submit = staticmethod(Later)

    assert run_jobs(pow, [2, 3, 4], [2, 2, 2], executor=Simple(), ahead=2) == [4, 9, 16]


def test_an_executor_has_no_more_jobs_than_were_allowed_ahead() -> None:
    class Counting(ThreadPoolExecutor):
        waiting: int = 0
        most: int = 0

        def submit(self, *given: Any, **more: Any) -> Any:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            return super().submit(*given, **more)

    with Counting(1) as pool:
        done = lambda *_: setattr(pool, "waiting", pool.waiting - 1)  # noqa: E731
        assert run_jobs(abs, range(-9, 0), executor=pool, ahead=3, watch=done) == list(range(9, 0, -1))
    assert pool.most == 3


def test_every_job_has_one_thread_and_the_caller_has_its_own_again() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert run_jobs(tiny_jobs.threads) == []
        assert run_jobs(lambda _: tiny_jobs.threads(), [0]) == [1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_job_that_fails_is_told_by_name_and_the_others_end(workers: int) -> None:
    with pytest.raises(JobsError, match=r"2 of 4 jobs failed; the first: ZeroDivisionError") as failure:
        run_jobs(wrong, [1, 0, 2, 0], [1.0, 2.0, 3.0, 4.0], workers=workers)
    assert failure.value.results == {0: 1.0, 2: 1.5}
    [error] = failure.value.exceptions
    assert sorted(error.__notes__) == ["in job 1: seed=0, factor=2.0", "in job 3: seed=0, factor=4.0"]
    assert error.__notes__[0] in str(failure.value)


def test_the_first_that_failed_is_the_one_with_the_lowest_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(tasks: dict[int, Any], *_: Any) -> Any:
        yield from reversed(tasks.items())

    monkeypatch.setattr(jobs, "_finishing", backward)
    with pytest.raises(JobsError, match=r"the first: .* \(in job 0: seed=0, factor=1.0\)") as failure:
        run_jobs(wrong, [0, 0], [1.0, 2.0])
    [error] = failure.value.exceptions
    assert error.__notes__ == ["in job 0: seed=0, factor=1.0", "in job 1: seed=0, factor=2.0"]


def test_an_error_of_many_jobs_is_told_once() -> None:
    with pytest.raises(JobsError, match=r"^13 of 13 jobs failed") as failure:
        run_jobs(wrong, [0] * 12 + ["a"], [1.0] * 13)
    division, other = failure.value.exceptions
    assert isinstance(division, ZeroDivisionError)
    assert isinstance(other, TypeError)
    assert division.__notes__[0] == "in job 0: seed=0, factor=1.0"
    assert division.__notes__[-2:] == ["in job 9: seed=0, factor=1.0", "and in 2 more jobs"]
    assert other.__notes__ == ["in job 12: seed='a', factor=1.0"]


def test_a_job_that_wants_to_leave_fails_alone() -> None:
    with pytest.raises(JobsError, match=r"the job wanted to end the process: exit\(3\)"):
        run_jobs(tiny_jobs.leaves, [3])


def test_what_was_kept_is_not_computed_again(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    job, seen = partial(told, tmp_path / "runs"), []
    first = run_jobs(job, range(3), keep=tmp_path / "kept")
    assert runs(tmp_path / "runs") == [0, 1, 2]
    again = run_jobs(job, range(3), keep=tmp_path / "kept")
    assert runs(tmp_path / "runs") == [0, 1, 2]
    more = run_jobs(job, SEEDS, keep=tmp_path / "kept", watch=lambda *done: seen.append(done))
    assert runs(tmp_path / "runs") == [0, 1, 2, 3, 4]
    assert same_bytes(first, again)
    assert same_bytes(more, HERE)
    assert seen == [(done, 5) for done in (1, 2, 3, 4, 5)]


def test_what_failed_is_computed_again_and_the_rest_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(JobsError, match="1 of 3"):
            run_jobs(wrong, [1, 0, 2], [1.0] * 3, keep=tmp_path)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_a_damaged_result_is_computed_again_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    job = partial(told, tmp_path / "runs")
    run_jobs(job, range(2), keep=tmp_path / "kept")
    one = next((tmp_path / "kept").rglob("*.safetensors"))
    one.write_bytes(one.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=rf"{one.name} is damaged.* It is computed again"):
        found = run_jobs(job, range(2), keep=tmp_path / "kept")
    assert same_bytes(found, HERE[:2])
    assert len(runs(tmp_path / "runs")) == 3
    run_jobs(job, range(2), keep=tmp_path / "kept")
    assert len(runs(tmp_path / "runs")) == 3


def test_a_result_that_cannot_be_kept_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"`result` cannot be kept on disk; got a range"):
        run_jobs(range, [1, 2], keep=tmp_path)


def test_a_killed_process_takes_no_job_with_it(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"ended early .* with jobs (0, |1, )?2(, 3)?; they run again"):
        found = run_jobs(partial(tiny_jobs.fragile, tmp_path), range(4), workers=2)
    assert same_bytes(found, HERE[:4])


def test_a_job_that_always_ends_its_process_fails_alone() -> None:
    with (
        pytest.warns(UserWarning, match="ended early"),
        pytest.raises(JobsError, match=r"the job ended its process, .* \(in job 1: seed=2\)") as failure,
    ):
        run_jobs(tiny_jobs.deadly, [0, 2, 1], workers=1)
    assert same_bytes([failure.value.results[place] for place in (0, 2)], HERE[:2])


def test_jobs_of_a_broken_executor_fail_by_name() -> None:
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(JobsError, match="jobs failed") as failure,
    ):
        run_jobs(tiny_jobs.deadly, [2, 0], executor=pool, ahead=1)
    notes = [note for error in failure.value.exceptions for note in error.__notes__]
    assert notes == ["in job 0: seed=2", "in job 1: seed=0"]


def test_what_cannot_reach_a_process_is_said_before_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_processes", None)
    with pytest.raises(TypeError, match=r"`job` cannot be sent to another process: .*lambda.* Define its"):
        run_jobs(lambda _: 1, [1], workers=1)
    monkeypatch.setattr(wrong, "__module__", "__main__")
    monkeypatch.setattr("__main__.wrong", wrong, raising=False)
    monkeypatch.delattr("__main__.__file__", raising=False)
    with pytest.raises(TypeError, match="defined in a notebook or at a prompt"):
        run_jobs(wrong, [1], [1.0], workers=1)


def test_errors_name_the_argument_the_rule_and_the_value() -> None:
    with pytest.raises(TypeError, match=r"`executor` must have the `submit` .*; got 3"):
        run_jobs(abs, [1], executor=3)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match=r"`workers` must be 0 .*; got 2"):
        run_jobs(abs, [1], executor=pool, workers=2)
    with pytest.raises(ValueError, match=r"`workers` must be zero or more; got -1"):
        run_jobs(abs, [1], workers=-1)


# ---- the script that asks

ASKS = """
from unlearn_lib.jobs import run_jobs
open({log!r}, "a").write("script\\n")
{before}
{ask}
{after}
"""


def script(tmp_path: Path, ask: str, before: str = "", after: str = "") -> tuple[str, list[str], str]:
    """Run a script that asks for processes: what it printed, how often it began, and its errors."""
    log = tmp_path / "log"
    log.touch()
    path = tmp_path / "script.py"
    path.write_text(ASKS.format(log=str(log), before=before, ask=ask, after=after))
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    return done.stdout, log.read_text().splitlines(), done.stderr


def test_a_script_without_the_guard_is_told_of_it_once(tmp_path: Path) -> None:
    out, begun, errors = script(tmp_path, "print(run_jobs(abs, [-1, -2], workers=2))")
    assert out == ""
    assert begun == ["script"]
    assert errors.count("Traceback") == 1
    assert "script.py, line 5, asks for new processes" in errors
    assert 'under `if __name__ == "__main__":`' in errors


def test_a_script_with_the_guard_runs_in_processes(tmp_path: Path) -> None:
    out, begun, errors = script(
        tmp_path,
        'if __name__ == "__main__":\n    main()',
        before="def job(i):\n    import os\n    return os.getpid()\n"
        "def main():\n    import os\n    print(os.getpid() not in run_jobs(job, [1, 2], workers=1))",
    )
    assert (out, errors) == ("True\n", "")
    assert len(begun) == 2  # the script, and the process as it imports the job


def test_code_at_a_prompt_runs_in_processes_or_says_why_not() -> None:
    code = "from unlearn_lib.jobs import run_jobs; print(run_jobs(abs, [-1, -2], workers=1))"
    done = [
        subprocess.run([sys.executable, how], input=code, capture_output=True, text=True, cwd=ROOT)
        for how in (f"-c{code}", "-")
    ]
    assert (done[0].stdout, done[0].stderr) == ("[1, 2]\n", "")
    assert done[1].stdout == ""
    assert done[1].stderr.count("Traceback") == 1
    assert "<stdin> is no file. Write the script to one, or take `workers=0`." in done[1].stderr


# ---- the end of processes


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_that_asked(tmp_path: Path, how: signal.Signals) -> None:
    code = (
        "from functools import partial; from pathlib import Path; from tests.tiny_jobs import waits\n"
        f"from unlearn_lib.jobs import run_jobs; run_jobs(partial(waits, Path({str(tmp_path)!r})),"
        f" range(5), workers=2, keep={str(tmp_path / 'kept')!r})"
    )
    asker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        begun = lambda: [path.name.split() for path in tmp_path.glob("begun *")]  # noqa: E731
        assert until(lambda: len(begun()) == 3), "the workers did not begin"
        assert until(lambda: any((tmp_path / "kept").rglob("*.safetensors"))), "nothing was kept"
        asker.send_signal(how)
        _, errors = asker.communicate(timeout=60)
    finally:
        asker.kill()
    assert until(lambda: not any(_alive(words[-1]) for words in begun())), "a worker outlived its asker"
    if how == signal.SIGINT:
        assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1


def _alive(pid: str) -> bool:
    """False for a zombie that nobody has collected, too."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
