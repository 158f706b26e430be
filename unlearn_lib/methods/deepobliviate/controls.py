"""An experiment with DeepObliviate: why the order of the samples must repeat."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.methods.deepobliviate.chain import Chain, ResidualTrace
from unlearn_lib.methods.deepobliviate.decay import TrendRule
from unlearn_lib.methods.deepobliviate.method import deepobliviate
from unlearn_lib.train import Step, Unlearned, as_run

__all__ = ["deepobliviate_but"]


@as_run
def deepobliviate_but(
    chain: Chain, ids: Ids, rule: TrendRule | None = None, *, order_seed: int, **options: Any
) -> Generator[Step, None, Unlearned[ResidualTrace]]:
    """DeepObliviate, but with the retrained blocks in another order than the first time.

    This *breaks the method*: Delta then measures the shuffle.

    Args:
        chain, ids, rule: see `deepobliviate`.
        order_seed: of the order; the chain's own seed changes nothing.
        options: the other arguments of `deepobliviate`.
    """
    seed, recipe = check.whole("order_seed", order_seed), check.instance("chain", chain, Chain).recipe
    if recipe is None:
        raise ValueError("`chain` must be trained by a recipe, which orders samples; got a loop of your own.")
    shuffled = replace(chain, recipe=recipe.but(seed=seed))
    return deepobliviate(shuffled, ids, rule, **options)
