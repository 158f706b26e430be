"""Jobs over a cluster: Dask with two worker processes of this machine, and loky."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import pytest

from tests import tiny_jobs
from tests.commands import status
from tests.notebooks.test_runner import notebook
from tests.tiny_jobs import runs, same_bytes, told, trained, wrong
from tests.toys import blobs
from unlearn_lib.command.cluster import executor_of
from unlearn_lib.command.sweep import sweep_command
from unlearn_lib.jobs import JobsError, run_jobs
from unlearn_lib.metrics.lira import mini_ulira

distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")

SEEDS = range(5)


@pytest.fixture(scope="module")
def dask() -> Iterator[Executor]:
    """The executor of two worker processes, which start again when they are killed."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


def test_workers_of_a_cluster_give_the_bytes_of_a_serial_run(dask: Executor) -> None:
    assert same_bytes(run_jobs(trained, SEEDS), run_jobs(trained, SEEDS, executor=dask))


def test_a_worker_killed_in_the_middle_loses_no_job(dask: Executor, tmp_path: Path) -> None:
    found = run_jobs(partial(tiny_jobs.fragile, tmp_path), SEEDS, executor=dask)
    assert (tmp_path / "killed").exists()
    assert same_bytes(found, run_jobs(trained, SEEDS))


def test_a_task_that_fails_is_told_by_name_and_the_others_end(dask: Executor) -> None:
    with pytest.raises(
        JobsError, match=r"1 of 3 jobs failed; .* \(in job 1: seed=0, factor=2.0\)"
    ) as failure:
        run_jobs(wrong, [1, 0, 2], [1.0, 2.0, 3.0], executor=dask)
    assert failure.value.results == {0: 1.0, 2: 1.5}


def test_a_stopped_or_larger_sweep_computes_only_what_is_missing(dask: Executor, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    job = partial(told, tmp_path / "runs")

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(job, range(4), executor=dask, keep=tmp_path / "kept", ahead=1, watch=stop)
    for seeds in (range(4), range(4), SEEDS):
        found = run_jobs(job, seeds, executor=dask, keep=tmp_path / "kept")
        assert same_bytes(found, run_jobs(trained, seeds))
        assert runs(tmp_path / "runs") == list(seeds)


def test_u_lira_over_a_cluster_is_u_lira_here(dask: Executor) -> None:
    candidates = blobs(n=12)
    here, there = (
        mini_ulira(tiny_jobs.shadow, candidates, shadows=4, targets=2, executor=executor)
        for executor in (None, dask)
    )
    assert here[1].phi.numpy().tobytes() == there[1].phi.numpy().tobytes()
    assert here[0].auc == there[0].auc


def test_a_cluster_is_found_by_its_address(dask: Executor) -> None:
    with executor_of(dask._client.scheduler.address) as executor:
        assert run_jobs(pow, [2, 3], [2, 2], executor=executor) == [4, 9]
    with executor_of(None) as executor:
        assert executor is None


def test_a_lesson_runs_on_a_cluster_that_has_none_of_its_files(
    dask: Executor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lessons").mkdir()
    notebook(tmp_path / "lessons" / "01_small.ipynb", "record('a', third=seed / 3)")
    given = ["01", "--grid", "seed=1..2", "--notebooks", str(tmp_path / "lessons"), "--out", str(tmp_path)]
    assert status(sweep_command, *given, "--scheduler", dask._client.scheduler.address) == 0
    assert "2 of 2 runs ok" in capsys.readouterr().out
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[-2] for line in lines] == ["a.third", repr(1 / 3), repr(2 / 3)]


def test_loky_gives_the_bytes_of_a_serial_run() -> None:
    loky = pytest.importorskip("loky", reason="needs loky")
    with loky.ProcessPoolExecutor(1) as pool:
        assert same_bytes(run_jobs(trained, range(2)), run_jobs(trained, range(2), executor=pool))
