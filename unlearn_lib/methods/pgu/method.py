"""PGU: unlearning with projected gradients.

Push the network away from its answers on the forget data, but remove from every update the part that would
change what a layer does to the retained inputs. That needs no retained data, only the second moments of their
inputs, and moments add up over samples. So the moments of *all* data are stored once, at training time, and
when a request comes those of the forget data are subtracted:

    stored = moments(model, train_data)                     # at training time; save_moments(path, stored)
    retained = spectra(stored.without(model, forget))       # at request time: M_r = M_full - M_f
    result = run(pgu(model, retained, forget, CLASS, stop=forgotten(0.05)))

"No training data are needed" is true of the update alone. The moments are D^2 numbers a layer, made from all
the data before the request; they are themselves a trace of those data, and any further training makes them
stale. Choosing when to stop needs validation data.

The abstract says that steps are orthogonal to the subspaces "deemed unimportant" for the retained data. We
read that as a slip: the authors' code, like GPM before it, removes the *important* directions from each step.

Differs from the paper (where we could read its code; the printed threshold is unconfirmed):
    - We project the *update*, not the gradient. The two agree under plain SGD with a momentum that starts
      empty; with weight decay or Adam only the update is safe.
    - We take the smallest k that reaches gamma; the published scripts disagree by one.
    - Patches are unfolded with the layer's true stride and dilation (theirs: always 1). Moments come from one
      plain pass (theirs: over augmented images), and negative eigenvalues are clamped (their SVD turns them
      positive).
    - There are E epochs, not E - 1; dropout is off; a request that is met at epoch 0 changes nothing.
    - Requests in a row use the original's moments; their code mixes those of two models.

References:
    Hoang, Rana, Gupta, Venkatesh: Learn to Unlearn for Deep Neural Networks: Minimizing Unlearning
    Interference with Gradient Projection. WACV 2024, arXiv 2312.04095.
    Saha, Garg, Roy: Gradient Projection Memory for Continual Learning. ICLR 2021, arXiv 2103.09762.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Batch, Examples, check_examples
from unlearn_lib.methods.pgu.guard import Guard, require_fit
from unlearn_lib.methods.pgu.loss import forget_loss
from unlearn_lib.methods.pgu.projection import Projector, RankRule, Spectra, per_layer, ranks
from unlearn_lib.methods.pgu.qualify import eager
from unlearn_lib.methods.pgu.stopping import GoalRule, Watched
from unlearn_lib.params import Params, assign, clone, state
from unlearn_lib.train import LossFn, Recipe, Step, Unlearned, as_run, device_of, train

__all__ = ["CLASS", "SAMPLES", "ProjectedLayer", "ProjectionTrace", "pgu"]

CLASS = Recipe(lr=0.05, batch_size=128, epochs=60)
SAMPLES = Recipe(lr=0.05, batch_size=40, epochs=40)


class ProjectedLayer(NamedTuple):
    """One weight's geometry and cost; with groups, size D and rank k are those of all groups together."""

    size: int
    rank: int
    nbytes: int
    moment_seconds: float
    eigen_seconds: float


@dataclass(frozen=True)
class ProjectionTrace:
    """What a run of `pgu` leaves behind.

    Args:
        layers: by weight name: D, k, bytes of M, seconds of its share of the moment pass and of its
            eigendecomposition. What stands still is missing.
        survival: rho = ||dW'|| / ||dW|| by weight name, one value a step.
        scores: of the stop rule, at epochs 0, 1, 2, ...
        lrs: learning rate of epochs 1, 2, ...
        epoch: the epoch whose model was returned; 0 is the unchanged model.
        stopped: why the run ended.
        seconds: spent in "moments" (of the forget samples), "eigen" and "unlearn".
    """

    layers: dict[str, ProjectedLayer]
    survival: dict[str, list[float]]
    scores: list[Watched]
    lrs: list[float]
    epoch: int
    stopped: str
    seconds: dict[str, float]


