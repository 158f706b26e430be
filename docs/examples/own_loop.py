# A training loop of your own.
#
# Amnesiac unlearning and DeepObliviate must be there while the original is
# trained: one writes down what every step did to the weights, the other stores
# a model after every block of data. Both wrap a loop that you already have,
# with your optimizer, your schedule and your augmentation.
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

import unlearn_lib as ul

digits = load_digits()
pixels = torch.tensor(digits.images[:, None], dtype=torch.float32)
pixels, labels = (pixels - pixels.mean()) / pixels.std(), digits.target


class Shifted(Dataset):
    """The first digits, each moved by a pixel or not: random augmentation."""

    def __len__(self):
        return 1437

    def __getitem__(self, i):
        down, right = torch.randint(-1, 2, (2,)).tolist()
        return pixels[i].roll((down, right), (1, 2)), labels[i]


# The log has to know who was in a batch. `numbered` adds to every sample its
# number, and the augmentation stays random. `Examples` are the same samples as
# they are: it is by their ids that somebody is forgotten.
data = ul.Examples.of(pixels[:1437], labels[:1437])
test = ul.Examples.of(pixels[1437:], labels[1437:])
loader = DataLoader(ul.numbered(Shifted()), batch_size=32, shuffle=True)


def fresh():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


# Your loop, and one more line: after every step of the optimizer the log is
# told whose samples it was.
net = fresh()
optimizer = torch.optim.AdamW(net.parameters(), lr=0.005)
steps = 8 * len(loader)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
folder = tempfile.TemporaryDirectory()
with ul.recording(net, data, Path(folder.name, "log"), keep=0.2) as log:
    for _ in range(8):
        for x, y, ids in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            schedule.step()
            log.step(ids)
print(f"{len(log.entries)} steps in {log.nbytes / 1e6:.1f} MB")
print(f"test accuracy: {ul.accuracy(net, test):.0%}, before the request")

# A request, much later. The batches that held these five samples are undone; no
# data are needed.
result = ul.run(ul.amnesiac(net, [10, 20, 30, 40, 50], log))
print(f"undone: {len(result.trace.undone)} of {result.trace.batches} steps")
print(f"test accuracy: {ul.accuracy(result.model, test):.0%}, after it")


# A chain learns block after block, and calls the loop for each. It calls it
# again at a request, so it should repeat itself: whatever is random is seeded
# by the number of the block.
def fit(model, examples, k):
    torch.manual_seed(k)
    sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(4):
        for x, y, _ in DataLoader(examples, batch_size=16, shuffle=True):
            sgd.zero_grad()
            F.cross_entropy(model(x), y).backward()
            sgd.step()


place = Path(folder.name, "chain")
chain = ul.run(ul.train_chain(fresh(), data, fit, 12, place))
gone = chain.members[7][:5]
result = ul.run(ul.deepobliviate(chain, gone))
trace = result.trace
print(f"retrained: blocks {trace.d_min} to {trace.T} of {trace.blocks}")
before = ul.accuracy(chain.model(), test)
print(f"test accuracy: {before:.0%}, before the request")
print(f"test accuracy: {ul.accuracy(result.model, test):.0%}, after it")

# After the commit the chain no longer knows these samples, and its old models
# are deleted.
chain = chain.commit(trace)
assert not torch.isin(torch.cat(chain.members), gone).any()
assert ul.accuracy(result.model, test) > 0.8
folder.cleanup()
