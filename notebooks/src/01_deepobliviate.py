# %% [markdown]
# # DeepObliviate: retrain a little, stitch the rest
#
# **Lesson 01.** He, Meng, Chen, He and Hu, *DeepObliviate: A Powerful Charm for Erasing Data Residual Memory
# in Deep Neural Networks*, 2021, [arXiv:2105.06209](https://arxiv.org/abs/2105.06209). About 45 minutes.
#
# ## Learning objectives
# - **Train** a network block by block, and say which stored model cannot have seen a given sample.
# - **Delete** samples by retraining a few blocks, and read when the residual memory has died out.
# - **Stitch** the untouched tail of the chain to the retrained head, and say what that assumes.
# - **Test** the result against the retrained model and with a backdoor, and name what it does *not* prove.
#
# ## Prerequisites
# You have trained a classifier once and know what a mini-batch and an epoch are.
#
# ## You will need
# A laptop: two cores, a gigabyte of memory, a few megabytes of disk. No network, no GPU. Every number
# below is computed while you watch.

# %% tags=["parameters"]
preset: str = "lesson"  # quick | lesson | full
seed: int = 0  # random seed
dataset: str = "digits"  # digits | mnist | fashion_mnist | svhn | cifar10 | cifar100 | location30 | path of a folder of images
epsilon: float = 0.003  # stop when the normalized slope of the trend is below this
estimator: str = "fit"  # fit | dfa | fixed
n_min: int = 0  # least number of residuals before the first test; 0 leaves it to the estimator

# %% [markdown]
# ## Set-up

# %%
import shutil
import time
import warnings
from dataclasses import replace

import numpy as np
import torch

from unlearn_lib import check
from unlearn_lib.classroom import checks
from unlearn_lib.classroom.panels import Explorer, UnlearnPanel
from unlearn_lib.classroom.panels.compare import ComparePanel
from unlearn_lib.classroom.session import begin, record, show, tell
from unlearn_lib.data import Split
from unlearn_lib.lessons.deepobliviate import LESSON, exercises, figures, findings
from unlearn_lib.lessons.deepobliviate.panel import (
    layout_controls,
    request_of,
    rule_controls,
    rule_of,
    unused_in_layout,
)
from unlearn_lib.methods.deepobliviate import deepobliviate, deepobliviate_but, stitched, train_chain
from unlearn_lib.methods.deepobliviate.chain import cut_into_blocks
from unlearn_lib.methods.deepobliviate.decay import TrendRule
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.metrics.backdoor import backdoor_success, edge_trigger, poison
from unlearn_lib.metrics.scorecard import evaluate
from unlearn_lib.params import l1, l2, snapshot, subtract
from unlearn_lib.store import Folder
from unlearn_lib.train import run, train

session = begin(LESSON, preset=preset, dataset=dataset, seed=seed)
n_min = check.whole("n_min", n_min, 0, 40)
estimator = check.choice("estimator", estimator, ("fit", "dfa", "fixed"))
rule = TrendRule(check.number("epsilon", epsilon, "[0, 1]"), estimator, n_min=n_min or None)
data, recipe, B = session.dataset, session.recipe, session.sizes.blocks

# %% [markdown]
# ## The idea in one picture
# Cut the training set into blocks and learn them one after the other. Store the model after every block: the
# chain $M_0, M_1, \dots, M_B$.
#
# A sample in block $d$ cannot have influenced a model before $M_d$. To forget it, go back to $M_{d-1}$ and
# learn again, without it. Its influence on later blocks, the **temporal residual memory**, is expected to fade:
#
# $$\Delta_k = \lVert (P_k - P_{k-1}) - (P'_k - P'_{k-1}) \rVert_1 \;\approx\; a\,x^{-h} + b$$
#
# $P_k$ are the parameters of $M_k$, a prime marks the retrained chain, $\lVert\cdot\rVert_1$ sums absolute values,
# and $x$ counts blocks from the last deletion on. When the *slope* of that trend is flat, after block $T$,
# retraining has little left to gain. The stored tail is **stitched** on:
#
# $$M = M_B + (M'_T - M_T)$$
#
# So a deletion cuts the chain into four parts:

# %%
d = session.sizes.block
show(figures.timeline_chart(B, d, d, min(d + 8, B)))

# %% [markdown]
# | word | meaning |
# |---|---|
# | forget set | the samples to delete |
# | retain set | all other training samples |
# | original | the final model $M_B$, trained on both |
# | retrained | trained from scratch on the retain set alone: the **reference** |
# | unlearned | what the method gives, in a fraction of the time |
#
# Not everything here comes from the paper's text. Blocks, stored models, residual memory, its trend and stitching are
# in its abstract. The formulas come from a third-party reimplementation that agrees with the abstract. The rest, such
# as the normalized slope, is our decision; the library says which is which.

