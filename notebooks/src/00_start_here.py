# %% [markdown]
# # Start here: what does it mean to forget?
#
# **Lesson 00.** The question behind every lesson: Cao and Yang, *Towards Making Systems Forget with Machine
# Unlearning*, IEEE S&P 2015, [doi.org/10.1109/SP.2015.35](https://doi.org/10.1109/SP.2015.35). About 15 minutes.
#
# ## Learning objectives
# - **Check** that everything here works, widgets included.
# - **Name** the models and the data that every lesson talks about: forget, retain; original, retrained, unlearned.
# - **Explain** why "0 % on the forget set" is the wrong goal for ordinary samples, and what the right one is.
# - **Read** a membership attack and a backdoor, two ways to ask a model what it remembers.
#
# ## Prerequisites
# You have trained a classifier once and know what a loss is.
#
# ## You will need
# A laptop: two cores, one gigabyte of memory. No network, no GPU. Every number below is computed while you
# watch.

# %% tags=["parameters"]
preset: str = "lesson"  # quick | lesson | full
seed: int = 0  # random seed
dataset: str = "digits"  # digits | mnist | fashion_mnist | svhn | cifar10 | cifar100 | location30 | path of a folder of images
lr: float = 0.02  # learning rate on the two moons

# %% [markdown]
# ## Set-up
# First, the environment. Every line should begin with `[OK]`; a `[FAIL]` says what to do. Then press the button: it
# tells you whether widgets work where you are reading this.

# %%
from unlearn_lib.classroom import environment

report = environment.check(dataset)

# %%
widget = environment.WidgetCheck()
widget

# %% [markdown]
# Every lesson begins like this: imports, and one call that says what it runs with.

# %%
import torch

from unlearn_lib import check
from unlearn_lib.classroom import checks
from unlearn_lib.classroom.panels import Explorer, UnlearnPanel
from unlearn_lib.classroom.session import begin, record, show, tell
from unlearn_lib.contest.entries import chart_of_methods
from unlearn_lib.data import Split
from unlearn_lib.lessons.start import LESSON, exercises, figures, findings
from unlearn_lib.lessons.start.panel import moons_controls, threshold_controls
from unlearn_lib.methods.finetune import finetune, gradient_ascent
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.metrics.backdoor import backdoor_success, edge_trigger, poison
from unlearn_lib.metrics.membership import loss_attack
from unlearn_lib.metrics.scorecard import evaluate
from unlearn_lib.models import build
from unlearn_lib.params import clone
from unlearn_lib.synthetic import noisy, two_moons
from unlearn_lib.train import Recipe, run, train

session = begin(LESSON, preset=preset, dataset=dataset, seed=seed)
sizes, lr = session.sizes, check.number("lr", lr, "[0.0001, 1]")

# %% [markdown]
# ## The idea in one picture
# Somebody asks you to delete some training points, and what the model learned from them. Here are two such
# requests on points in the plane, of the same size. The points on the left are **mislabeled**: they belong to
# the upper moon but carry the label "lower". Those on the right are **ordinary**.

# %%
toy = two_moons(sizes.points, sizes.mislabeled, seed=seed)
n = sizes.mislabeled
requests = {"mislabeled": toy.train.ids[:n], "ordinary": toy.train.ids[-n:]}  # ids count from left to right
show(figures.points_chart(toy.train, {f"forget {k}": ids for k, ids in requests.items()}, toy.classes))

# %% [markdown]
# | word | meaning |
# |---|---|
# | forget set $D_f$ | the samples to delete |
# | retain set $D_r$ | all other training samples |
# | original $M_o$ | the model trained on both |
# | retrained $M_s$ | trained from scratch on $D_r$ alone: the **reference** |
# | unlearned $M_u$ | what a method makes of $M_o$, in a fraction of the time |
#
# The retrained model never saw $D_f$; nothing is cleaner than that. So unlearning means coming close to it,
#
# $$M_u = U(M_o, D_f) \;\approx\; M_s = \mathrm{train}(D_r),$$
#
# without paying for it.

# %% [markdown]
# ## Predict
# We retrain from scratch, once without the mislabeled points and once without the ordinary ones. Then we ask
# each model about exactly the points that *it* never saw. "Right" means: as labeled.

# %%
guess = checks.predict(
    "unseen",
    "Of which request does the retrained model still get most points right?",
    ["neither", "both", "only the ordinary points", "only the mislabeled points"],
)

# %% [markdown]
# ## Run
# ### The original, and the reference for each request
# `train` is a generator, one mini-batch a step; `run` drives it to its end. A method is a generator too.

