"""DeepObliviate: train block by block, keep every model; to forget, retrain a few blocks and stitch the rest.

The training set is cut into B blocks, learned one after the other; the models M_0 ... M_B are stored. A
sample in block d cannot have influenced a model before M_d. To forget it, go back to M_{d-1}, retrain without
it, and watch its *temporal residual memory*, the L1 distance between the increments of the two chains,

    Delta_k = || (P_k - P_{k-1}) - (P'_k - P'_{k-1}) ||_1 ,

fade as a x^(-h) + b. When the slope of that trend is below epsilon, at block T, further retraining has
nothing left to gain: the stored increments of the tail are added to the retrained model ("stitching"),

    M = M_B + (M'_T - M_T) .

This is exact only if T = B, the model that retraining began from was exact itself, and training repeats
itself, as by a recipe. Otherwise it is approximate, whatever the accuracy says.

Differs from the paper:
    We know the paper's abstract: blocks, stored models, residual memory, its trend and stitching come from
    there. The formulas agree with it and with one third-party reimplementation; we have not compared them
    with the paper's text. Ours are: h by least squares (detrended fluctuation analysis is an option), the
    normalized slope, fresh optimizers at block borders, the keyed order of samples, and the replacement of
    the stored chain after a request.

References:
    Y. He, G. Meng, K. Chen, J. He, X. Hu, DeepObliviate: A Powerful Charm for Erasing Data Residual Memory in
    Deep Neural Networks, 2021, arXiv:2105.06209.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.methods.deepobliviate.chain import Chain, Reason, ResidualTrace
from unlearn_lib.methods.deepobliviate.decay import TrendRule
from unlearn_lib.params import assign, clone, l1, snapshot, state, subtract
from unlearn_lib.train import Step, Unlearned, as_run

__all__ = ["deepobliviate", "stitched"]


@as_run
def deepobliviate(
    chain: Chain,
    ids: Ids,
    rule: TrendRule | None = None,
    *,
    stop_block: int | None = None,
    restart: int | None = None,
) -> Generator[Step, None, Unlearned[ResidualTrace]]:
    """Forget samples: retrain from the block before the first of them until the residual trend is flat.

    A dry run: the stored chain stays as it is until `Chain.commit`. The samples of one request are removed
    from all their blocks at once; testing begins at d_max, the last block touched, because each touched block
    injects new residual.

    Args:
        chain: the trained chain.
        ids: samples to forget. Those already forgotten are ignored; with none left nothing is trained.
        rule: when to stop; default `TrendRule()`.
        stop_block: retrain to exactly this block and do not test (epsilon can then be explored afterwards).
        restart: retrain from this block, at most d_min; for making a stitched chain exact again.

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

    Example:
        >>> chain = ul.run(ul.train_chain(initial, data, recipe, 3, folder))
        >>> result = ul.run(ul.deepobliviate(chain, [7]))
        >>> result.trace.exact  # the last block was retrained, so nothing had to be stitched
        True
        >>> chain = chain.commit(result.trace)
        >>> 7 in chain.data.ids
        False
    """
    begun = time.perf_counter()
    B = check.instance("chain", chain, Chain).blocks
    rule = TrendRule() if rule is None else check.instance("rule", rule, TrendRule)
    _check_range("restart", restart, 1, B)
    request = _resolve(chain, ids)
    if not len(request) and restart is None:
        check.warn("`ids` names no sample that is still in the chain: nothing to do.")
        return Unlearned(chain.model(), time.perf_counter() - begun, _nothing(B))
    d_min, d_max = _touched(chain, request, restart)
    _check_range("stop_block", stop_block, d_max, B)

    left = chain.without(request)
    model = chain.model(d_min - 1)  # M'_{d_min-1}: the last model that cannot have seen them
    P, P_new = snapshot(model), snapshot(model)
    residual, gap, retrained = [], [], []
    reason: Reason = "end of chain"
    for k in range(d_min, B + 1):
        for step in left.learn(k, model):
            yield step._replace(phase=f"retrain {step.phase}")
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

    unstitched = k == B and (chain.stitched_from is None or d_min - 1 < chain.stitched_from)
    trace = ResidualTrace(
        ids=tuple(request.tolist()),
        d_min=d_min,
        d_max=d_max,
        T=k,
        blocks=B,
        reason=reason,
        residual=tuple(residual),
        gap=tuple(gap),
        trend=rule.trend(window),
        exact=unstitched and chain.recipe is not None,  # a loop of one's own may not repeat itself
        retrained=tuple(retrained),
    )
    return Unlearned(stitched(chain, trace), time.perf_counter() - begun, trace)


def stitched(chain: Chain, trace: ResidualTrace, T: int | None = None) -> nn.Module:
    """The unlearned model if retraining had stopped at T: M'_B if T = B, else M_B + (M'_T - M_T).

    Parameters are stitched, buffers are copied from M'_T. It is M_B plus a difference because this form gives
    M_B itself, bit for bit, where nothing was deleted; M'_T + (M_B - M_T) does not.

    Args:
        T: a block that `trace` has retrained, at least d_max; by default the one where it stopped.
    """
    check.instance("chain", chain, Chain), check.instance("trace", trace, ResidualTrace)
    T = trace.T if T is None else T
    _check_range("T", T, trace.d_max, trace.T)
    model = clone(chain.template)
    assign(model, chain.stitched_state(trace, T, chain.blocks))
    return model.eval()


def _touched(chain: Chain, request: Tensor, restart: int | None) -> tuple[int, int]:
    """d_min, where retraining begins, and d_max, the last block that holds a sample to forget."""
    touched = chain.block_of(request)
    if restart is None:
        return min(touched), max(touched)
    _check_range("restart", restart, 1, min(touched, default=restart))
    return restart, max(touched, default=restart)


def _why_stop(
    k: int, gap: float, window: Sequence[float], rule: TrendRule, stop_block: int | None
) -> Reason | None:
    if stop_block is not None:
        return "asked to stop" if k == stop_block else None
    if gap == 0:  # P'_k equals P_k bit for bit: the rest would repeat itself
        return "identical"
    return "trend" if rule.converged(window) else None


def _nothing(B: int) -> ResidualTrace:
    """The trace of a request that names no sample of the chain."""
    return ResidualTrace(
        ids=(),
        d_min=B + 1,
        d_max=B + 1,
        T=B,
        blocks=B,
        reason="nothing to forget",
        residual=(),
        gap=(),
        trend=None,
        exact=False,
        retrained=(),
    )


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