# %% [markdown]
# ## Predict
# Two things could fade after the deletion. $\Delta_k$ compares what the two chains *learn* in block $k$. The
# gap $G_k = \lVert P_k - P'_k \rVert_1$ compares the two *models* after block $k$.

# %%
guess = checks.predict(
    "fades",
    "Block by block, which of the two falls below a third of its first value?",
    ["both", "only Δ, the difference of increments", "only G, the gap of the models", "neither"],
)

# %% [markdown]
# ## Run
# ### Train the chain
# One generator trains all blocks and stores a model after each. `run` drives it to its end.

# %%
initial = session.build()
chain = run(train_chain(initial, data.train, recipe, B, Folder(session.folder / "chain")))
stored_bytes = chain.nbytes
original = chain.model()
print(f"{B} blocks of about {len(chain.members[0])} samples; {chain.nbytes / 1e6:.2f} MB stored")
print(f"test accuracy of the final model: {accuracy(original, data.test):.1%}")

# %% [markdown]
# ### Delete samples
# The forget set: some samples of one block. The method retrains from the block before it until the trend of
# the residual is flat.

# %%
ids = chain.members[d - 1][: session.sizes.forget]
unlearned = run(deepobliviate(chain, ids, rule))
trace = unlearned.trace
print(f"deleted: {len(trace.ids)} of the {len(chain.members[d - 1])} samples of block {trace.d_min}")
print(f"retrained: blocks {trace.d_min} to {trace.T} of {B}")
print(f"stopped: {trace.reason}; {trace.speedup:.1f} times fewer blocks than retraining from scratch")
show(figures.timeline_chart(B, trace.d_min, trace.d_max, trace.T))

# %% [markdown]
# ### The reference
# Retrain everything from scratch, without the deleted samples and in the same order. This costs the whole chain.
# (Seconds need not agree with blocks: reading stored models and testing the rule take time too, and a run this short is
# easily disturbed.)

# %%
begun = time.perf_counter()
retrained = session.build()
for k, block in enumerate(chain.members, 1):
    kept = block[~torch.isin(block, ids)]
    run(train(retrained, data.train.select(kept), recipe, block=k))
seconds_scratch = time.perf_counter() - begun
print(f"retrained from scratch: {seconds_scratch:.2f} s; DeepObliviate: {unlearned.seconds:.2f} s")

# %% [markdown]
# ### The whole decay
# To see the whole decay, the next cell does not stop; it retrains to the end of the chain. That gives, bit for bit,
# the model retrained from scratch, because the two chains part only at block $d$.

# %%
full = run(deepobliviate(chain, ids, rule, stop_block=B))
same = l1(subtract(snapshot(full.model), snapshot(retrained))) == 0
print("retraining from block d to the end equals retraining from scratch, bit for bit:", same)
show(figures.residual_chart(full.trace.window, full.trace.gap, rule))

# %% [markdown]
# ## Compare

# %%
faded = full.trace.window[-1] < full.trace.window[0] / 3, full.trace.gap[-1] < full.trace.gap[0] / 3
checks.compare(guess, guess.choices[{(True, True): 0, (True, False): 1, (False, True): 2}.get(faded, 3)])
tell(findings.fading(full.trace.window, full.trace.gap, rule.first_stop(full.trace.window)))

# %% [markdown]
# ### What epsilon buys
# Epsilon decides when "flat" is flat enough. A larger one stops earlier, but never before the rule has the residuals
# it needs; there the speed-up ends. Nothing is trained for this picture: the run above has every block, so a stop at
# any $T$ can be read off it. Does test accuracy suffer?

# %%
epsilons = np.geomspace(1e-4, 0.1, 13)


def stop_of(rule):
    """The block T at which this rule would have stopped."""
    n = rule.first_stop(full.trace.window)
    return full.trace.d_max + n - 1 if n else B


stops = [stop_of(replace(rule, epsilon=e)) for e in epsilons]
stitched_accuracy = {
    T: accuracy(stitched(chain, full.trace, T), data.test) for T in sorted({*stops, trace.T})
}
references = {"original": accuracy(original, data.test), "retrained": accuracy(retrained, data.test)}
show(
    figures.tradeoff_chart(
        epsilons, [B / (T - d + 1) for T in stops], [stitched_accuracy[T] for T in stops], references, epsilon
    )
)
tell(findings.epsilon([stitched_accuracy[T] for T in stops]))

