# A text classifier with an embedding.
#
# Toy sentences on four topics, each from words of its topic and words that all
# share. Token ids go in as whole numbers: `Examples` keeps them, and the net
# looks them up.
import copy
import random
import tempfile
import textwrap

import torch
from torch import nn

import unlearn_lib as ul
from unlearn_lib.methods.amnesiac import packed
from unlearn_lib.methods.pgu import CLASS
from unlearn_lib.train import train

TOPICS = {
    "weather": "rain sun wind cloud storm snow fog warm cold sky",
    "kitchen": "bread soup salt oven knife pan onion butter boil taste",
    "music": "violin drum song choir tune concert piano rhythm sing chord",
    "sport": "ball goal team run race coach score swim jump win",
}
SHARED = "the a we today very again after before they like some of with in"
OF_TOPIC = [words.split() for words in TOPICS.values()]
WORDS = [*SHARED.split(), *(word for words in OF_TOPIC for word in words)]


def sentences(n, seed):
    """Sentences of eight words as token ids, and their topics."""
    draw = random.Random(seed)
    texts, labels = [], []
    for i in range(n):
        topic = i % len(TOPICS)
        text = draw.sample(OF_TOPIC[topic], 3)
        text += draw.choices(SHARED.split(), k=5)
        draw.shuffle(text)
        texts.append([WORDS.index(word) for word in text])
        labels.append(topic)
    return torch.tensor(texts), torch.tensor(labels)


data = ul.Examples.of_dataset(sentences(400, seed=0))
test = ul.Examples.of_dataset(sentences(200, seed=1))
sentence = " ".join(WORDS[token] for token in data.x[0])
print(sentence, "->", list(TOPICS)[data.y[0]])

torch.manual_seed(0)
initial = nn.Sequential(
    nn.EmbeddingBag(len(WORDS), 16), nn.ReLU(), nn.Linear(16, 4)
)
recipe = ul.Recipe("adam", lr=0.02, batch_size=32, epochs=10)
original = copy.deepcopy(initial)
ul.run(train(original, data, recipe))

music = list(TOPICS).index("music")
split, tested = ul.Split.by_class(data, music), ul.Split.by_class(test, music)
# Relabeling trains on, with wrong topics for the sentences to forget.
once = recipe.but(lr=0.05, epochs=1)
models = {
    "original": original,
    "retrained": ul.run(ul.retrain(initial, split, recipe)).model,
    "relabeled": ul.run(ul.relabel(original, split, once, share=1.0)).model,
}

# PGU projects whatever multiplies data. A table that is looked up multiplies
# nothing, so it stays still: only the layer after it moves.
stored = ul.moments(original, data)
print("moments are kept of", *stored.layers)
spectra = ul.spectra(stored.without(original, split.forget))
steps = CLASS.but(lr=0.3)
goal = {"stop": ul.forgotten(0.05), "energy": 0.5}
projected = ul.pgu(original, spectra, split.forget, steps, **goal)
models["PGU"] = ul.run(projected).model

# Amnesiac unlearning needs its log from the beginning. Sentences that may be
# withdrawn together stand in the same few batches.
steps = ul.Recipe(lr=1.0, batch_size=32, epochs=10)
together = packed(split.forget.ids, 5, steps)
with tempfile.TemporaryDirectory() as folder:
    net = copy.deepcopy(initial)
    log = ul.run(ul.record(net, data, steps, folder, keep=0.1, order=together))
    models["amnesiac"] = ul.run(ul.amnesiac(net, split.forget.ids, log)).model

for name, net in models.items():
    gone = ul.accuracy(net, tested.forget)
    others = ul.accuracy(net, tested.retain)
    print(f"{name:9}  music: {gone:4.0%}   other topics: {others:4.0%}")
    if name != "original":
        assert gone < 0.2 < 0.8 < others, f"{name} should forget music alone"

# UNSIR learns noise in the place of an input. A word cannot be learned by small
# steps, so it says what to do instead.
try:
    ul.run(ul.unsir(original, [music], split.retain))
except TypeError as error:
    print(textwrap.fill(f"UNSIR: {error}", 80))