@as_run
@check.arguments
def pgu(
    model: nn.Module,
    retained: Spectra,
    forget: Examples,
    recipe: Recipe,
    *,
    stop: GoalRule,
    last_lr: float = 0.01,
    energy: float | Mapping[str, float] = 0.8,
    rule: RankRule = "sigma",
    loss_fn: LossFn = forget_loss,
    freeze: Collection[str] = (),
    original: nn.Module | None = None,
    guard: Guard = Guard(),  # noqa: B008 - it holds nothing
) -> Generator[Step, None, Unlearned[ProjectionTrace]]:
    """Unlearn `forget` by steps orthogonal to what the retained data use.

    With M_r = U diag(lambda) U^T the moment of a layer's retained inputs and U_k its first k eigenvectors,

        W <- W + dW - (dW U_k) U_k^T,   eta_e = eta_0 alpha^e,   alpha = (eta_1 / eta_0)^(1/E).

    An input in the span of U_k does not notice the step. At full rank that holds for all retained inputs: the
    first layer's outputs stay, hence the second's inputs, and so on through the net, provided that nothing
    else moves (see `Guard`). Truncated, a layer leaks at most ||W_T - W_0||_F (sum_{i>k} lambda_i)^(1/2).
    Nothing certifies removal. Before the first step the guarantee is tried, see `projection.require_still`.

    **Several requests in a row**: keep the original model, subtract each request's moments from the same
    running sum, measured on the original, and unlearn the newest model with ``original=`` given. The sums
    stay exact. Below full rank their validity drifts: each request moves the retained features a little.

    Args:
        model: left unchanged; a copy is trained. A compiled net is taken as it was before compiling.
        retained: spectra of the moments without the forget samples. Their weights move, unless they have
            `requires_grad=False`.
        forget: the samples to forget, with the labels to forget. No other training sample is read.
        recipe: lr is eta_0; epochs is E. A fresh optimizer every epoch, so momentum lasts for one.
        stop: when to stop; also what is read besides the forget data.
        last_lr: eta_1, > 0.
        energy: retention level gamma in (0, 1], for all weights or by name; 1 protects every retained
            direction. .9 to .95 are the published values for large nets.
        rule: see `projection.rank`.
        loss_fn: what is minimized on the forget data.
        freeze: names of weights that are not to move at all.
        original: the model that the moments were measured on, if it is not `model`.
        guard: the conditions of the guarantee; experiments replace it, see `controls.py`.

    Yields:
        One `Step` per mini-batch; `info["survival"]` is rho by weight name.

    Returns:
        The unlearned model, in eval mode, and its `ProjectionTrace`.

    Raises:
        ValueError: another model's moments, forget samples still in them, or an argument out of range.
        TypeError: an argument of another kind.
        UnsupportedModule: a weight does not do what its moment says; names it.
        FloatingPointError: the loss is not finite.

    Example:
        >>> retained = ul.spectra(ul.moments(model, data).without(model, split.forget))
        >>> result = ul.run(ul.pgu(model, retained, split.forget, recipe, stop=ul.forgotten(0.1)))
        >>> ul.accuracy(result.model, split.forget) < ul.accuracy(model, split.forget)
        True
    """
    begun = time.perf_counter()
    check_examples("forget", forget)
    check.number("last_lr", last_lr, "(0, inf)")
    check.choice("recipe.schedule", recipe.schedule, ("constant",), remedy="Here the rate goes to `last_lr`.")
    given = eager(model)
    require_fit(given, given if original is None else eager(original), retained, forget)

    model, forget = clone(given), forget.to(device_of(given))
    weights = guard.release(model, retained, freeze)
    k = _ranks(retained, per_layer("energy", energy, weights), rule)
    project = _Project(
        {name: guard.projector(retained.layers[name], k[name]).to(W) for name, W in weights.items()}
    )

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        guard.settle(model)
        return loss_fn(model, batch)

    alpha = (last_lr / recipe.lr) ** (1 / max(1, recipe.epochs))
    lrs: list[float] = []
    scores, before = [stop.measure(model, forget)], state(model)
    while (chosen := stop.decide(scores)) is None and len(lrs) < recipe.epochs:
        epoch, before = len(scores), state(model)
        lrs.append(recipe.lr * alpha**epoch)
        once = recipe.but(lr=lrs[-1], epochs=1)
        for step in train(model, forget, once, loss_fn=loss, on_update=project, phase="unlearn", block=epoch):
            yield step._replace(epoch=epoch, info={"survival": project.rho})
        scores.append(stop.measure(model, forget))

    if chosen is None:
        chosen = len(lrs)
    elif chosen < len(lrs):
        assign(model, before)
    _give_back(model, given)
    seconds = {**_prepared(retained), "unlearn": time.perf_counter() - begun}
    trace = ProjectionTrace(
        layers={name: _cost(retained, name, k[name]) for name in weights},
        survival=project.survival,
        scores=scores,
        lrs=lrs,
        epoch=chosen,
        stopped=stop.why(scores),
        seconds=seconds,
    )
    return Unlearned(model, sum(seconds.values()), trace)


class _Project:
    """dW - (dW U_k) U_k^T of every weight, for `train(on_update=...)`.

    `survival` gathers rho, the share of the norm of each step that is left.
    """

    def __init__(self, outside: Mapping[str, Projector]) -> None:
        self.outside = outside  # I - U_k U_k^T
        self.survival: dict[str, list[float]] = {name: [] for name in outside}

    def __call__(self, batch: Batch, dW: Params) -> Params | None:
        projected = {name: P(dW[name]) for name, P in self.outside.items()}
        for name, dW_out in projected.items():
            self.survival[name].append(float(dW_out.norm() / dW[name].norm().clamp(min=1e-30)))
        return {**dW, **projected} if any(P.removes for P in self.outside.values()) else None

    @property
    def rho(self) -> dict[str, float]:
        """Of the last step."""
        return {name: shares[-1] for name, shares in self.survival.items()}


def _ranks(retained: Spectra, gamma: Mapping[str, float], rule: RankRule) -> dict[str, list[int]]:
    """The number of directions to protect, of every group of every weight."""
    for name, energy in gamma.items():
        what = f'energy["{name}"]'
        if not 0 < check.number(what, energy) <= 1:
            raise ValueError(
                f"`{what}` must be in (0, 1]; got {energy}. To protect nothing is an experiment: "
                'pgu_but(..., directions="none").'
            )
    return {name: ranks(retained.layers[name], energy, rule) for name, energy in gamma.items()}


def _give_back(model: nn.Module, given: nn.Module) -> None:
    """In eval mode, without gradients, each parameter as trainable as in the given model."""
    model.eval().zero_grad(set_to_none=True)
    for p, as_given in zip(model.parameters(), given.parameters(), strict=True):
        p.requires_grad_(as_given.requires_grad)


def _prepared(retained: Spectra) -> dict[str, float]:
    """Seconds spent before the first step."""
    return {
        "moments": sum(retained.moment_seconds.values()),
        "eigen": sum(spectrum.seconds for spectrum in retained.layers.values()),
    }


def _cost(retained: Spectra, name: str, k: list[int]) -> ProjectedLayer:
    values, vectors, seconds = retained.layers[name]
    return ProjectedLayer(
        size=values.numel(),
        rank=sum(k),
        nbytes=vectors.nbytes,
        moment_seconds=retained.moment_seconds[name],
        eigen_seconds=seconds,
    )
