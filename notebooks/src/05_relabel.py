# %% [markdown]
# # Relabeling: teach it to be wrong
#
# **Lesson 05.** No paper claims this method as its own. Golatkar, Achille and Soatto, *Eternal Sunshine of the
# Spotless Net*, CVPR 2020, [arXiv:1911.04933](https://arxiv.org/abs/1911.04933), compare with it; Graves, Nagisetty
# and Ganesh, *Amnesiac Machine Learning*, AAAI 2021, [arXiv:2010.10981](https://arxiv.org/abs/2010.10981), relabel
# what is sensitive. About 25 minutes.
#
# ## Learning objectives
# - **Write** the simplest way to forget: wrong labels for what must go, right ones for some of what stays.
# - **Compare** it with UNSIR: what each leaves, and what each costs.
# - **Explain** why it works well on a class and badly on single samples.
# - **Show** over-forgetting in the losses, and how an attack uses it.
#
# ## Prerequisites
# [Lesson 00](00_start_here.ipynb) explains forget set, retain set and the three models. [Lesson 02](02_unsir.ipynb)
# explains UNSIR, our rival here; you can do without it.
#
# ## You will need
# A laptop: two cores, a gigabyte of memory. No network, no GPU. Every number below is computed while you watch.

# %% tags=["parameters"]
preset: str = "lesson"  # quick | lesson | full
seed: int = 0  # random seed
dataset: str = "digits"  # digits | mnist | fashion_mnist | svhn | cifar10 | cifar100 | location30 | path of a folder of images
forget_class: int = 3  # the class to forget

# %% [markdown]
# ## Set-up

# %%
from unlearn_lib.classroom import checks
from unlearn_lib.classroom.panels import UnlearnPanel
from unlearn_lib.classroom.panels.compare import ComparePanel
from unlearn_lib.classroom.session import begin, record, show, tell
from unlearn_lib.data import Split
from unlearn_lib.lessons.relabel import LESSON, exercises, figures, findings
from unlearn_lib.lessons.relabel.panel import relabel_controls
from unlearn_lib.methods.relabel import relabel
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.methods.unsir import UnsirRecipe, retain_subset, unsir
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.metrics.cost import counted, priced
from unlearn_lib.metrics.membership import loss_attack
from unlearn_lib.metrics.scorecard import evaluate
from unlearn_lib.params import clone
from unlearn_lib.train import run, train

session = begin(LESSON, preset=preset, dataset=dataset, seed=seed)
(forget_class,) = session.classes(forget_class, most=1)
data, sizes, recipe = session.dataset, session.sizes, session.recipe

# %% [markdown]
# ## The idea in one formula
# Give every sample $(x_i, y_i)$ of the forget set $D_f$ a wrong label $y_i'$, drawn at random from the other classes.
# Then train on, for a single pass, on these and on a share $R$ of the retain set with its own labels:
#
# $$y_i' \sim \text{uniform on the other classes}, \qquad
# \theta \leftarrow \theta - \eta \, \nabla\, \mathrm{CE}\big(\theta;\ \{(x_i, y_i')\} \cup R\big)$$
#
# The wrong labels break what the network knows about $D_f$; $R$ holds the rest together. That is all.

# %%
request = Split.by_class(data.train, forget_class)
short = recipe.but(lr=sizes.lr, epochs=1)

# %% [markdown]
# | word | meaning |
# |---|---|
# | forget set $D_f$ | what is to go: first all training images of a class, later single samples |
# | retain set $D_r$ | all other training samples; $R$ is a share of it |
# | do nothing | the original, trained on both |
# | retrained | trained from scratch on $D_r$ alone: the **reference** |
# | relabeled | what one pass over $D_f$ with wrong labels, and over $R$, makes of the original |
#
# Random labels are an old baseline. Drawing them from the *other* classes only, keyed by sample, and training
# on a share of $D_r$ in the same single pass are our choices.

# %% [markdown]
# ## Predict

# %%
PRICES = ["less than half", "about as much", "more"]
guess_price = checks.predict(
    "price",
    "UNSIR first learns noise, then trains for two short epochs. How long does relabeling take beside it?",
    PRICES,
)

# %%
LEVELS = ["fewer than the retrained model", "about as many", "more"]
guess_level = checks.predict(
    "level", "Single samples are relabeled, pass by pass. How many of them are right in the end?", LEVELS
)

# %% [markdown]
# ## Run
# ### A class
# First the original and the reference, then one pass. `priced` drives a method to its end and counts what it took.

# %%
original = clone(session.build())
run(train(original, data.train, recipe))
split = counted(request)
retrained = run(retrain(session.build(), request, recipe)).model
relabeled, cost = priced(relabel(original.eval(), split, short, share=sizes.share), split)
labels = relabeled.trace.labels.bincount(minlength=len(data.classes)).tolist()
show(figures.labels_chart(labels, data.classes))