# %% [markdown]
# ### Why the order must repeat
# The increments can only agree if untouched blocks are learned in the *same order* as before. This library
# computes each sample's place from its id, so a deletion does not reshuffle the others. Here is what an
# ordinary reshuffle does to the curve.

# %%
shuffled = run(deepobliviate_but(chain, ids, stop_block=B, order_seed=seed + 1))
reshuffled = figures.reshuffle_chart(full.trace.window, shuffled.trace.window)
show(reshuffled)
tell(findings.order(*reshuffled.numbers.values()))

# %% [markdown]
# ### The exponent, two ways
# The paper's rule, as far as we know, takes $h$ from **detrended fluctuation analysis**: how much the sequence
# fluctuates in windows of size $s$. With few values it can be unsteady, and it is not the exponent of a decay. So our
# default fits $a$, $b$ and $h$ together.

# %%
show(figures.dfa_chart(full.trace.window[:30]))
for n in (8, 15, 30):
    first = full.trace.window[:n]
    dfa, fit = (TrendRule(estimator=e, n_min=2).trend(first) for e in ("dfa", "fit"))
    print(
        f"first {len(first):2} residuals: h = {dfa.h if dfa else float('nan'):.2f} by DFA, {fit.h if fit else float('nan'):.2f} by fit"
    )

# %% [markdown]
# ## Explore
# ### The stop rule
# Change epsilon, the estimator or the smallest number of residuals. The answer comes at once, from the run above.


# %%
def stop_rule_view(v):
    view = figures.residual_chart(full.trace.window, full.trace.gap, rule_of(v))
    T = stop_of(rule_of(v))
    if T not in stitched_accuracy:
        stitched_accuracy[T] = accuracy(stitched(chain, full.trace, T), data.test)
    more = {"speed-up in blocks": B / (T - d + 1), "test accuracy": stitched_accuracy[T]}
    return view._replace(numbers={**view.numbers, **more})


explorer = Explorer("stop rule", controls=rule_controls(epsilon, estimator, n_min), view=stop_rule_view)
explorer

# %% [markdown]
# ### Forget what you like
# Choose what to forget and press Unlearn. The panel drives the same function as the cells above. Spread the
# samples over the chain, or forget a whole class, and watch the speed-up vanish.
#
# Forgetting a few samples may hardly change accuracy: the retrained model, which never saw them, may get them right
# too. On a whole class it falls to zero.

# %%
panel = UnlearnPanel(
    "deepobliviate",
    data,
    original,
    controls=layout_controls(data, chain.members, d, ids, rule_controls(epsilon, estimator, n_min)),
    split=lambda v: request_of(v, data.train, chain.members),
    unused=unused_in_layout,
    start=lambda v, split: deepobliviate(chain, split.forget.ids, rule_of(v)),
    retrain=lambda split: deepobliviate(chain, split.forget.ids, stop_block=B, restart=1),  # from scratch
    reference=replace(full, seconds=seconds_scratch),
    draw=lambda progress: figures.progress_view(progress, rule_of(progress.values)),
)
panel

# %% [markdown]
# ### Any two models, sample by sample
# Original, retrained and unlearned side by side: choose a sample and see what each model thinks of it.

# %%
side_by_side = ComparePanel.following(panel)
side_by_side

# %% [markdown]
# ## Exercises
# ### Exercise 1 (easy, about 4 minutes)
# Write `residual_memory`. The arguments are flat parameter vectors before and after block $k$, in the original
# and in the retrained chain.
#
# <details><summary>Hint</summary>Subtract twice, then sum absolute values. Do not compare the models
# themselves: that is the gap.</details>


# %%
def residual_memory(before, after, before_new, after_new):
    # BEGIN SOLUTION
    return float(np.abs((after - before) - (after_new - before_new)).sum())
    # END SOLUTION


# %%
exercise_1 = checks.exercise("residual_memory", residual_memory, exercises.residual_memory)

# %% [markdown]
# ### Exercise 2 (medium, about 5 minutes)
# Write `stitch` for one tensor: the unlearned parameter from $M_B$, $M_T$ and $M'_T$. If nothing was deleted,
# it must give $M_B$ **bit for bit**.
#
# <details><summary>Hint</summary>There are two ways to write it. In floating point, only one of them returns
# the stored tail unchanged.</details>
#
# <details><summary>Second hint</summary>$x + (y - y)$ is $x$. But $y + (x - y)$ need not be.</details>


# %%
def stitch(final, stored, retrained):
    # BEGIN SOLUTION
    return final + (retrained - stored)
    # END SOLUTION


# %%
exercise_2 = checks.exercise("stitch", stitch, exercises.stitch)

