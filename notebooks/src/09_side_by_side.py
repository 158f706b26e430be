# %% [markdown]
# # Side by side: every method, one table
#
# **Lesson 09.** All methods of this package on the same requests, judged by the same audits: among them Hayes et
# al., *Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy*, 2024,
# [arXiv:2403.01218](https://arxiv.org/abs/2403.01218), and Chundawat et al., *Can Bad Teaching Induce
# Forgetting?*, AAAI 2023, [arXiv:2205.08096](https://arxiv.org/abs/2205.08096). About 60 minutes.
#
# ## Learning objectives
# - **Choose** a method by what it needs, costs and leaves behind, not by one number.
# - **Count** a cost whole: seconds before and after the request, bytes kept, samples read.
# - **Read** an audit by its card: formula, direction, what the retrained model scores, how it fools you.
# - **Provoke** the failure of every method.
# - **Enter** a method of your own into the same table.
#
# ## Prerequisites
# [Lesson 01](01_deepobliviate.ipynb) explains original, retrained and unlearned. The other lessons explain one
# method each; a sentence on each stands below.
#
# ## You will need
# A laptop: two cores, one gigabyte of memory and as much again for each of the `workers`, fifty megabytes of disk. No
# network, no GPU. Every number below is computed while you watch.

# %% tags=["parameters"]
preset: str = "lesson"  # quick | lesson | full
seed: int = 0  # random seed
dataset: str = "digits"  # digits | mnist | fashion_mnist | svhn | cifar10 | cifar100 | location30 | path of a folder of images
forget_class: int = 3  # the class to forget
export: str = ""  # folder for the numbers as CSV and JSON; empty for a temporary one
workers: int = 2  # processes that train the shadow models; 0 trains them here

# %% [markdown]
# ## Set-up

# %%
