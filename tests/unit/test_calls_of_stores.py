"""Calls that make no sense, of everything that stores: refused by the library's own words, never by chance.

They run in a process without the type checker of the other tests, which would speak first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = """
import json, math, sys, tempfile, warnings
from pathlib import Path
import torch
from torch import nn
from tests.toys import CHAIN_RECIPE as R, blobs, tiny_net
from unlearn_lib.methods.deepobliviate import decay
from unlearn_lib.methods.deepobliviate.chain import cut_into_blocks, train_chain
from unlearn_lib.methods.deepobliviate.decay import TrendRule, dfa, dfa_points, fit_trend
from unlearn_lib.methods.layers import Layers, top
from unlearn_lib.methods.amnesiac import Log, amnesiac, packed, record, undo
from unlearn_lib.methods.deepobliviate import deepobliviate, deepobliviate_but, stitched
from unlearn_lib.methods.sisa import SisaModel, aggregate, sisa, train_sisa
from unlearn_lib.params import snapshot
from unlearn_lib.methods.sisa import Partition, partition
from unlearn_lib.methods.sisa.partition import expected_shards, expected_visits, stage_epochs
from unlearn_lib.store import Folder, StoreError
from unlearn_lib.train import run
from unlearn_lib.methods.amnesiac.updates import Updates, kept_entries, update_nbytes

warnings.simplefilter("ignore")
root, nan = Path(tempfile.mkdtemp()), math.nan
X, N, new = blobs(60), tiny_net(), lambda: tempfile.mkdtemp(dir=root)
CH = run(train_chain(N, X, R, 4, root / "chain"))
CELLS = partition(X, 2, 2)
EN = run(train_sisa(N, X, R, CELLS, root / "sisa"))
N2 = tiny_net()
LG = run(record(N2, X, R, root / "log", keep=1))
TRACE = run(deepobliviate(CH, CH.members[1][:1], stop_block=3)).trace
L, U = LG.layers, LG.updates([1])
for line in sys.stdin:
    try:
        found = repr(eval(line))
        print(json.dumps(["silent", found[:200]]))
    except Exception as error:
        kind = "clear" if isinstance(error, (TypeError, ValueError, StoreError)) else "accident"
        print(json.dumps([kind, f"{type(error).__name__}: {error}"]))