# %% [markdown]
# A sample gets the same wrong label whatever else must go: it is drawn from the seed and the sample's number.

# %%
tested = Split.by_class(data.test, forget_class)


def by_part(model):
    """Accuracy on test images of the class, and of the others."""
    return {
        "class to forget": accuracy(model, tested.forget),
        "other classes": accuracy(model, tested.retain),
    }


models = {"do nothing": original, "relabeled": relabeled.model, "retrained": retrained}
scores = {name: by_part(model) for name, model in models.items()}
show(figures.scores_chart(scores))
tell(findings.class_request(scores))

# %% [markdown]
# ### What it costs, beside UNSIR
# UNSIR never reads the class that it forgets. It learns noise to stand for it, and that takes time. Here it answers the
# same request, on the same network:

# %%
R = retain_subset(split.retain, [forget_class], sizes.per_class, seed)
noise = UnsirRecipe.suited_to(original, seed=seed, impair_lr=sizes.impair_lr, repair_lr=sizes.impair_lr / 2)
rival, rival_cost = priced(unsir(original, [forget_class], R, noise.but(penalty=sizes.penalty)), split)
scores["UNSIR"] = by_part(rival.model)
seconds = {"relabel": cost.seconds, "UNSIR": rival_cost.seconds}
shown = {
    "relabel": cost.forget_reads + cost.retain_reads,
    "UNSIR": sum(n for stage, n in rival.trace.samples.items() if stage != "noise"),
}
for name in seconds:
    print(f"{name:8} {seconds[name]:.2f} s, {shown[name]} images shown")
show(figures.scores_chart({name: scores[name] for name in ("relabeled", "UNSIR", "retrained")}))
tell(findings.price(seconds, shown))

# %% [markdown]
# ### Single samples, pass by pass
# Now the request is for single samples, from all classes. The method is the same, but we let it go on, and
# look after each pass.

# %%
single = Split.by_ids(data.train, data.train.head(sizes.samples, seed=seed + 1).ids)
reference = run(retrain(session.build(), single, recipe)).model
passes = [original]


def keep(step):
    """A copy of the model at the end of each pass."""
    if step.number == step.steps:
        passes.append(clone(step.model).eval())


run(relabel(original, single, short.but(epochs=sizes.passes), share=sizes.share), [keep])
forgotten, unseen = ([accuracy(model, part) for model in passes] for part in (single.forget, data.test))
level = accuracy(reference, single.forget)
show(figures.passes_chart(forgotten, unseen, level))
tell(findings.samples(forgotten, level))

# %% [markdown]
# ## Compare

# %%
ratio = seconds["relabel"] / seconds["UNSIR"]
checks.compare(guess_price, PRICES[0 if ratio < 0.5 else 1 if ratio < 1.25 else 2])

# %%
apart = forgotten[-1] - level
checks.compare(guess_level, LEVELS[0 if apart < -0.05 else 1 if apart <= 0.05 else 2])

# %% [markdown]
# For a whole class, wrong is right: the retrained model, too, takes its images for something else. For single
# samples it is not, because what stays teaches the same as what goes. A pass that ends near the retrained
# model does so by chance.

# %% [markdown]
# ## Explore
# What holds the rest together, and how large may a step be? Try a share of zero, then a large learning rate. The panel
# begins with the run above.

# %%
panel = UnlearnPanel(
    "relabel",
    data,
    original,
    controls=relabel_controls(data, [forget_class], lr=sizes.lr, share=sizes.share),
    split=lambda v: Split.by_class(data.train, *v.classes),
    start=lambda v, split: relabel(original, split, recipe.but(lr=v.lr, epochs=v.epochs), share=v.share),
    retrain=lambda split: retrain(session.build(), split, recipe),
)
panel

# %% [markdown]
# ### Sample by sample

# %%
two = ComparePanel.following(panel)
two

# %% [markdown]
# ## Exercises
# ### Exercise 1 (easy, about 6 minutes)
# Write `wrong_label`. It gets the sample's own class, the list of classes that stay (the smallest first), and
# a whole number, zero or more, of any size, drawn at random. It returns one of the other classes, all equally
# often. A class that is forgotten as a whole is not in the list.
#
# <details><summary>Hint</summary>First list the classes that may be drawn. Then let the number choose among them; the
# remainder of a division brings it into range.</details>


# %%
def wrong_label(own, classes, number):
    # BEGIN SOLUTION
    others = sorted(set(classes) - {own})
    return others[number % len(others)]
    # END SOLUTION


# %%
exercise_1 = checks.exercise("wrong_label", wrong_label, exercises.wrong_label)

