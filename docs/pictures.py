"""The picture of every method, computed when the pages are built: the lessons' own charts on the digits.

Each function below is a picture, under its own name. All of them together take some seconds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import plotly.graph_objects as go
import torch
from torch import nn

import unlearn_lib as ul
from unlearn_lib.classroom.charts import View, still, styled
from unlearn_lib.lessons.deepobliviate.figures import residual_chart
from unlearn_lib.lessons.partial.figures import Point, plane_chart, share_chart
from unlearn_lib.lessons.pgu.figures import curves_chart
from unlearn_lib.lessons.relabel.figures import losses_chart
from unlearn_lib.lessons.start.figures import boundary_chart, request_chart
from unlearn_lib.lessons.unsir.figures import Snapshot, steps_chart
from unlearn_lib.methods.amnesiac import packed
from unlearn_lib.methods.deepobliviate import TrendRule
from unlearn_lib.methods.pgu import CLASS, GoalRule, Watched, pgu_but
from unlearn_lib.methods.pgu.moments import moments
from unlearn_lib.methods.sisa import partition
from unlearn_lib.methods.unsir import no_noise
from unlearn_lib.metrics.accuracy import accuracy, confusion
from unlearn_lib.metrics.membership import loss_attack
from unlearn_lib.outputs import logits
from unlearn_lib.params import clone
from unlearn_lib.synthetic import noisy, two_moons
from unlearn_lib.train import Recipe, train

GONE = 3  # the class to forget
RECIPE = Recipe("adam", 0.005, epochs=15)
FIXED = {"svg.hashsalt": "unlearn", "svg.fonttype": "path", "font.size": 11}


class Digits:
    """The handwritten digits, a request for one class, and the models before and without it."""

    def __init__(self) -> None:
        self.data = ul.load("digits")
        self.split = ul.Split.by_class(self.data.train, GONE)
        self.tested = ul.Split.by_class(self.data.test, GONE)
        self.initial = ul.build("mlp", self.data.shape, 10)
        self.original = trained(self.initial, self.data.train, RECIPE)
        self.retrained = trained(self.initial, self.split.retain, RECIPE)

    def point(self, model: nn.Module) -> Point:
        """What the model still knows of the request, and of the other classes."""
        return Point(accuracy(model, self.split.forget), accuracy(model, self.tested.retain))

    @property
    def references(self) -> dict[str, Point]:
        """Before, and what should be reached."""
        return {"original": self.point(self.original), "retrained": self.point(self.retrained)}


digits = cache(Digits)


def trained(initial: nn.Module, examples: ul.Examples, recipe: Recipe) -> nn.Module:
    """A trained copy."""
    model = clone(initial)
    ul.run(train(model, examples, recipe))
    return model.eval()


# The pictures ---------------------------------------------------------------------------------------------


def retrain() -> View:
    """What the retrained model still gets right of single samples, and of a class."""
    d = digits()
    few = ul.Split.by_ids(d.data.train, d.data.train.head(100).ids)
    without = trained(d.initial, few.retain, RECIPE)
    forget = {
        "original": {
            "a class": accuracy(d.original, d.split.forget),
            "100 samples": accuracy(d.original, few.forget),
        },
        "retrained": {
            "a class": accuracy(d.retrained, d.split.forget),
            "100 samples": accuracy(without, few.forget),
        },
    }
    test = {
        "original": dict.fromkeys(("a class", "100 samples"), accuracy(d.original, d.data.test)),
        "retrained": {
            "a class": accuracy(d.retrained, d.data.test),
            "100 samples": accuracy(without, d.data.test),
        },
    }
    return request_chart(forget, test)


def finetune() -> View:
    """Decision boundaries of the two baselines, beside the retrained model's."""
    toy = two_moons()
    gone = toy.train.ids[-10:]  # ordinary points at one end of a moon
    split = ul.Split.by_ids(toy.train, gone)
    initial, recipe = ul.build("mlp", toy.shape, 2), Recipe("adam", 0.02, batch_size=16, epochs=60)
    original = trained(initial, toy.train, recipe)
    for step in ul.gradient_ascent(original, split.forget, recipe.but(lr=0.005)):
        ascended = step.model
        if accuracy(ascended, split.forget) == 0:
            break
    models = {
        "original": original,
        "fine-tuned": ul.run(ul.finetune(original, split.retain, recipe.but(epochs=10))).model,
        "after gradient ascent": ascended,
    }
    return boundary_chart(models, toy.train, gone, toy.classes, trained(initial, split.retain, recipe))


