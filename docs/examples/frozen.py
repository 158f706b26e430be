# A frozen backbone with a new head.
#
# Transfer learning as usual: a net that was trained on something else keeps its
# features, and only a new last layer is fitted. Weights with `requires_grad=False`
# stay still in every method, so unlearning touches the head alone.
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

split, tested = (
    ul.Split.by_class(digits.train, 3),
    ul.Split.by_class(digits.test, 3),
)
rest = ul.retain_subset(digits.train, [3], per_class=60)
settings = ul.UnsirRecipe(penalty=0.1, impair_lr=0.005, batch_size=16)

# PGU stores moments of the layers that can move, here of the head alone.
stored = ul.moments(original, digits.train)
print("moments are kept of", *stored.layers)
spectra = ul.spectra(stored.without(original, split.forget))

models = {
    "original": original,
    "retrained": ul.run(ul.retrain(initial, split, recipe)).model,
    "UNSIR": ul.run(ul.unsir(original, [3], rest, settings)).model,
    "PGU": ul.run(
        ul.pgu(
            original,
            spectra,
            split.forget,
            CLASS,
            stop=ul.forgotten(0.05),
            energy=0.5,
        )
    ).model,
    "relabeled": ul.run(
        ul.relabel(original, split, recipe.but(epochs=1), share=1.0)
    ).model,
}
known = {
    name: (ul.accuracy(net, tested.forget), ul.accuracy(net, tested.retain))
    for name, net in models.items()
}
for name, (gone, others) in known.items():
    print(f"{name:9}  class 3: {gone:4.0%}   other classes: {others:4.0%}")

# The features still tell the class from the others: a new head on them has it back
# at once. Who must forget what the backbone knows has to unfreeze it.
for name, net in models.items():
    kept = all(
        torch.equal(a, b)
        for a, b in zip(net[0].parameters(), backbone.parameters(), strict=True)
    )
    assert kept, f"{name} moved the backbone"
