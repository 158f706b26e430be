# Many models at once.
#
# U-LiRA of a method of your own: is a model that forgot a sample like one that
# never saw it? It takes many models. They are trained in two processes, and
# what they found is kept, so that a larger run trains only those it lacks.
import tempfile
from functools import partial

import torch

import unlearn_lib as ul
from unlearn_lib.jobs import run_jobs
from unlearn_lib.metrics.accuracy import logits
from unlearn_lib.metrics.lira import margins, mini_ulira
from unlearn_lib.train import train

digits = ul.load("digits").train
candidates = digits.head(20, seed=0)
base = digits.without(candidates.ids).head(200, seed=1)
recipe = ul.Recipe("adam", lr=0.003, batch_size=16, epochs=5)


def unlearned(inside, seed):
    """Train on base and candidates; forget the latter by fine-tuning."""
    model = ul.build("mlp", (1, 8, 8), 10, seed=seed)
    own = recipe.but(seed=seed)
    ul.run(train(model, base + candidates.where(inside), own))
    return ul.run(ul.finetune(model, base, own.but(epochs=2))).model


def remembered(seed):
    """A job of our own: mean margin of a model that forgot all candidates."""
    everything = torch.ones(len(candidates), dtype=torch.bool)
    outputs = logits(unlearned(everything, seed), candidates)
    return float(margins(outputs, candidates.y).mean())


# New processes begin by importing this script: what is to run once is below.
if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        ask = partial(mini_ulira, unlearned, candidates, shadows=8, targets=2)
        attack, _ = ask(workers=2, keep=folder)
        again, _ = ask(keep=folder)  # found, and not trained again
        assert torch.equal(attack.scores, again.scores)
        value, error = attack.auc.value, attack.auc.error
        print(f"U-LiRA's AUC: {value:.2f} ± {1.96 * error:.2f}")

        for models in (2, 3):  # the second time, one model is new
            found = run_jobs(remembered, range(models), keep=folder)
            print("mean margins:", *(f"{margin:.2f}" for margin in found))
