"""DeepObliviate: train block by block, keep every model; to forget, retrain a few blocks and stitch the rest.

The training set is cut into B blocks, learned one after the other; the models M_0 ... M_B are stored. A
sample in block d cannot have influenced a model before M_d. To forget it, go back to M_{d-1}, retrain without
it, and watch its *temporal residual memory*, the L1 distance between the increments of the two chains,

    Delta_k = || (P_k - P_{k-1}) - (P'_k - P'_{k-1}) ||_1 ,

fade as a x^(-h) + b. When the slope of that trend is below epsilon, at block T, further retraining has
nothing left to gain: the stored increments of the tail are added to the retrained model ("stitching"),

    M = M_B + (M'_T - M_T) .

Exact only if T = B and the model retrained from was itself exact; otherwise approximate, whatever the
accuracy says.

Differs from the paper:
    Of the paper we have the abstract: blocks, stored models, residual memory, its trend and stitching are
    from there. The formulas agree with it and with one third-party reimplementation, and have not been
    compared with the paper's text. Ours are: h by least squares by default (detrended fluctuation analysis is
    on offer), the normalized slope, fresh optimizers at block borders, the keyed order of samples, and the
    replacement of the stored chain after a request.

References:
    Y. He, G. Meng, K. Chen, J. He, X. Hu, DeepObliviate: A Powerful Charm for Erasing Data Residual Memory in
    Deep Neural Networks, 2021, arXiv:2105.06209.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.methods.deepobliviate.chain import Chain, train_chain
from unlearn_lib.methods.deepobliviate.decay import StopRule, Trend
from unlearn_lib.methods.stages import forget
from unlearn_lib.params import Params, add, assign, clone, l1, snapshot, state, subtract
from unlearn_lib.train import Step, Unlearned, train

__all__ = ["Chain", "ResidualTrace", "commit", "deepobliviate", "stitched", "train_chain"]

Reason = Literal["trend", "identical", "end of chain", "asked to stop", "nothing to forget"]


@dataclass(frozen=True)
class ResidualTrace:
    """What DeepObliviate measured on its way.

    `residual` and `gap` hold Delta_k and G_k = ||P_k - P'_k||_1 for k = d_min ... T; `retrained` the full
    states M'_k of the same blocks. The window that the stop rule sees begins at d_max.
    """

    ids: tuple[int, ...]
    d_min: int
    d_max: int
    T: int
    blocks: int
    reason: Reason
    residual: tuple[float, ...]
    gap: tuple[float, ...]
    trend: Trend | None
    exact: bool
    retrained: tuple[Params, ...] = field(repr=False)

    @property
    def window(self) -> tuple[float, ...]:
        """The residuals from d_max on: what the stop rule tests."""
        return self.residual[self.d_max - self.d_min :]

    @property
    def blocks_retrained(self) -> int:
        """T - d_min + 1."""
        return len(self.residual)

    @property
    def speedup(self) -> float:
        """B / (T - d_min + 1): blocks of retraining from scratch per block retrained."""
        return self.blocks / max(self.blocks_retrained, 1)


def deepobliviate(
    chain: Chain,
    ids: Ids,
    rule: StopRule | None = None,
    *,
    stop_block: int | None = None,
    restart: int | None = None,
    order_seed: int | None = None,
) -> Generator[Step, None, Unlearned[ResidualTrace]]:
    """Forget samples: retrain from the block before the first of them until the residual trend is flat.

    A dry run: the stored chain stays as it is until `commit`. The samples of one request are removed from all
    their blocks at once; testing begins at d_max, the last block touched, because each touched block injects
    new residual.

    Args:
        chain: the trained chain.
        ids: samples to forget. Those already forgotten are ignored; with none left nothing is trained.
        rule: when to stop; default `StopRule()`.
        stop_block: retrain to exactly this block and do not test (epsilon can then be explored afterwards).
        restart: retrain from this block, at most d_min; for making a stitched chain exact again.
        order_seed: shuffle the retrained blocks by another seed. *Breaks the method*: Delta then measures the
            shuffle. For the experiment that shows why the order must repeat.

    Yields:
        One `Step` per mini-batch, and after each block one of phase "residual" whose `info` holds `block`,
        `blocks`, `residual` (Delta_k), `gap` (G_k) and `window`.

    Returns:
        The unlearned model, the seconds, and a `ResidualTrace`.

    Raises:
        ValueError: an id was never in the chain; the request empties a block; `stop_block` or `restart` is
            outside its range.
        TypeError: no chain, no ids, no whole number.
        StoreError: a stored model is missing, damaged, or not the one that was stored there.
    """
    begun = time.perf_counter()
    B = check.instance("chain", chain, Chain).blocks
    rule = StopRule() if rule is None else check.instance("rule", rule, StopRule)
    if order_seed is not None:
        order_seed = check.whole("order_seed", order_seed)
    _check_range("restart", restart, 1, B)
    request = _resolve(chain, ids)
    if not len(request) and restart is None:
        warnings.warn("`ids` names no sample that is still in the chain: nothing to do.", stacklevel=2)
    touched = chain.block_of(request) or ([restart] if restart is not None else [])
    if not touched:
        trace = ResidualTrace((), B + 1, B + 1, B, B, "nothing to forget", (), (), None, False, ())
        return Unlearned(chain.model(), time.perf_counter() - begun, trace)
    d_min, d_max = min([*touched, B if restart is None else restart]), max(touched)
    _check_range("restart", restart, 1, min(touched))
    _check_range("stop_block", stop_block, d_max, B)
    recipe = chain.recipe if order_seed is None else chain.recipe.but(seed=order_seed)

    model = chain.model(d_min - 1)  # M'_{d_min-1}: the last model that cannot have seen them
    P, P_new = snapshot(model), snapshot(model)
    residual, gap, retrained = [], [], []
    reason: Reason = "end of chain"
    for k in range(d_min, B + 1):
        kept = chain.members[k - 1]
        for step in train(
            model,
            chain.data.select(kept[~torch.isin(kept, request)]),
            recipe,
            phase=f"retrain block {k} of {B}",
            block=k,
        ):
            yield step._replace(info={"block": k, "blocks": B})
        P_old, P_new_old = P, P_new
        P, P_new = chain.params(k), snapshot(model)
        residual.append(l1(subtract(subtract(P, P_old), subtract(P_new, P_new_old))))  # Delta_k
        gap.append(l1(subtract(P, P_new)))  # G_k
        retrained.append(state(model))
        window = residual[d_max - d_min :] if k >= d_max else []
        info = {"block": k, "blocks": B, "residual": residual[-1], "gap": gap[-1], "window": tuple(window)}
        yield step._replace(phase="residual", number=k - d_min + 1, steps=B - d_min + 1, info=info)
        if k >= d_max and (why := _why_stop(k, gap[-1], window, rule, stop_block)):
            reason = why
            break

    exact = k == B and not (chain.stitched_from is not None and d_min - 1 >= chain.stitched_from)
    trace = ResidualTrace(
        tuple(request.tolist()), *(d_min, d_max, k, B, reason, tuple(residual), tuple(gap)),
        *(rule.trend(window), exact, tuple(retrained)),
    )  # fmt: skip
    return Unlearned(stitched(chain, trace), time.perf_counter() - begun, trace)


def stitched(chain: Chain, trace: ResidualTrace, T: int | None = None) -> nn.Module:
    """The unlearned model had retraining stopped at T: M'_B if T = B, else M_B + (M'_T - M_T).

    Parameters are stitched, buffers are copied from M'_T. Written as M_B plus a difference because this form
    gives M_B itself, bit for bit, where nothing was deleted; M'_T + (M_B - M_T) does not.

    Args:
        T: a block that `trace` has retrained, at least d_max; by default the one where it stopped.
    """
    check.instance("chain", chain, Chain), check.instance("trace", trace, ResidualTrace)
    T = trace.T if T is None else T
    _check_range("T", T, trace.d_max, trace.T)
    model = clone(chain.template)
    assign(model, _stitched_state(chain, trace, T, chain.blocks))
    return model.eval()


def commit(chain: Chain, trace: ResidualTrace) -> Chain:
    """Replace the stored chain by the one that forgot: new models, new membership, old files deleted.

    M_1 ... M_{d_min-1} stay; M_k := M'_k up to T; M_k := M_k + (M'_T - M_T) after T. What this does not do:
    the increments after T were learned by models that had seen the data. It is a procedural purge with an
    approximate guarantee, and a stitched chain is no longer a training trajectory (see `stitched_from`).

    Args:
        chain: the chain that `trace` was made from.
        trace: of the request to carry out. One that is carried out already changes nothing.

    Returns:
        The new chain. `chain` itself can no longer be read.

    Raises:
        StoreError: another request has been committed in between, or the folder cannot be written; the old
            chain is then still whole.
    """
    check.instance("chain", chain, Chain)
    check.instance("trace", trace, ResidualTrace)
    if not trace.residual or (trace.ids and not len(chain.pending(trace.ids))):
        return chain

    def state_of(k: int) -> Params:
        T = trace.T
        return trace.retrained[k - trace.d_min] if k <= T else _stitched_state(chain, trace, T, k)

    replaced = range(trace.d_min, chain.blocks + 1)
    return forget(chain, trace.ids, replaced, state_of, stitched_from=_stitched_from(chain, trace))


def _why_stop(
    k: int, gap: float, window: Sequence[float], rule: StopRule, stop_block: int | None
) -> Reason | None:
    if stop_block is not None:
        return "asked to stop" if k == stop_block else None
    if gap == 0:  # P'_k equals P_k bit for bit: the rest would repeat itself
        return "identical"
    return "trend" if rule.converged(window) else None


def _stitched_state(chain: Chain, trace: ResidualTrace, T: int, k: int) -> Params:
    """M'_B if T = B; else the parameters P_k + (P'_T - P_T) beside the buffers of M'_T."""
    retrained = trace.retrained[T - trace.d_min]
    if chain.blocks == T:
        return retrained
    P_T = chain.params(T)
    shift = subtract({name: retrained[name] for name in P_T}, P_T)
    return {**retrained, **add(chain.params(k), shift)}


def _stitched_from(chain: Chain, trace: ResidualTrace) -> int | None:
    before = chain.stitched_from
    if before is not None and trace.d_min - 1 >= before:
        return before  # restarted from a stitched model
    if trace.blocks == trace.T or (before is None and trace.reason == "identical"):
        return None
    return trace.T + 1


def _resolve(chain: Chain, ids: Ids) -> Tensor:
    """The ids still to be forgotten; unknown ids and requests that empty a block are errors."""
    request = chain.pending(ids)
    for k in chain.block_of(request):
        if torch.isin(chain.members[k - 1], request).all():
            raise ValueError(
                f"`ids` must leave a sample in every block; they empty block {k}, which has "
                f"{len(chain.members[k - 1])}. Use fewer, larger blocks."
            )
    return request


def _check_range(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None:
        check.whole(name, value, low, high)
