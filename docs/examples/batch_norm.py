# A net with batch norm.
#
# Batch norm keeps a mean and a variance of what it has seen, outside of the
# weights. They remember the forgotten samples, and a method can hide a class in
# them instead of forgetting it. The audit measures them anew on retained data:
# what comes back was never gone.
import copy
import tempfile
import textwrap
import warnings

import torch
from torch import nn

import unlearn_lib as ul
from unlearn_lib.methods.pgu import CLASS
from unlearn_lib.metrics.inside import bn_recalibration
from unlearn_lib.train import train

digits = ul.load("digits")
split = ul.Split.by_class(digits.train, 3)


def layer():
    return nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()


torch.manual_seed(0)
initial = nn.Sequential(nn.Flatten(), *layer(), *layer(), nn.Linear(64, 10))
recipe = ul.Recipe("adam", lr=0.005, epochs=10)
original = copy.deepcopy(initial)
ul.run(train(original, digits.train, recipe))

# UNSIR knows such nets: more copies of the noise, a smaller penalty, gentler
# rates.
rest = ul.retain_subset(digits.train, [3], per_class=100)
print(textwrap.fill(f"UNSIR: {ul.UnsirRecipe.suited_to(original)}", 80))

# PGU holds statistics, scales and biases still: if they moved, retained inputs
# would notice.
stored = ul.moments(original, digits.train)
spectra = ul.spectra(stored.without(original, split.forget))
goal = {"stop": ul.forgotten(0.05), "energy": 0.5}

# Relabeling and retraining train as usual, so the statistics move with them.
ways = {
    "retrained": ul.retrain(initial, split, recipe),
    "UNSIR": ul.unsir(original, [3], rest),
    "PGU": ul.pgu(original, spectra, split.forget, CLASS, **goal),
    "relabeled": ul.relabel(original, split, recipe.but(epochs=1), share=1.0),
}
models = {"original": original}
models |= {name: ul.run(steps).model for name, steps in ways.items()}

print("           class 3  recalibrated  other classes")
for name, net in models.items():
    found = bn_recalibration(net, split, digits.test)
    gone, back = (part["forget test"] for part in (found.before, found.after))
    others = found.before["retain test"]
    print(f"{name:9}  {gone:7.0%}  {back:12.0%}  {others:13.0%}")

# The amnesiac log records updates of parameters, not of statistics. It says so.
with (
    tempfile.TemporaryDirectory() as folder,
    warnings.catch_warnings(record=True) as caught,
):
    warnings.simplefilter("always")
    net = copy.deepcopy(initial)
    ul.run(ul.record(net, digits.train, recipe, folder, keep=0.1))
print(textwrap.fill(f"The log: {caught[0].message}", 80))

still = dict(models["PGU"].named_buffers())
for name, statistic in original.named_buffers():
    assert torch.equal(statistic, still[name]), f"PGU moved {name}"
assert "buffers" in str(caught[0].message)