# %% [markdown]
# ## Does it really forget?
# ### The attack on the losses
# An attacker who sees a sample's loss asks: is it far from the losses of unseen images? Below are the losses
# of the forgotten samples under each model, and those of images that no model has seen.

# %%
answers = {"do nothing": original, "one pass": passes[1], "all passes": passes[-1], "retrained": reference}
attacks = {name: loss_attack(model, single, data.test) for name, model in answers.items()}
curves = {name: found.members for name, found in attacks.items()}
show(figures.losses_chart(curves | {"images never seen": attacks["retrained"].others}))
auc = {name: found.auc.value for name, found in attacks.items()}
print("AUC of the loss attack:", ", ".join(f"{name} {value:.2f}" for name, value in auc.items()))
tell(findings.attack(auc, attacks["retrained"].auc.error))

# %% [markdown]
# One half means that the attack cannot tell. Above it, the model knows the samples better than unseen ones;
# far below it, *worse*, and that is a trace as well: turn the attack round, and it finds them.

# %% [markdown]
# ### The scorecard
# Every audit of the class request, beside the original and the retrained model.

# %%
other = run(retrain(session.build(seed + 1), request, recipe.but(seed=seed + 1))).model
card = evaluate(
    relabeled.model,
    original=original,
    retrained=retrained,
    retrained_seeds=[other],
    split=request,
    test=data.test,
)
card

# %% [markdown]
# ## Checkpoint

# %%
retain_quiz = checks.quiz(
    "retain",
    "Why does training include a share of the retain set?",
    {
        "it teaches the wrong labels": "Those come from the forget set alone.",
        "it holds the other classes together": "Without it every step pulls only towards wrong answers.",
        "the method would not run without": "It runs with a share of zero. Try it in the panel.",
    },
    correct="it holds the other classes together",
)

# %%
over_quiz = checks.quiz(
    "over",
    "After relabeling, the accuracy on 50 ordinary samples is 10 %; the retrained model has 90 %. Is that good?",
    {
        "yes: they are forgotten": "A model that never saw them would get most of them right.",
        "no: it is over-forgotten": "Being so wrong about them shows which samples were deleted.",
        "it depends on the test accuracy": "These samples would stick out even at full test accuracy.",
    },
    correct="no: it is over-forgotten",
)

# %%
rival_quiz = checks.quiz(
    "rival",
    "A new method brings a class to 0 % and keeps the others. What must its authors show beside it?",
    {
        "nothing more: that is the goal": "A few lines of relabeling may do the same. Then what is new?",
        "relabeling, at the same cost": "A simple rival at equal cost shows what the idea is worth.",
        "the accuracy of the original": "That is needed too, but it is not a rival.",
    },
    correct="relabeling, at the same cost",
)

# %% [markdown]
# ## Summary
# - Wrong labels for what must go, right labels for a share of what stays, one pass: a rival for every method.
# - It reads the forget set, stores nothing in advance, and needs no noise, log or chain.
# - For a class it aims at the right target. For single samples it overshoots: where it stops is chance, and
#   losses that are too high give the samples away.
# - What this does not show: large nets, many requests in a row, or any guarantee. It gives none.

# %%
tell(findings.summary(scores, forgotten[-1], level))

# %% [markdown]
# ## References
# - A. Golatkar, A. Achille, S. Soatto, *Eternal Sunshine of the Spotless Net: Selective Forgetting in Deep Networks*,
#   CVPR 2020, arXiv:1911.04933.
# - L. Graves, V. Nagisetty, V. Ganesh, *Amnesiac Machine Learning*, AAAI 2021, arXiv:2010.10981.
# - A. K. Tarun, V. S. Chundawat, M. Mandal, M. Kankanhalli, *Fast Yet Effective Machine Unlearning* (UNSIR), 2023,
#   arXiv:2111.08947.

# %% tags=["ci-assert"]
for name, found in scores.items():
    record(f"accuracy.{name}", forget=found["class to forget"], retain=found["other classes"])
record("seconds", **seconds)
record("shown", **shown)
record("samples", one_pass=forgotten[1], all_passes=forgotten[-1], retrained=level)
record("auc", **auc)
wrong = relabeled.trace.labels
assert (wrong != request.forget.y).all(), "no label is the true one"
assert cost.forget_reads == len(request.forget), "one pass over the forget set"
assert cost.retain_reads == relabeled.trace.retained, "and one over the share"
assert accuracy(retrained, request.forget) <= 0.05, "the retrained model has never seen the class"
if session.tuned(forget_class=forget_class):
    limits = session.limits
    assert accuracy(relabeled.model, request.forget) <= limits.forget, scores
    assert scores["relabeled"]["other classes"] >= scores["retrained"]["other classes"] - limits.loss, scores