"""

CALLS = {
    "cut_into_blocks(X, 2.5)": "`blocks` must be a whole number; got 2.5",
    "cut_into_blocks(X, '4')": "`blocks` must be a whole number; got '4'",
    "cut_into_blocks(X, True)": "`blocks` must be a whole number; got True",
    "cut_into_blocks(X.x, 4)": "`data` must be of class Examples",
    "cut_into_blocks(X, 4, 'x')": "must be a whole number; got 'x'",
    "run(train_chain(N, X, R, [], new()))": "`blocks` must hold at least one block",
    "run(train_chain(N, X, R, '4', new()))": "`blocks` must be a whole number",
    "run(train_chain(N, X, R, 4.0, new()))": "`blocks` must be a whole number",
    "run(train_chain(N, X, R, [X.y == 1, X.y != 1], new()))": "got a mask of yes and no",
    "run(train_chain(N, X, R, [X.ids[:-1]], new()))": "every id of `data` exactly once",
    "run(train_chain(N, X, R, [X.ids, X.ids[:1]], new()))": "every id of `data` exactly once",
    "run(train_chain(N, X, R, ['ab'], new()))": "`blocks[0]` must",
    "run(train_chain(N, X, None, 4, new()))": "`recipe` must be of class Recipe",
    "run(train_chain(None, X, R, 4, new()))": "`model` must be of class Module",
    "run(train_chain(N, X.x, R, 4, new()))": "`data` must be of class Examples",
    "run(train_chain(N, X, R, 4, None))": "`folder` must be a path",
    "CH.model(99)": "`k` must be in 0 ... 4; got 99",
    "CH.model(-1)": "`k` must be in 0 ... 4; got -1",
    "CH.model('1')": "`k` must be a whole number",
    "CH.params(1.5)": "`k` must be a whole number",
    "CH.block_of(X.y == 1)": "got a mask of yes and no",
    "CH.pending(3)": "`ids` must be several whole numbers",
    "CH.without('1')": "`ids` must",
    "run(deepobliviate(EN, [1]))": "`chain` must be of class Chain",
    "run(deepobliviate(None, [1]))": "`chain` must be of class Chain",
    "run(deepobliviate(CH, X.y == 1))": "got a mask of yes and no",
    "run(deepobliviate(CH, '1'))": "`ids` must",
    "run(deepobliviate(CH, [1], stop_block=3.5))": "`stop_block` must be a whole number; got 3.5",
    "run(deepobliviate(CH, [1], stop_block=nan))": "`stop_block` must be a whole number",
    "run(deepobliviate(CH, [1], restart='1'))": "`restart` must be a whole number",
    "run(deepobliviate_but(CH, [1], order_seed='x'))": "`order_seed` must be a whole number",
    "run(deepobliviate_but(CH, [1], order_seed=1.5))": "`order_seed` must be a whole number",
    "run(deepobliviate(CH, [1], 0.01))": "`rule` must be of class TrendRule",
    "CH.commit(None)": "`trace` must be of class ResidualTrace",
    "stitched(CH, TRACE, 9)": "`T` must be in 2 ... 3; got 9",
    "stitched(CH, TRACE, 2.5)": "`T` must be a whole number",
    "stitched(CH, None)": "`trace` must be of class ResidualTrace",
    "TrendRule('a')": "`epsilon` must be a number",
    "TrendRule(nan)": "`epsilon` must be zero or more; got nan",
    "TrendRule(-1)": "`epsilon` must be zero or more; got -1",
    "TrendRule(n_min=2.5)": "`n_min` must be a whole number",
    "TrendRule(n_min=1)": "`n_min` must be at least 2",
    "TrendRule(estimator='x')": "`estimator` must be",
    "TrendRule(h=nan)": "`h` must be positive and finite",
    "TrendRule(normalize=1)": "`normalize` must be True or False",
    "fit_trend([3.0, 2.0, 1.5], 'x')": "`estimator` must be",
    "fit_trend([[1], [2], [3]])": "`window` must be numbers in one row",
    "fit_trend('abc')": "`window` must be",
    "fit_trend([1, 2, 3], 'fixed', h=nan)": "`h` must be zero or more, and finite",
    "dfa('abc')": "`series` must be",
    "dfa([[1.0, 2.0]])": "`series` must be numbers in one row",
    "dfa_points(None)": "`series` must be",
    "partition(X, 2.5, 2)": "`shards` must be a whole number",
    "partition(X, 2, True)": "`slices` must be a whole number",
    "partition(X, 2, 2, 'likely')": "`mode` must be",
    "partition(X, 2, 2, ['keyed'])": "`mode` must be",
    "partition(X, 2, 2, seed=0.5)": "`seed` must be a whole number",
    "partition(X.x, 2, 2)": "`data` must be of class Examples",
    "partition(X, 2, 2, 'prior', likely=torch.full((60,), nan))": "`likely` must not hold NaN",
    "partition(X, 2, 2, 'prior', likely=torch.full((60,), math.inf))": "`likely` must be finite",
    "partition(X, 2, 2, 'prior', likely=['a'] * 60)": "`likely` must be",
    "partition(X, 2, 2, 'prior', likely=torch.zeros(60, 2))": "`likely` must have shape [n]",
    "Partition(3)": "`cells` must be of class tuple or list",
    "Partition((X.ids,))": "`cells[0]` must be of class tuple or list",
    "Partition(((X.y == 1,),))": "got a mask of yes and no",
    "CELLS.without(X.y == 1)": "got a mask of yes and no",
    "CELLS.restarts('a')": "`ids` must",
    "CELLS.visits(1.5)": "`budget` must be a whole number",
    "stage_epochs(1, 3, nan)": "`budget` must be a whole number",
    "stage_epochs(1.5, 3, 2)": "`r` must be a whole number",
    "stage_epochs(1, 0, 2)": "`slices` must be at least 1",
    "expected_shards(4, -1)": "`requests` must be zero or more",
    "expected_shards(0, 1)": "`shards` must be at least 1",
    "expected_shards(4, 1.5)": "`requests` must be a whole number",
    "expected_visits(5, 0, 2, 1)": "`shards` must be at least 1",
    "expected_visits(-5, 2, 2, 1)": "`n` must be zero or more",
    "expected_visits(5, 2, 2, nan)": "`budget` must be a whole number",
    "run(train_sisa(N, X, R, None, new()))": "`cells` must be of class Partition",
    "run(train_sisa(N, X, None, CELLS, new()))": "`recipe` must be of class Recipe",
    "run(train_sisa(N, X, R, CELLS, 5))": "`folder` must be a path",
    "run(sisa(CH, [1]))": "`ensemble` must be of class Ensemble",
    "run(sisa(EN, X.y == 1))": "got a mask of yes and no",
    "run(sisa(EN, [1], votes='loud'))": "`votes` must be",
    "run(sisa(EN, [1], weights='equal'))": "`weights` must be",
    "run(sisa(EN, [1], weights=(1, nan)))": "`weights` must be",
    "EN.commit(None)": "`trace` must be of class SisaTrace",
    "EN.commit(TRACE)": "`trace` must be of class SisaTrace",
    "EN.checkpoint(1.5)": "`s` must be a whole number",
    "EN.checkpoint(1, '2')": "`r` must be a whole number",
    "EN.vote('loud')": "`votes` must be",
    "EN.vote(weights=None)": "`weights` must be",
    "EN.vote(weights=(1, 2, 3))": "`weights` must be",
    "SisaModel([N, N], 'size')": "`weights` must be",
    "aggregate(torch.full((2, 3, 4), nan), [1, 1])": "`outputs` must not hold NaN",
    "aggregate(torch.zeros(3, 4), [1, 1, 1])": "`outputs` must have shape [s, n, k]",
    "aggregate(torch.zeros(2, 3, 4), [1])": "`weights` must be 2 finite numbers",
    "aggregate(torch.zeros(2, 3, 4), [1, 1], ['soft'])": "`votes` must be",
    "run(record(N, X, R, new(), keep='half'))": "`keep` must be a number",
    "run(record(N, X, R, new(), keep=True))": "`keep` must be a number",
    "run(record(N, X, R, new(), keep={'1.weight': 'a'}))": '`keep["1.weight"]` must be a number',
    "run(record(N, X, R, new(), keep=1, sensitive=3))": "`sensitive` must be several whole numbers",
    "run(record(N, X, R, new(), keep=1, sensitive=X.y == 1))": "got a mask of yes and no",
    "run(record(N, X, R, new(), keep=1, rule='best'))": "`rule` must be",
    "run(record(N, X, R, new(), keep=1, group=['tensor']))": "`group` must be",
    "run(record(None, X, R, new(), keep=1))": "`model` must be of class Module",
    "run(record(N, X.x, R, new(), keep=1))": "`data` must be of class Examples",
    "run(record(N, X, 3, new(), keep=1))": "`recipe` must be of class Recipe",
    "run(record(N, X, R, None, keep=1))": "`folder` must be a path",
    "Log(None)": "`folder` must be a path",
    "Log(CH.folder)": "holds no log of updates; it holds a chain",
    "Log(LG.folder, 'r')": "`recipe` must be of class Recipe",
    "LG.commit(None)": "`model` must be of class Module",
    "LG.commit(nn.Linear(2, 2))": "`params` must hold `1.weight`",
    "LG.touched(X.y == 1)": "got a mask of yes and no",
    "run(amnesiac(N2, [1], root / 'log'))": "`log` must be of class Log",
    "run(amnesiac(N2, X.y == 1, LG))": "got a mask of yes and no",
    "run(amnesiac(None, [1], LG))": "`model` must be of class Module",
    "run(amnesiac(N2, [1], LG, purge=0))": "`purge` must be True or False",
    "run(train_chain(N, X, R, 4, LG.folder))": "holds a log of updates, not a chain",
    "run(train_sisa(N, X, R, CELLS, CH.folder))": "holds a chain, not a SISA ensemble",
    "run(record(tiny_net(), X, R, CH.folder, keep=1))": "holds a chain. Use another folder",
    "undo({}, U)": "`params` must hold `1.weight`",
    "undo(snapshot(N2), None)": "`updates` must be of class Updates",
    "undo(snapshot(N2), U, 'half')": "`keep` must be a number",
    "undo(snapshot(N2), U, 1, 'best')": "`rule` must be",
    "packed([1], 1.5, R)": "`batches` must be a whole number",
    "packed(1, 1, R)": "`ids` must be several whole numbers",
    "packed([1], 1, None)": "`recipe` must be of class Recipe",
    "Layers(3)": "`shapes` must be of class Mapping",
    "Layers.of(None)": "`model` must be of class Module",
    "L.budgets(nan)": "`keep` must be in [0, 1]; got nan",
    "top(torch.ones(2, 3), 4)": "`k` must be in 0 ... 3; got 4",
    "top(torch.ones(2, 3), 1.5)": "`k` must be a whole number",
    "kept_entries(L, [0.5])": "`keep` must be a number",
    "update_nbytes(L, 0.5, itemsize=0)": "`itemsize` must be at least 1",
    "Updates(L, ((1, 1),), torch.zeros(1, 3), 0)": "`rows` must have shape [1,",
    "Updates(L, (), torch.full((0, L.n), nan), 'x')": "`seed` must be a whole number",
}


@pytest.fixture(scope="module")
def answers() -> dict[str, list[str]]:
    """What came of every call."""
    done = subprocess.run(
        [sys.executable, "-c", SETUP],
        input="\n".join(CALLS),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(CALLS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_makes_no_sense_is_refused_by_name(answers: dict[str, list[str]], call: str) -> None:
    kind, said = answers[call]
    assert kind == "clear", said
    assert CALLS[call] in said