# %% [markdown]
# ### Exercise 3 (hard, about 8 minutes)
# The $k$ points of a request fall into random blocks. On average, how many blocks are retrained if the rule needs $t$
# more after the last of them? Write `expected_blocks(B, k, t)`, exact or by simulation, to within 2 %. It is
# the mean of $\min(d_{max} + t, B) - d_{min} + 1$.
#
# <details><summary>Hint</summary>Draw the blocks of the points many times with numpy, and take the
# mean.</details>


# %%
def expected_blocks(B, k, t):
    # BEGIN SOLUTION
    blocks = np.random.default_rng(0).integers(1, B + 1, (20_000, k))
    return float((np.minimum(blocks.max(1) + t, B) - blocks.min(1) + 1).mean())
    # END SOLUTION


# %%
exercise_3 = checks.exercise("expected_blocks", expected_blocks, exercises.expected_blocks)

# %% [markdown]
# ## Does it really forget?
# ### A backdoor as a canary
# Samples of one late block get a mark and a wrong label. A model that has learned them may give that label to
# *anything* with the mark. First check that the final model really carries the backdoor: a chain may forget it by
# itself, and then its absence proves nothing. Below, $t$ counts the blocks retrained after the last deletion.

# %%
target, p = 0, session.sizes.poisoned_block
blocks = cut_into_blocks(data.train, B, recipe.seed)
poisoned = blocks[p - 1][: session.sizes.poisoned]
trigger = edge_trigger(data.shape, float(data.train.x.max()))
dirty = poison(data.train, poisoned, target, trigger)
warnings.filterwarnings("ignore", ".*lack a class")  # the poisoned block does, on purpose
backdoored = run(train_chain(initial, dirty, recipe, blocks, Folder(session.folder / "backdoored")))
clean = run(deepobliviate(backdoored, poisoned, stop_block=B))


def success(model):
    return backdoor_success(model, data.test, trigger, target)


after = {T - p: success(stitched(backdoored, clean.trace, T)) for T in range(p, min(p + 4, B) + 1)}
backdoor = {
    f"M_{p}, just poisoned": success(backdoored.model(p)),
    "original": success(backdoored.model()),
    "retrained": success(clean.model),
}
show(figures.backdoor_chart(list(after), list(after.values()), backdoor))
tell(findings.backdoor(backdoor, after))

# %%
t = min(2, B - p)
cured = stitched(backdoored, clean.trace, p + t)
accuracies = [accuracy(m, data.test) for m in (backdoored.model(), cured, clean.model)]
print("clean test accuracy: poisoned {:.1%}, stitched {:.1%}, retrained {:.1%}".format(*accuracies))

# %% [markdown]
# Now press the button yourself. Here "forget accuracy" is the share of poisoned samples that still get their *wrong*
# label: it should fall to the retrained model's value.

# %%
canary = UnlearnPanel(
    "backdoor",
    replace(data, train=dirty),
    backdoored.model(),
    controls=rule_controls(epsilon, estimator, n_min),
    split=lambda v: Split.by_ids(dirty, poisoned),
    start=lambda v, split: deepobliviate(backdoored, poisoned, rule_of(v)),
    reference=clean,
    draw=lambda progress: figures.progress_view(progress, rule_of(progress.values)),
    action="Unlearn the poisoned samples",
)
canary

# %% [markdown]
# ### The honest distance
# Is the stitched model close to the retrained one when we compare *parameters*?

# %%
reference = snapshot(full.model)


def distance(model):
    return l2(subtract(snapshot(model), reference))


ts = sorted({int(t) for t in np.linspace(0, B - d, 16)})
distances = [distance(stitched(chain, full.trace, d + t)) for t in ts]
show(figures.distance_chart(ts, distances, distance(original)))
tell(findings.distance(distances[0], distances[-1], distance(original)))

# %% [markdown]
# ### Scorecard
# Every audit of the unlearned model stands beside the original and the retrained one. Further chains with
# other seeds give the noise floor: how far apart retraining lands when only the seed changes. *Out of range* means
# farther than the retrained models stray. MIA is a membership attack, which guesses from the loss who was in the
# training set; an AUC of 0.5 is a coin toss.

# %%
others = []
for other in range(seed + 1, seed + 3):
    folder = Folder(session.folder / f"seed {other}")
    again = train_chain(session.build(other), data.train.without(ids), recipe.but(seed=other), B, folder)
    others.append(run(again).model())
card = evaluate(
    unlearned.model,
    original=original,
    retrained=retrained,
    retrained_seeds=others,
    split=Split.by_ids(data.train, ids),
    test=data.test,
)
card