def unsir() -> View:
    """Both accuracies after every mini-batch, with the learned noise and without."""
    d = digits()
    rest = ul.retain_subset(d.data.train, [GONE], 60)
    recipe = ul.UnsirRecipe(penalty=0.1, impair_lr=5e-3, batch_size=16)
    found: dict[str, list[Snapshot]] = {}
    for name, method in {"unlearned": ul.unsir, "no noise": no_noise}.items():
        found[name] = []
        for step in method(d.original, [GONE], rest, recipe):
            if step.phase != "noise":
                epoch = step.number / step.steps + (step.phase == "repair")
                found[name].append(Snapshot(epoch, confusion(step.model, d.data.test).numpy()))
    before = {"original": d.original, "retrained": d.retrained}
    return steps_chart(found, {role: confusion(m, d.data.test).numpy() for role, m in before.items()}, [GONE])


def deepobliviate() -> View:
    """How the trace of eight samples fades along a chain, and where the rule stops."""
    d, rule = digits(), TrendRule(0.1, "fixed", n_min=3)
    with tempfile.TemporaryDirectory() as folder:
        chain = ul.run(ul.train_chain(d.initial, d.data.train, Recipe(lr=0.1, batch_size=16), 20, folder))
        whole = ul.run(ul.deepobliviate(chain, chain.members[3][:8], rule, stop_block=20))
    return residual_chart(whole.trace.window, whole.trace.gap, rule)


def sisa() -> View:
    """Which stages of which shard a request redoes."""
    d, S, R = digits(), 4, 5
    cells = partition(d.data.train.head(400), S, R)
    gone = torch.cat([cells.cells[1][2][:3], cells.cells[3][4][:2]])
    restarts = cells.restarts(gone)
    held = [[int(torch.isin(cell, gone).sum()) for cell in shard] for shard in cells.cells]
    redone = [[int(s in restarts and r >= restarts[s]) for r in range(1, R + 1)] for s in range(1, S + 1)]
    figure = go.Figure(
        go.Heatmap(
            z=redone,
            x=[f"slice {r}" for r in range(1, R + 1)],
            y=[f"shard {s}" for s in range(1, S + 1)],
            text=[
                [
                    "redone" + (f", {n} to forget" if n else "") if again else "kept"
                    for n, again in zip(*rows, strict=True)
                ]
                for rows in zip(held, redone, strict=True)
            ],
            texttemplate="%{text}",
            colorscale=[[0, "#f4f4f4"], [1, "#D55E00"]],
            zmin=0,
            zmax=1,
        )
    )
    words = "; ".join(f"shard {s} from slice {j} on" for s, j in restarts.items())
    alt = f"{S} shards of {R} slices. Redone for {len(gone)} samples: {words}. All others are kept."
    return View(styled(figure, 260), alt)