# %%
recipe = Recipe("adam", lr=lr, batch_size=16, epochs=60, seed=seed)
initial = build("mlp", toy.shape, 2, seed=seed, device=session.device)
original = clone(initial)
run(train(original, toy.train, recipe))

splits = {name: Split.by_ids(toy.train, ids) for name, ids in requests.items()}
retrained = {name: run(retrain(initial, split, recipe)) for name, split in splits.items()}
models = {"original": original} | {f"without {name}": done.model for name, done in retrained.items()}
show(figures.boundary_chart(models, toy.train, torch.cat(list(requests.values())), toy.classes))

# %% [markdown]
# ### Two cheap ways
# **Fine-tune**: go on training, on the retain set only, and hope. **Ascend**: raise the loss on the forget set
# until the model gets none of its points right, the "0 %" that seems such a natural goal.


# %%
def ascend_to_zero(split):
    """Ascend, and stop at the first step at which no forget point is right."""
    for step in gradient_ascent(original, split.forget, recipe.but(epochs=300)):
        if accuracy(step.model, split.forget) == 0:
            break
    return step.model


tuned = {k: run(finetune(original, split.retain, recipe.but(epochs=10))).model for k, split in splits.items()}
ascended = {name: ascend_to_zero(split) for name, split in splits.items()}
by_role = {
    "original": dict.fromkeys(splits, original),
    "unlearned": tuned,
    "control": ascended,
    "retrained": {name: done.model for name, done in retrained.items()},
}
on_forget = {
    role: {name: accuracy(found[name], split.forget) for name, split in splits.items()}
    for role, found in by_role.items()
}
on_test = {
    role: {name: accuracy(found[name], toy.test) for name in splits} for role, found in by_role.items()
}
show(figures.request_chart(on_forget, on_test))

# %% [markdown]
# ## Compare

# %%
kept = tuple(on_forget["retrained"][name] > 0.5 for name in ("mislabeled", "ordinary"))
outcomes = {(False, False): 0, (True, True): 1, (False, True): 2, (True, False): 3}
checks.compare(guess, guess.choices[outcomes[kept]])
tell(findings.requests(on_forget["retrained"]))

# %% [markdown]
# To push ordinary points to 0 %, you have to tear the boundary away from where it belongs:

# %%
ordinary = {"original": original, "ascended to 0 %": ascended["ordinary"]}
ordinary |= {"fine-tuned": tuned["ordinary"], "retrained": retrained["ordinary"].model}
reference = retrained["ordinary"].model
show(figures.boundary_chart(ordinary, toy.train, requests["ordinary"], toy.classes, reference))
pushed = (found["control"]["ordinary"] for found in (on_forget, on_test))
tell(findings.over_forgetting(*pushed, on_test["retrained"]["ordinary"]))

# %% [markdown]
# ## Explore
# Choose points to forget: click one (Shift adds more), draw a box or, with the tool that appears at the top right
# of the chart, a lasso; or type ids. Then press Unlearn and watch the boundary move. It should come to the dashed green line.

# %%
METHODS = {
    "fine-tune on the rest": lambda split, recipe: finetune(original, split.retain, recipe),
    "ascend on the forget set": lambda split, recipe: gradient_ascent(original, split.forget, recipe),
    "retrain from scratch": lambda split, recipe: retrain(initial, split, recipe),
}
panel = UnlearnPanel(
    "start",
    toy,
    original,
    controls=moons_controls(toy, requests["mislabeled"], METHODS, lr),
    split=lambda v: Split.by_ids(toy.train, v.ids),
    start=lambda v, split: METHODS[v.method](split, recipe.but(epochs=v.epochs, lr=v.lr)),
    retrain=lambda split: retrain(initial, split, recipe),
    reference=retrained["mislabeled"],
    draw=figures.progress_view,
    picture_first=True,
)
panel

# %% [markdown]
# Things to try: a single point in the middle of a moon; points at the boundary; ascent with one epoch more, and
# one more; training from scratch for ten epochs, then for sixty.

# %% [markdown]
# ## Exercises
# ### Exercise 1 (easy, about 2 minutes)
# How far is a model from the reference? Write `average_gap`: the mean, over all scores, of the *distance* between its
# score and the retrained model's. Both are dicts with the same keys.
#
# <details><summary>Hint</summary>Too low is as wrong as too high, and errors must not cancel: take the absolute
# value before the mean.</details>


# %%
def average_gap(unlearned, retrained):
    # BEGIN SOLUTION
    return sum(abs(unlearned[part] - retrained[part]) for part in retrained) / len(retrained)
    # END SOLUTION