# %% [markdown]
# ### Carry the request out
# So far, everything was a dry run. `commit` replaces the stored chain: the old models are deleted, the samples
# leave the blocks, and the models after $T$ are stitched. One thing it cannot undo: the increments after $T$ were
# learned by models that had seen the data. (Here it works on a copy of the folder, so that the panels above
# still find their chain.)

# %%
copy = Folder(shutil.copytree(chain.folder.root, session.folder / "copy", dirs_exist_ok=True))
new = replace(chain, folder=copy).commit(unlearned.trace)
print(f"{len(new.data)} samples left; stored models are stitched from block {new.stitched_from} on")

# %% [markdown]
# ## Checkpoint

# %%
restart_quiz = checks.quiz(
    "restart",
    "A sample stands in block 7. Which stored model is the last that cannot have seen it?",
    {
        "M_6": "It was stored before block 7 was learned.",
        "M_7": "It has just learned block 7, with the sample: restarting there deletes nothing.",
        "M_0": "It has not seen the sample either, but six good models would be thrown away.",
    },
    correct="M_6",
)

# %%
slope_quiz = checks.quiz(
    "slope",
    "Why does the rule test the slope of the trend and not its level?",
    {
        "the residual tends to a floor b above zero": "So its level never vanishes, but its slope does.",
        "the slope is easier to compute": "It needs the fit of a law; the level would need nothing.",
        "the level depends on the block size": "True, but normalizing by the first residual would cure that.",
    },
    correct="the residual tends to a floor b above zero",
)

# %%
exact_quiz = checks.quiz(
    "exact",
    "When is the result equal to retraining?",
    {
        "when test accuracy agrees": "Many different models have one accuracy.",
        "when the trend is flat": "Then stitching changes little, but it remains an approximation.",
        "when T = B, from a model that was never stitched": "Then it is the retrained chain, bit for bit.",
    },
    correct="when T = B, from a model that was never stitched",
)

# %% [markdown]
# ## Summary
# - A stored chain turns deletion into retraining a few blocks; the trend of $\Delta_k$ says when to stop, if ever.
# - It is fast when the deleted samples stand close together and late. A class, or samples spread over the
#   chain, cost nearly everything.
# - It needs the same order, the same random stream, and every intermediate model on disk.
# - It is **approximate unless** $T = B$. Equal accuracy, and even a dead backdoor, are not proof of deletion.
# - Our replica does not use the paper's nets and data sets. The chain sees each block once, so it also forgets early
#   blocks by itself: this costs accuracy, and confounds every backdoor test.
#
# ## References
# - Y. He, G. Meng, K. Chen, J. He, X. Hu, *DeepObliviate: A Powerful Charm for Erasing Data Residual Memory in
#   Deep Neural Networks*, 2021, arXiv:2105.06209.
# - L. Bourtoule et al., *Machine Unlearning* (SISA), IEEE S&P 2021, arXiv:1912.03817.
# - C.-K. Peng et al., *Mosaic organization of DNA nucleotides* (DFA), Physical Review E 49, 1994.

# %% tags=["ci-assert"]
record(
    "accuracy",
    original=references["original"],
    retrained=references["retrained"],
    unlearned=accuracy(unlearned.model, data.test),
)
record("speedup", blocks=trace.speedup, seconds=seconds_scratch / unlearned.seconds)
record("residual", first=full.trace.window[0], last=full.trace.window[-1])
record("backdoor", original=backdoor["original"], unlearned=after[t], retrained=backdoor["retrained"])
record("stored", bytes=stored_bytes)
assert same, "retraining from block d to the end must equal retraining from scratch"
assert l1(subtract(snapshot(stitched(chain, full.trace, B)), snapshot(retrained))) == 0, (
    "nothing left to stitch"
)
assert l1(subtract(snapshot(stitched(chain, full.trace, trace.T)), snapshot(unlearned.model))) == 0, trace.T
assert trace.d_min == trace.d_max == d <= trace.T <= B
assert stop_of(rule) == trace.T, "to stop at T, or to read T off the whole run, is the same"
assert distances[-1] == 0, "at the end of the chain the stitched model is the retrained one"
assert backdoor["retrained"] <= 0.5, "the retrained chain has never seen the mark"
if session.tuned(epsilon=epsilon, estimator=estimator, n_min=n_min):
    assert abs(accuracy(unlearned.model, data.test) - references["retrained"]) <= 0.03
    assert trace.speedup > session.limits.saves, trace.speedup
    assert backdoor["original"] >= 0.9, backdoor
    assert after[t] <= backdoor["retrained"] + 0.02, (after, backdoor)
