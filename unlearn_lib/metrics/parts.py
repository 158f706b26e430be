"""A model's logits on every part of the data, computed once for all audits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics import divergence as div
from unlearn_lib.metrics.accuracy import accuracy, logits, loss, losses, parts_of_test
from unlearn_lib.metrics.membership import LossAttack, loss_mia

__all__ = ["Outputs"]


@dataclass(frozen=True)
class Outputs:
    """A model and its logits on every part of the data: all that most audits need, computed once.

    Args:
        model: not to be changed while this is in use.
        data: the parts: "forget", "retain", and "test" or "forget test" and "retain test".
        logits: the model's logits on each part.
    """

    model: nn.Module = field(repr=False)
    data: dict[str, Examples] = field(repr=False)
    logits: dict[str, Tensor] = field(repr=False)

    @classmethod
    def of(cls, model: nn.Module, split: Split, test: Examples) -> Outputs:
        """Run the model once over everything."""
        check.instance("split", split, Split)
        data = {"forget": split.forget, "retain": split.retain, **parts_of_test(split, test)}
        return cls(
            model=model,
            data=data,
            logits={part: logits(model, examples) for part, examples in data.items()},
        )

    def require(self, split: Split, test: Examples) -> Outputs:
        """These outputs, if they are of this request and this test data."""
        wanted = {"forget": split.forget, "retain": split.retain, **parts_of_test(split, test)}
        for part in wanted | self.data:
            found, asked = self.data.get(part), wanted.get(part)
            if found is None or asked is None or not torch.equal(found.ids.cpu(), asked.ids.cpu()):
                raise ValueError(f"`Outputs` must be of `split` and `test`; the samples of `{part}` differ.")
        return self

    @property
    def unseen(self) -> str:
        """The part that an attack compares the forget set with: T_f in the class setting, else T."""
        return "forget test" if "forget test" in self.data else "test"

    @property
    def kept(self) -> str:
        """The part of the test data that should stay known: T_r in the class setting, else T."""
        return "retain test" if "retain test" in self.data else "test"

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """The shapes of the model's parameters by name: only equal ones can be compared weight by weight."""
        return {name: p.shape for name, p in self.model.named_parameters()}

    @cached_property
    def attack(self) -> LossAttack:
        """The loss attack with its accuracy, the costliest audit, run only once."""
        return loss_mia(self.losses("forget"), self.losses(self.unseen))

    def accuracy(self, part: str) -> float:
        """In [0, 1]."""
        return accuracy(self.logits[part], self.data[part])

    def loss(self, part: str) -> float:
        """Mean cross-entropy, in nats."""
        return loss(self.logits[part], self.data[part])

    def losses(self, part: str) -> Float[Tensor, " n"]:
        """Cross-entropy of every sample, in nats."""
        return losses(self.logits[part], self.data[part])

    def p(self, part: str) -> Float[Tensor, "n k"]:
        """Softmax outputs."""
        return div.probabilities(self.logits[part])