# %%
exercise_1 = checks.exercise("average_gap", average_gap, exercises.average_gap)

# %% [markdown]
# ### Exercise 2 (easy, about 3 minutes)
# The simplest membership attack: call a sample a training sample if its loss is **at most** a threshold. Write
# `attack`, which returns two rates: the share of members that are found, and the share of others that are
# accused.
#
# <details><summary>Hint</summary>`(losses <= threshold).mean()` is the share below the threshold.</details>


# %%
def attack(member_losses, other_losses, threshold):
    # BEGIN SOLUTION
    return (member_losses <= threshold).mean(), (other_losses <= threshold).mean()
    # END SOLUTION


# %%
exercise_2 = checks.exercise("attack", attack, exercises.attack)

# %% [markdown]
# ## Does it really forget?
# The chart above shows how well fine-tuning did on the moons. So does it forget? Here are two sharper questions, on
# images.
#
# ### Was this sample in the training set?
# A model is surer of what it has seen. So anyone who can measure a loss can guess who was in the training set. We add
# noise to the images, so that each has details a model can only know by heart. Then we ask to forget some of them,
# chosen at random.

# %%
train_data, test = (
    noisy(session.dataset.train, sizes.noise, seed),
    noisy(session.dataset.test, sizes.noise, seed + 1),
)
split = Split.by_ids(train_data, train_data.head(sizes.forget, seed).ids)


def on_images(data, seed=seed):
    """A model trained on these images."""
    model = session.build(seed)
    run(train(model, data, session.recipe.but(seed=seed)))
    return model


images = {
    "original": on_images(train_data),
    "retrained": on_images(split.retain),
}
few = session.recipe.but(epochs=sizes.tuning)
images["unlearned"] = run(finetune(images["original"], split.retain, few)).model
attacks = {role: loss_attack(model, split, test) for role, model in images.items()}

# %% [markdown]
# **Drag the threshold.** Every sample left of it is called a member. On the right every threshold is a point; the
# area under the curve, AUC, is ½ for an attack no better than a coin toss. ("Unlearned" is the fine-tuned
# model here.)

# %%
membership = Explorer(
    "membership",
    controls=threshold_controls(attacks),
    view=lambda v: figures.threshold_chart(attacks, v.role, v.threshold),
)
membership

# %% [markdown]
# It cuts both ways: the goal is the retrained model's value, about ½. Clearly above it, the forget set still looks
# like training data. Clearly *below* it, it was over-forgotten, and an attacker sees that too.

# %%
auc = {role: found.auc.value for role, found in attacks.items()}
tell(findings.members(auc, attacks["retrained"].auc.error))

# %% [markdown]
# ### A backdoor as a canary
# Miners took a canary along to warn them of gas. Here is ours: a few training images get a mark and a wrong label. A
# model that has learned them gives that label to *other* images with the mark, too. Once they are forgotten, the mark
# works no more often than on a model that never saw them.

# %%
target = 0
clean_train, clean_test = session.dataset.train, session.dataset.test
trigger = edge_trigger(session.dataset.shape, float(clean_train.x.max()))
marked = clean_train.where(clean_train.y != target).head(sizes.poisoned, seed).ids
canaries = Split.by_ids(poison(clean_train, marked, target, trigger), marked)

carrier = on_images(canaries.forget + canaries.retain)
canary = {
    "original": carrier,
    "unlearned": run(finetune(carrier, canaries.retain, few)).model,
    "retrained": on_images(canaries.retain),
}
success = {role: backdoor_success(model, clean_test, trigger, target) for role, model in canary.items()}
clean = {role: accuracy(model, clean_test) for role, model in canary.items()}
show(figures.canary_chart(success, clean))
tell(findings.canary(success, clean))

# %% [markdown]
# ### The scorecard
# Every lesson ends with this table: each audit of the unlearned model beside the original and the retrained one.
# Further retrained models, which differ only in the seed, give the **noise floor**: a smaller difference means
# nothing. Read four rows first: accuracy on the forget set; accuracy on the test set; the average gap from exercise 1;
# and the AUC of the membership attack.

# %%
others = [on_images(split.retain, seed + k) for k in range(1, sizes.seeds)]
card = evaluate(
    images["unlearned"],
    original=images["original"],
    retrained=images["retrained"],
    retrained_seeds=others,
    split=split,
    test=test,
)
card

# %%
row = card["accuracy", "forget"]
tell(findings.scorecard(abs(row.unlearned - row.retrained), row.floor))

# %% [markdown]
# ## A map of the methods
# Each lesson teaches a way to come close to the retrained model without paying its price. They differ in what must
# be stored before anybody asks, what is read when somebody does, and what it all costs.

