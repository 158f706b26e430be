"""Training in stages, one model stored after each: resumed after a kill, replaced in one move, purged.

What a stage trains on, and from which model, is for the kind to say: `chain.Chain` for DeepObliviate, whose
stages are blocks one after the other, `methods.sisa.Ensemble` for SISA, whose stages are slices of shards.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import Examples
from unlearn_lib.params import Params, assign, clone, snapshot, state, tensors
from unlearn_lib.store import Folder, StoreError, load_tensors, require_same, save_tensors
from unlearn_lib.train import Recipe, Step

__all__ = ["Stages", "forget", "train_stages"]

S = TypeVar("S", bound="Stages")


@dataclass(frozen=True)
class Stages(ABC):
    """Models M_0 ... M_B in a folder, and the blocks of samples that came in with each of the B stages.

    `members[k - 1]` are the ids of block k. A value: `forget` returns a new one and the old one's files are
    gone. `memory` names the fields that requests change: they are read from the folder, the others compared.
    """

    folder: Folder
    template: nn.Module = field(repr=False)
    data: Examples = field(repr=False)
    recipe: Recipe
    members: tuple[Tensor, ...] = field(repr=False)
    generation: tuple[int, ...] = field(repr=False)
    forgotten: tuple[int, ...] = ()

    kind: ClassVar[str]
    memory: ClassVar[tuple[str, ...]] = ("generation", "forgotten")

    @classmethod
    def new(
        cls: type[S],
        model: nn.Module,
        data: Examples,
        recipe: Recipe,
        members: Iterable[Tensor],
        folder: Folder,
        **of: Any,
    ) -> S:
        """As asked for: nothing is trained or stored yet. `of` are the fields of the kind."""
        blocks = tuple(members)
        return cls(folder, clone(model), data, recipe, blocks, (0,) * (len(blocks) + 1), **of)

    @abstractmethod
    def start(self, k: int) -> int:
        """The model that stage k continues from: below k."""

    @abstractmethod
    def learn(self, k: int, model: nn.Module) -> Iterator[Step]:
        """Stage k: train `model` in place."""

    @abstractmethod
    def check(self) -> None:
        """Refuse blocks that do not fit the data, before anything is stored."""

    def label(self, k: int) -> str:
        """How the file of M_k begins."""
        return f"block-{k:04d}"

    def file(self, k: int) -> str:
        """The name of the file of M_k; a request that replaces M_k raises its generation."""
        return f"{self.label(k)}-{self.generation[k]}.safetensors"

    @property
    def files(self) -> set[str]:
        """All that count; others in the folder are litter."""
        return {self.file(k) for k in range(self.blocks + 1)}

    @property
    def blocks(self) -> int:
        """B."""
        return len(self.members)

    @property
    def nbytes(self) -> int:
        """Bytes on disk, about (B + 1) * parameters * 4."""
        return self.folder.nbytes

    def state(self, k: int) -> Params:
        """All parameters and buffers of M_k, on the CPU."""
        return load_tensors(self.folder / self.file(k), like=tensors(self.template))[0]

    def params(self, k: int) -> Params:
        """P_k: the trainable parameters of M_k."""
        stored = self.state(k)
        return {name: stored[name].to(p.device) for name, p in snapshot(self.template).items()}

    def model(self, k: int) -> nn.Module:
        """M_k in eval mode."""
        model = clone(self.template)
        assign(model, self.state(k))
        return model.eval()

    def block_of(self, ids: Ids) -> list[int]:
        """The blocks 1 ... B that hold any of these ids, in order."""
        wanted = check.ids(ids)
        return [k for k, block in enumerate(self.members, 1) if torch.isin(block, wanted).any()]

    def pending(self, ids: Ids) -> Tensor:
        """Those of the ids that are still to be forgotten.

        Raises:
            ValueError: an id was never here.
        """
        wanted = check.ids(ids)
        request = wanted[~torch.isin(wanted, torch.tensor(self.forgotten, dtype=torch.int64))]
        self.data.rows(request)
        return request

    def without(self: S, ids: Ids, **changes: Any) -> S:
        """The same with these samples gone from data and blocks. The stored models are still the old ones."""
        gone = check.ids(ids)
        return replace(
            self,
            data=self.data.without(gone),
            members=tuple(block[~torch.isin(block, gone)] for block in self.members),
            forgotten=tuple(sorted({*self.forgotten, *gone.tolist()})),
            **changes,
        )

    def covers(self) -> bool:
        """Whether the blocks hold every id of the data exactly once."""
        return torch.equal(torch.cat(self.members).sort().values, self.data.ids.cpu().sort().values)

    def manifest(self) -> dict[str, Any]:
        """For JSON; enough to open the folder again and to refuse another run."""
        memory = {name: getattr(self, name) for name in self.memory}
        return {
            "kind": self.kind,
            "recipe": self.recipe.to_dict(),
            "blocks": self.blocks,
            "members": [block.tolist() for block in self.members],
            "data": _fingerprint(self.data),
            **{name: list(value) if isinstance(value, tuple) else value for name, value in memory.items()},
        }


def train_stages(asked: S, *, pinned: bool = True) -> Generator[Step, None, S]:
    """Train what is not yet stored, stage by stage; go on where an interrupted run ended.

    Args:
        asked: what the folder shall hold, with all samples, forgotten or not.
        pinned: whether stored blocks must be those of `asked`, or only as many.

    Returns:
        What the folder holds: `asked` without the samples that it has forgotten.

    Raises:
        StoreError: the folder holds something else (which fields differ), is in use or cannot be written.
    """
    with asked.folder.locked():
        own = _open(asked, pinned)
        done = max(k for k in range(own.blocks + 1) if (own.folder / own.file(k)).exists())
        own.state(done)  # a damaged file is named now, not at the first request
        for k in range(done + 1, own.blocks + 1):
            model = own.model(own.start(k))
            yield from own.learn(k, model)
            _save(own, k, state(model))
        return own


def forget(old: S, ids: Ids, states: Iterable[tuple[int, Params]], **changes: Any) -> S:
    """Store these models in place of the old ones, without the samples, in one move; delete the old files.

    Args:
        old: what the folder holds.
        ids: the samples, all of them still in `old`.
        states: (k, the new M_k), taken one by one.
        changes: further fields that change.

    Raises:
        StoreError: the folder no longer holds `old`, or cannot be written; the old files stay whole.
    """
    new, folder = old.without(ids, **changes), old.folder
    with folder.locked():
        require_same(old.kind, folder.manifest() or {}, old.manifest(), folder.root)
        for k, tensors in states:
            new = replace(new, generation=tuple(g + (i == k) for i, g in enumerate(new.generation)))
            _save(new, k, tensors)
        folder.commit(new.manifest())  # until here the old files are the truth, from here the new ones
        folder.sweep(new.files)
    return new


def _open(asked: S, pinned: bool) -> S:
    """What is in the folder, checked against what is asked for; or new, with M_0 stored."""
    folder, found = asked.folder, asked.folder.manifest()
    if found is None:
        asked.check()
        _save(asked, 0, state(asked.template))
        folder.commit(asked.manifest())
        folder.sweep(asked.files)
        return asked
    memory: dict[str, Any] = {}
    try:
        for name in asked.memory:
            memory[name] = tuple(found[name]) if isinstance(found[name], list) else found[name]
        forgotten = torch.tensor(found["forgotten"], dtype=torch.int64)
        own = replace(
            asked,
            data=asked.data.where(~torch.isin(asked.data.ids.cpu(), forgotten)),
            members=tuple(torch.tensor(ids, dtype=torch.int64) for ids in found["members"]),
            **memory,
        )
    except (KeyError, TypeError) as error:
        where = folder / "manifest.json"
        raise StoreError(f"{where} is not the manifest of a {asked.kind}: {error!r}.") from error
    wanted = own.manifest() | {"blocks": asked.blocks}
    if pinned:
        wanted["members"] = [block[~torch.isin(block, forgotten)].tolist() for block in asked.members]
    require_same("recipe", found.get("recipe", {}), wanted.pop("recipe"), folder.root)
    require_same(asked.kind, {name: found.get(name) for name in wanted}, wanted, folder.root)
    first, initial = own.state(0), state(asked.template)
    if any(not torch.equal(first[name], initial[name].cpu()) for name in initial):
        raise StoreError(f"{folder.root} began from another initial model. Use another folder.")
    folder.sweep(own.files)
    return own


def _fingerprint(data: Examples) -> str:
    """A hash of the samples, whatever their order: another data set with the same ids is another training."""
    digest, order = hashlib.blake2b(digest_size=16), data.ids.argsort()
    for column in (data.x, data.y, data.ids):
        digest.update(column[order].cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _save(stages: Stages, k: int, tensors: Params) -> None:
    note = {"block": k, "recipe": stages.recipe.to_dict()}
    save_tensors(stages.folder / stages.file(k), tensors, note)