def amnesiac() -> View:
    """What is forgotten, harmed and stored, for every share of the updates that is kept."""
    d, shares = digits(), (0.001, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
    recipe = Recipe(lr=0.1, epochs=5)
    order = packed(d.split.forget.ids, 3, recipe)
    points, megabytes = [], []
    for share in shares:
        model = clone(d.initial)
        with tempfile.TemporaryDirectory() as folder:
            log = ul.run(ul.record(model, d.data.train, recipe, folder, keep=share, order=order))
            megabytes.append(log.nbytes / 1e6)
            points.append(d.point(ul.run(ul.amnesiac(model, d.split.forget.ids, log)).model))
    chosen = next((s for s, p in zip(shares, points, strict=True) if p.forget <= 0.05), 1.0)
    view = share_chart(shares, points, megabytes, d.references, chosen)
    view.figure.for_each_trace(
        lambda t: t.update(name="smallest share that forgets"), selector={"name": "share used below"}
    )
    return view


def partial() -> View:
    """The way of both kinds of steps, whole and partial, in the plane of forgetting and harm."""
    d, ways = digits(), {"whole steps": 1.0, "partial, largest 20%": 0.2}
    methods: dict[str, tuple[Callable[..., Any], float]] = {
        "label flipping": (ul.label_flip, 0.005),
        "ascent": (ul.ascent, 0.005),
    }

    def path(method: Callable[..., Any], lr: float, keep: float) -> list[Point]:
        points = [d.point(d.original)]
        for step in method(d.original, d.split, Recipe(lr=lr, epochs=40), keep=keep, steps=60):
            points.append(d.point(step.model))
            if points[-1].forget <= 0.05:
                break
        return points

    groups = {
        name: {way: path(method, lr, keep) for way, keep in ways.items()}
        for name, (method, lr) in methods.items()
    }
    return plane_chart(groups, d.references, 0.05)


def pgu() -> View:
    """Accuracies and drift, epoch by epoch, with the projection and without."""
    d = digits()
    retained = ul.spectra(moments(d.original, d.data.train).without(d.original, d.split.forget))
    never, before = (
        GoalRule(lambda model, forget: Watched(1.0, 0.0), "never"),
        logits(d.original, d.split.retain),
    )

    def row(model: nn.Module) -> dict[str, float]:
        now = logits(model, d.split.retain)
        return {
            "forget": accuracy(model, d.split.forget),
            "retain": accuracy(now, d.split.retain),
            "drift": float((now - before).norm(dim=1).mean()),
        }

    def curve(**options: Any) -> list[dict[str, float]]:
        steps = pgu_but(
            d.original,
            retained,
            d.split.forget,
            CLASS.but(lr=0.1, epochs=12),
            stop=never,
            last_lr=0.1,
            energy=0.5,
            **options,
        )
        return [row(d.original), *(row(step.model) for step in steps if step.number == step.steps)]

    rows = {"with projection": curve(), "without projection": curve(directions="none")}
    stops = {
        name: next((k for k, r in enumerate(found) if r["forget"] <= 0.05), None)
        for name, found in rows.items()
    }
    return curves_chart(rows, stops)


def relabel() -> View:
    """Losses of single forgotten samples under every model, and those of samples never seen."""
    d = digits()
    blurred = noisy(d.data.train.head(300), 0.5)
    split = ul.Split.by_ids(blurred, blurred.ids[:60])
    recipe = Recipe("adam", 0.005, batch_size=32, epochs=60)
    original, retrained = (trained(d.initial, part, recipe) for part in (blurred, split.retain))
    models = {
        "do nothing": original,
        "one pass": ul.run(ul.relabel(original, split, recipe.but(epochs=1))).model,
        "all passes": ul.run(ul.relabel(original, split, recipe.but(epochs=10))).model,
        "retrained": retrained,
    }
    test = noisy(d.data.test, 0.5, seed=1)
    attacks = {name: loss_attack(model, split, test) for name, model in models.items()}
    curves = {name: found.members for name, found in attacks.items()}
    return losses_chart(curves | {"images never seen": attacks["retrained"].others})


PICTURES = {
    f.__name__: f for f in (amnesiac, deepobliviate, finetune, partial, pgu, relabel, retrain, sisa, unsir)
}


def draw(name: str, path: Path) -> None:
    """Write a picture as SVG, and its alternative text beside it as JSON."""
    torch.set_num_threads(1)
    view = PICTURES[name]()
    figure = still(view.figure) if isinstance(view.figure, go.Figure) else view.figure
    for ax in figure.axes:
        for mesh in ax.collections:
            mesh.set_rasterized(True)  # a map of the plane has thousands of cells
    with mpl.rc_context(FIXED):
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})
    path.with_suffix(".json").write_text(json.dumps({"alt": view.alt}), encoding="utf-8")
