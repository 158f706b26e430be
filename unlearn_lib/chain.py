"""Block-wise training: a chain of models M_0 ... M_B, one stored after each block of the training set."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_lib.data import Examples, as_ids, keyed_order
from unlearn_lib.params import Params, assign, clone, snapshot, state
from unlearn_lib.store import Folder, StoreError, load_tensors, require_same, save_tensors
from unlearn_lib.train import Recipe, Step, train

__all__ = ["Chain", "cut_into_blocks", "train_chain"]


@dataclass(frozen=True)
class Chain:
    """Models M_0 ... M_B in a folder, and the blocks they were trained on.

    `members[k - 1]` are the ids of block k. `stitched_from` is the first block whose stored model is stitched
    and so no longer a training trajectory (None: all are exact). A chain is a value: `commit` returns a new
    one and the old one's files are gone.
    """

    folder: Folder
    template: nn.Module = field(repr=False)
    data: Examples = field(repr=False)
    recipe: Recipe
    members: tuple[Tensor, ...] = field(repr=False)
    generation: tuple[int, ...] = field(repr=False)
    forgotten: tuple[int, ...] = ()
    stitched_from: int | None = None

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
        return load_tensors(self.folder / _file(k, self.generation[k]), like=self.template.state_dict())[0]

    def params(self, k: int) -> Params:
        """P_k: the trainable parameters of M_k."""
        stored = self.state(k)
        return {name: stored[name].to(p.device) for name, p in snapshot(self.template).items()}

    def model(self, k: int | None = None) -> nn.Module:
        """M_k in eval mode; by default the final model M_B."""
        model = clone(self.template)
        assign(model, self.state(self.blocks if k is None else k))
        return model.eval()

    def block_of(self, ids: Iterable[int] | Tensor) -> list[int]:
        """The blocks 1 ... B that hold any of these ids, in order."""
        wanted = as_ids(ids)
        return [k for k, block in enumerate(self.members, 1) if torch.isin(block, wanted).any()]


def cut_into_blocks(data: Examples, blocks: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Ids of `blocks` class-stratified blocks of equal size (to within one sample).

    Raises:
        ValueError: fewer than one block, or more blocks than samples.
    """
    if not 1 <= blocks <= len(data):
        raise ValueError(f"`blocks` must be in 1 ... {len(data)}, the number of samples; got {blocks}.")
    order = keyed_order(data.ids, seed)
    dealt = order[data.y[order].argsort(stable=True)]  # class by class, dealt out in turn
    return tuple(data.ids[dealt[k::blocks]].sort().values for k in range(blocks))


def train_chain(
    model: nn.Module,
    data: Examples,
    recipe: Recipe,
    blocks: int | Sequence[Tensor],
    folder: Folder,
) -> Generator[Step, None, Chain]:
    """Train block after block, storing every model; go on where an interrupted run ended.

        for k = 1 ... B: train M_{k-1} on D_k with a fresh optimizer, E epochs; store M_k

    A folder that holds the complete chain is opened, without a step. A run killed at any moment and started
    again ends bit-identical to one that was not.

    Args:
        model: M_0, untrained; left unchanged.
        data: the training set. Samples that this folder has forgotten are left out.
        recipe: `epochs` is E, the passes over each block.
        blocks: B, or the ids of each block.
        folder: where the models live. One chain a folder.

    Yields:
        One `Step` per mini-batch; `info` holds `block` and `blocks`.

    Returns:
        The chain.

    Raises:
        StoreError: the folder holds another chain (which fields differ), is in use or cannot be written.
        ValueError: more blocks than samples; ids that are not in `data`.
    """
    with folder.locked():
        chain = _open(model, data, recipe, blocks, folder)
        last = max(k for k in range(chain.blocks + 1) if (folder / _file(k, chain.generation[k])).exists())
        running = chain.model(last)
        for k in range(last + 1, chain.blocks + 1):
            examples = chain.data.select(chain.members[k - 1])
            for step in train(running, examples, recipe, phase=f"block {k} of {chain.blocks}", block=k):
                yield step._replace(info={"block": k, "blocks": chain.blocks})
            _save(chain, k, state(running))
        return chain


