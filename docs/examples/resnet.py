# A ResNet and a data set of your own.
#
# Ten kinds of pictures, drawn on the spot, stand for yours: anything that has a
# length and gives pairs of a picture and a label will do. The pictures are
# small and few, so that this takes seconds.
import copy

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet18

import unlearn_lib as ul
from unlearn_lib.train import train


class Stripes(torch.utils.data.Dataset):
    """Stripes in ten directions, each picture with its own colors and noise."""

    def __init__(self, n, seed):
        self.n, self.seed = n, seed

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        random, label = np.random.default_rng((self.seed, i)), i % 10
        y, x = np.mgrid[:24, :24]
        angle, phase = np.pi * label / 10, random.uniform(0, 2 * np.pi)
        wave = np.sin(0.8 * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        pixels = (
            128
            + 50 * wave[..., None] * random.uniform(0.5, 1, 3)
            + random.normal(0, 12, (24, 24, 3))
        )
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), label


# PIL images are stored as bytes and normalized for the net; tensors are kept as
# your transforms made them.
data, test = (
    ul.Examples.of_dataset(Stripes(300, seed=0)),
    ul.Examples.of_dataset(Stripes(100, seed=1)),
)
shape = list(data.x.shape[1:])
print(f"{len(data)} pictures of shape {shape}, stored as {data.x.dtype}")

# The net is torchvision's own. `train` is the loop of this package; a net from
# your own loop is just as good.
torch.manual_seed(0)
initial = resnet18(num_classes=10)
recipe = ul.Recipe("adam", lr=0.001, epochs=4, batch_size=50)
original = copy.deepcopy(initial)
ul.run(train(original, data, recipe))

# The request is class 3. The reference is a model that never saw it.
split, tested = ul.Split.by_class(data, 3), ul.Split.by_class(test, 3)

# Two ways to answer it. UNSIR needs no picture of class 3, relabeling reads
# them all. A ResNet has batch norm, so UNSIR's settings start from those that
# suit such a net; few noise images keep this example short.
few = {"images": 32, "noise_steps": 20, "copies": 1, "repair_epochs": 2}
settings = ul.UnsirRecipe.suited_to(original, impair_lr=0.001, **few)
rest = ul.retain_subset(data, [3], per_class=30)
gentle = recipe.but(lr=0.0003, epochs=1)
ways = {
    "retrained": ul.retrain(initial, split, recipe),
    "UNSIR": ul.unsir(original, [3], rest, settings),
    "relabeled": ul.relabel(original, split, gentle, share=1.0),
}
models = {"original": original}
models |= {name: ul.run(steps).model for name, steps in ways.items()}

# What each model makes of test pictures of the class, and of other classes.
for name, net in models.items():
    gone = ul.accuracy(net, tested.forget)
    others = ul.accuracy(net, tested.retain)
    print(f"{name:9}  class 3: {gone:4.0%}   other classes: {others:4.0%}")
    if name != "original":
        assert gone < 0.5 < others, f"{name} should forget the class alone"