# %%
tell(chart_of_methods())

# %% [markdown]
# Only retraining is exact; no other row comes with a certificate. That is why we compare each with the retrained model.

# %% [markdown]
# ## Checkpoint

# %%
goal_quiz = checks.quiz(
    "goal",
    "A method is to forget 50 ordinary samples. Which accuracy on them is the goal?",
    {
        "0 %": "Over-forgetting: a model that never saw them would get most of them right.",
        "that of the retrained model": "It never saw them, and generalizes to them as to any test sample.",
        "100 %": "That is the original's score: it has seen them.",
    },
    correct="that of the retrained model",
)

# %%
auc_quiz = checks.quiz(
    "auc",
    "After unlearning, the membership attack has an AUC of .2; for the retrained model it is .5. Is that good?",
    {
        "yes, the lower the better": "The losses on the forget set stick out: turn the attack round, and it works.",
        "no, it is over-forgotten": "Whoever sees these high losses knows which samples were deleted.",
        "it cannot be below .5": "It can: whenever the forget set has higher losses than unseen samples.",
    },
    correct="no, it is over-forgotten",
)

# %%
equal_quiz = checks.quiz(
    "equal",
    "Unlearned and retrained model have the same test accuracy. What follows?",
    {
        "the samples are forgotten": "A model can have it, and still obey a mark.",
        "nothing about forgetting": "It only says that the model is not damaged. Forgetting needs its own tests.",
        "the two models are equal": "Very different weights can give the same accuracy.",
    },
    correct="nothing about forgetting",
)

# %% [markdown]
# ## Summary
# - The reference is the model retrained without the forget set. The goal is *its* scores, not 0 % and not ½.
# - Whether a model still gets a deleted sample right depends on whether the other samples teach the same.
# - Accuracy cannot tell forgetting from generalization. Membership attacks and backdoors ask about memory.
# - One test is not enough: what passes one may fail the next.
# - Our toys do not show networks with millions of weights, attacks sharper than one threshold, or proof. No test
#   here can certify that nothing is left.

# %%
moons = {name: abs(on_forget["unlearned"][name] - on_forget["retrained"][name]) for name in requests}
tell(findings.summary(moons, success))

# %% [markdown]
# ## References
# - Y. Cao, J. Yang, *Towards Making Systems Forget with Machine Unlearning*, IEEE S&P 2015,
#   doi.org/10.1109/SP.2015.35.
# - A. Golatkar, A. Achille, S. Soatto, *Eternal Sunshine of the Spotless Net* (compares with fine-tuning and
#   ascent), CVPR 2020, arXiv:1911.04933.
# - S. Yeom, I. Giacomelli, M. Fredrikson, S. Jha, *Privacy Risk in Machine Learning* (a threshold on the loss),
#   IEEE CSF 2018, arXiv:1709.01604.
# - T. Gu, B. Dolan-Gavitt, S. Garg, *BadNets* (backdoors), 2017, arXiv:1708.06733.

# %% tags=["ci-assert"]
forget_images = {role: accuracy(model, split.forget) for role, model in images.items()}
record("environment", ok=report.ok, failed=list(report.failed))
record("forget_accuracy", **on_forget)
record("test_accuracy", **on_test)
record("membership", **auc)
record("images", **forget_images)
record("backdoor", **success)
record("clean_accuracy", **clean)
assert report.ok, report.failed
spread = attacks["retrained"].auc.error
assert abs(auc["retrained"] - 0.5) <= 4 * spread, "members and strangers alike are new to the retrained model"
assert success["retrained"] <= 0.5, "the retrained model has never seen the mark"
if session.tuned(lr=lr):
    assert on_forget["original"]["mislabeled"] >= 0.5, on_forget
    assert on_forget["retrained"]["mislabeled"] <= 0.3, on_forget
    assert on_forget["retrained"]["ordinary"] >= 0.8, on_forget
    assert on_forget["control"] == {"mislabeled": 0, "ordinary": 0}, on_forget
    assert on_test["control"]["ordinary"] < on_test["retrained"]["ordinary"] - 0.05, on_test
    assert auc["original"] > 0.6, auc
    assert abs(auc["retrained"] - 0.5) < 0.12, auc
    assert auc["unlearned"] > auc["retrained"] + 0.05, auc
    assert forget_images["unlearned"] > forget_images["retrained"] + 0.05, forget_images
    assert success["original"] > 0.8, success
    assert success["unlearned"] > success["retrained"] + 0.3, success
    assert success["retrained"] < 0.1, success
    assert clean["unlearned"] > clean["retrained"] - 0.05, clean