def replace_chain(old: Chain, new: Chain, states: Iterable[tuple[int, Params]]) -> None:
    """Store the models of `new` in place of those of `old`, in one move, and delete the old files.

    Raises:
        StoreError: the folder no longer holds `old`, or cannot be written; the old chain is then still whole.
    """
    folder = new.folder
    with folder.locked():
        require_same("chain", folder.manifest() or {}, _manifest(old), folder.root)
        for k, tensors in states:
            _save(new, k, tensors)
        folder.commit(_manifest(new))  # until here the old chain is the truth, from here the new one
        folder.sweep(_files(new))


def _open(
    model: nn.Module, data: Examples, recipe: Recipe, blocks: int | Sequence[Tensor], folder: Folder
) -> Chain:
    """The chain in the folder, checked against what is asked for; or a new one, with M_0 stored."""
    found = folder.manifest()
    if found is None:
        members = cut_into_blocks(data, blocks, recipe.seed) if isinstance(blocks, int) else tuple(blocks)
        _check_blocks(data, members, recipe)
        chain = Chain(folder, clone(model), data, recipe, members, (0,) * (len(members) + 1))
        _save(chain, 0, state(model))
        folder.commit(_manifest(chain))
        folder.sweep(_files(chain))
        return chain
    forgotten = torch.tensor(found.get("forgotten", []), dtype=torch.int64)
    data = data.where(~torch.isin(data.ids.cpu(), forgotten))
    try:
        members = tuple(torch.tensor(ids, dtype=torch.int64) for ids in found["members"])
        chain = Chain(
            *(folder, clone(model), data, recipe, members, tuple(found["generation"])),
            *(tuple(found["forgotten"]), found["stitched_from"]),
        )
    except (KeyError, TypeError) as error:
        raise StoreError(f"{folder / 'manifest.json'} is not the manifest of a chain: {error!r}.") from error
    wanted = _manifest(chain) | {"blocks": blocks if isinstance(blocks, int) else len(blocks)}
    if not isinstance(blocks, int):
        wanted["members"] = [block[~torch.isin(block, forgotten)].tolist() for block in blocks]
    require_same("recipe", found.get("recipe", {}), wanted.pop("recipe"), folder.root)
    require_same("chain", {name: found.get(name) for name in wanted}, wanted, folder.root)
    first, own = chain.state(0), state(model)
    if any(not torch.equal(first[name], own[name].cpu()) for name in own):
        raise StoreError(f"{folder.root} began from another initial model. Use another folder.")
    folder.sweep(_files(chain))
    return chain


def _check_blocks(data: Examples, members: Sequence[Tensor], recipe: Recipe) -> None:
    every = torch.cat(list(members))
    if not torch.equal(every.sort().values, data.ids.cpu().sort().values):
        raise ValueError("`blocks` must hold every id of `data` exactly once.")
    if not all(len(block) for block in members):
        raise ValueError("`blocks` must each hold at least one sample.")
    classes = len(data.y.unique())
    short = sum(len(block) < recipe.batch_size for block in members)
    lacking = sum(len(data.y[torch.isin(data.ids, block)].unique()) < classes for block in members)
    if short:
        warnings.warn(f"{short} blocks are smaller than one mini-batch of {recipe.batch_size}.", stacklevel=5)
    if lacking:
        warnings.warn(f"{lacking} blocks lack a class: the residual will be noisy.", stacklevel=5)


def _manifest(chain: Chain) -> dict[str, Any]:
    return {
        "kind": "chain",
        "recipe": chain.recipe.to_dict(),
        "blocks": chain.blocks,
        "members": [block.tolist() for block in chain.members],
        "generation": list(chain.generation),
        "forgotten": list(chain.forgotten),
        "stitched_from": chain.stitched_from,
        "data": _fingerprint(chain.data),
    }


def _fingerprint(data: Examples) -> str:
    """A hash of the samples, whatever their order: another data set with the same ids is another chain."""
    digest, order = hashlib.blake2b(digest_size=16), data.ids.argsort()
    for column in (data.x, data.y, data.ids):
        digest.update(column[order].cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _save(chain: Chain, k: int, tensors: Params) -> None:
    note = {"block": k, "recipe": chain.recipe.to_dict()}
    save_tensors(chain.folder / _file(k, chain.generation[k]), tensors, note)


def _file(k: int, generation: int) -> str:
    return f"block-{k:04d}-{generation}.safetensors"


def _files(chain: Chain) -> set[str]:
    return {_file(k, g) for k, g in enumerate(chain.generation)}
