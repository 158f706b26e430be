# A frozen backbone with a new head.
#
# Transfer learning as usual: a net that was trained on something else keeps its
# features, and only a new last layer is fitted. Weights with
# `requires_grad=False` stay still in every method, so unlearning touches the
# head alone.
import copy

import torch
from torch import nn

import unlearn_lib as ul
from unlearn_lib.methods.pgu import CLASS
from unlearn_lib.train import train

digits = ul.load("digits")

# The backbone learns to tell odd digits from even ones ...
torch.manual_seed(0)
backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU())
odd = ul.Examples(
    digits.train.x, digits.train.y % 2, digits.train.ids, digits.train.scale
)
ul.run(
    train(
        nn.Sequential(backbone, nn.Linear(128, 2)),
        odd,
        ul.Recipe("adam", lr=0.005, epochs=5),
    )
)

# ... and is frozen. The head is new, and learns all ten digits.
backbone.requires_grad_(False)
initial = nn.Sequential(backbone, nn.Linear(128, 10))
recipe = ul.Recipe("adam", lr=0.005, epochs=15)
original = copy.deepcopy(initial)
ul.run(train(original, digits.train, recipe))

split = ul.Split.by_class(digits.train, 3)
tested = ul.Split.by_class(digits.test, 3)
rest = ul.retain_subset(digits.train, [3], per_class=60)
settings = ul.UnsirRecipe(penalty=0.1, impair_lr=0.005, batch_size=16)

# PGU stores moments of the layers that can move, here of the head alone.
stored = ul.moments(original, digits.train)
print("moments are kept of", *stored.layers)
spectra = ul.spectra(stored.without(original, split.forget))

goal = {"stop": ul.forgotten(0.05), "energy": 0.5}
once = recipe.but(epochs=1)

ways = {
    "retrained": ul.retrain(initial, split, recipe),
    "UNSIR": ul.unsir(original, [3], rest, settings),
    "PGU": ul.pgu(original, spectra, split.forget, CLASS, **goal),
    "relabeled": ul.relabel(original, split, once, share=1.0),
}
models = {"original": original}
models |= {name: ul.run(steps).model for name, steps in ways.items()}

for name, net in models.items():
    gone = ul.accuracy(net, tested.forget)
    others = ul.accuracy(net, tested.retain)
    print(f"{name:9}  class 3: {gone:4.0%}   other classes: {others:4.0%}")

# The features still tell the class from the others: a new head on them has it
# back at once. Who must forget what the backbone knows has to unfreeze it.
for name, net in models.items():
    pairs = zip(net[0].parameters(), backbone.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs), (
        f"{name} moved the backbone"
    )
