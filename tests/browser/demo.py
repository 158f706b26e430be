# %% [markdown]
# # Demo: every kind of panel
#
# The browser tests open this notebook; no lesson. It forgets digits by gradient ascent and a short repair
# (a baseline, arXiv:1911.04933). About 5 minutes.
#
# ## Learning objectives
# - watch forgetting happen, with $\theta \leftarrow \theta + \eta \nabla L(\theta; D_f)$;
# - stop a run, and compare two models sample by sample.
#
# $$L(\theta; D) = -\frac{1}{|D|} \sum_{(x, y) \in D} \log p_y(x)$$

# %% tags=["parameters"]
preset: str = "lesson"  # quick | lesson | full
seed: int = 0  # random seed

# %% [markdown]
# ## Set-up

# %%
import numpy as np
import plotly.graph_objects as go

from unlearn_lib import data, models
from unlearn_lib.classroom import charts, checks
from unlearn_lib.classroom.panels import Explorer, UnlearnPanel, View
from unlearn_lib.classroom.panels.compare import ComparePanel
from unlearn_lib.classroom.panels.controls import choice, number, whole
from unlearn_lib.classroom.panels.pickers import EmbeddingPicker
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.classroom.session import record, show
from unlearn_lib.data import Split
from unlearn_lib.methods.finetune import finetune, gradient_ascent
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.train import Recipe, run, train

digits = data.load("digits")
recipe = Recipe(lr=0.1, batch_size=32, epochs={"quick": 4, "lesson": 10, "full": 20}[preset], seed=seed)

# %% [markdown]
# ## Predict

# %%
guess = checks.predict(
    "forget",
    "How often will the retrained model still recognize the forgotten digit?",
    ["almost always", "about half of the time", "never"],
)

# %% [markdown]
# ## Run

# %%
initial = models.build("mlp", digits.shape, 10, seed=seed)
original = models.build("mlp", digits.shape, 10, seed=seed)
run(train(original, digits.train, recipe))
request = Split.by_class(digits.train, 3)


def ascend_and_repair(model, split, lr, steps, epochs):
    climbed = yield from gradient_ascent(model, split.forget, recipe.but(lr=lr), steps)
    return (yield from finetune(climbed.model, split.retain, recipe.but(epochs=epochs)))


unlearned = run(ascend_and_repair(original, request, 0.02, 8, 1))
retrained = run(retrain(initial, request, recipe))

# %% [markdown]
# ## Compare

# %%
panel = UnlearnPanel(
    "ascent",
    digits,
    original,
    controls={
        "forget": Thumbnails.of_classes(digits.train, "Forget the digits", digits.classes, [3]),
        "lr": number("Step size of the ascent", 0.02, 0.0, 1.0, 0.01),
        "steps": whole("Steps of it", 8, 0, 1_000),
        "epochs": whole("Epochs of repair", 1, 0, 1_000),
    },
    split=lambda v: Split.by_class(digits.train, *v.forget),
    start=lambda v, split: ascend_and_repair(original, split, v.lr, v.steps, v.epochs),
    retrain=lambda split: retrain(initial, split, recipe),
    reference=retrained,
    draw=lambda p: View(
        go.Figure(go.Scatter(y=p.losses, mode="lines", line={"color": "#D55E00"}))
        .update_layout(template="plotly_white", height=260, xaxis_title="step", yaxis_title="loss")
        .update_layout(margin={"l": 60, "r": 15, "t": 20, "b": 45}),
        f"Loss of {len(p.losses)} steps of the method.",
    ),
)

# %%
share = panel.scores["retrained"]["forget"]
checks.compare(guess, guess.choices[0 if share > 0.75 else 1 if share > 0.25 else 2])

# %% [markdown]
# ## Explore

# %%
panel

# %%
side_by_side = ComparePanel.following(panel)
side_by_side

# %%
residual = 3 * np.arange(1, 41) ** -0.8 + 0.4


def decay(values):
    x = np.arange(1, 41)
    curve = 3 * x**-values.h + values.floor
    stop = int(np.argmax(np.abs(np.gradient(curve)) < values.epsilon)) + 1
    figure = go.Figure(go.Scatter(x=x, y=residual, mode="markers", name="residual"))
    figure.add_scatter(x=x, y=curve, mode="lines", name="trend", line={"dash": "dash", "color": "#D55E00"})
    figure.add_scatter(x=[stop, stop], y=[0, 4], mode="lines", name="stop", line={"color": "#009E73"})
    figure.update_layout(template="plotly_white", height=280, xaxis_title="block", yaxis_title="residual")
    figure.update_layout(margin={"l": 60, "r": 15, "t": 20, "b": 45})
    return View(
        figure, f"Residuals and their trend; it is flat from block {stop} on.", {"stop at block": stop}
    )


explorer = Explorer(
    "decay",
    controls={
        "h": number("Exponent h", 0.8, 0.1, 3.0, 0.1),
        "floor": number("Floor b", 0.4, 0.0, 2.0, 0.1),
        "epsilon": choice("Slope below", [0.2, 0.1, 0.05, 0.02], 0.05),
    },
    view=decay,
)
explorer

# %%
picker = EmbeddingPicker(digits.train, "Samples to forget", digits.classes)
picker

# %%
shelf = digits.train.head(60)
by_sample = UnlearnPanel(
    "by sample",
    digits,
    original,
    controls={
        "samples": Thumbnails(shelf, "Samples to forget", digits.classes, value=shelf.ids[:4].tolist()),
        "steps": whole("Steps", 3, 0, 100),
    },
    split=lambda v: Split.by_ids(digits.train, v.samples),
    start=lambda v, split: ascend_and_repair(original, split, 0.02, v.steps, 1),
    first=False,
)
by_sample

# %% [markdown]
# ## Exercise 1 (easy, about 3 minutes)
# Write `forget_accuracy`.


# %%
def forget_accuracy(predicted, y, target):
    # BEGIN SOLUTION
    rows = y == target
    return float((predicted[rows] == target).mean())
    # END SOLUTION


# %%
def check(function):
    got = function(np.array([0, 2, 2, 1]), np.array([2, 2, 2, 1]), 2)
    return None if np.isclose(got, 2 / 3) else f"on the small case 2/3 is right; got {got!r}"


checks.exercise("forget_accuracy", forget_accuracy, check)

# %% [markdown]
# ## Checkpoint

# %%
question = checks.quiz(
    "reference",
    "Which score should an unlearned model reach on the forgotten samples?",
    {
        "0 %": "A model that never saw them may still get some right.",
        "that of the retrained model": "It never saw them: this is what forgetting looks like.",
    },
    correct="that of the retrained model",
)

# %%
view = charts.seconds_chart({"unlearned": unlearned.seconds, "retrained": retrained.seconds})
show(charts.still(view.figure), alt=view.alt)

# %% tags=["ci-assert", "remove-cell"]
record("scores", **{role: row["forget"] for role, row in panel.scores.items()})
assert panel.scores["original"]["forget"] > 0.9
assert panel.scores["retrained"]["forget"] == 0.0
assert question.correct in question.answers
