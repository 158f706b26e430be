"""Training in stages, one model stored after each: resumed after a kill, replaced in one move, purged.

Each kind says what a stage trains on, and from which model: DeepObliviate's `Chain`, whose stages are blocks
one after the other, and SISA's `Ensemble`, whose stages are slices of shards. A stage is trained by a recipe,
or by a loop of one's own: ``fit(model, examples, k)``, which is called again when samples are forgotten.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import Batch, Examples, check_examples
from unlearn_lib.params import Params, assign, clone, digest, snapshot, state, tensors
from unlearn_lib.store import MANIFEST, Folder, StoreError, require_same
from unlearn_lib.tombstones import Tombstones
from unlearn_lib.train import Recipe, Step, as_run, completed

__all__ = ["Building", "Fit", "Stages", "building", "forget", "train_stages"]

S = TypeVar("S", bound="Stages")
Fit = Callable[[nn.Module, Examples, int], Any]
_OWN = {"loop": "of one's own"}  # in place of a recipe


@dataclass(frozen=True)
class Stages(ABC):
    """Models M_0 ... M_B in a folder, and the blocks of samples that came in with each of the B stages.

    `members[k - 1]` are the ids of block k. A value: `forget` returns a new one and the old one's files are
    gone. `generation` counts how often each model was replaced, `digests` are those of the files stored so
    far; `forgotten` are the samples of the data set that are gone, and `gone` is what the folder knows of
    them. `memory` names the fields that requests change: they are read from the folder, the others compared.
    Where `recipe` is None, the stages were trained by a loop of one's own: `fit`, if it is at hand.
    """

    folder: Folder
    template: nn.Module = field(repr=False)
    data: Examples = field(repr=False)
    recipe: Recipe | None
    members: tuple[Tensor, ...] = field(repr=False)
    generation: tuple[int, ...] = field(repr=False)
    digests: tuple[str, ...] = field(default=(), repr=False)
    forgotten: tuple[int, ...] = ()
    gone: Tombstones = field(default_factory=Tombstones, repr=False)
    fit: Fit | None = field(default=None, repr=False, compare=False)

    kind: ClassVar[str]
    opened_by: ClassVar[str]
    memory: ClassVar[tuple[str, ...]] = ("generation",)

    @classmethod
    def new(
        cls: type[S],
        model: nn.Module,
        data: Examples,
        recipe: Recipe | Fit | None,
        members: Iterable[Tensor],
        folder: Folder | Path | str,
        **of: Any,
    ) -> S:
        """As asked for: nothing is trained or stored yet. `of` are the fields of the kind."""
        check.instance("model", model, nn.Module)
        check_examples("data", data)
        known = recipe if isinstance(recipe, Recipe) else None
        fit = None if recipe is None or isinstance(recipe, Recipe) else recipe
        blocks = tuple(members)
        return cls(Folder(folder), clone(model), data, known, blocks, (0,) * (len(blocks) + 1), fit=fit, **of)

    @abstractmethod
    def start(self, k: int) -> int:
        """The model that stage k continues from: below k."""

    @abstractmethod
    def examples(self, k: int) -> Examples:
        """What stage k trains on; of an ensemble perhaps nothing."""

    @abstractmethod
    def info(self, k: int) -> dict[str, int]:
        """Which stage that is, out of how many, for watchers."""

    @abstractmethod
    def phase(self, k: int) -> str:
        """The same in words."""

    @abstractmethod
    def by_recipe(self, recipe: Recipe, k: int, model: nn.Module, examples: Examples) -> Iterable[Step]:
        """Train `model` in place on the examples of stage k."""

    def learn(self, k: int, model: nn.Module) -> Iterator[Step]:
        """Stage k: train `model` in place. A loop of one's own is one step, unless it yields its own.

        Raises:
            ValueError: there is neither a recipe nor a loop.
            TypeError: the loop returns another model, or yields something else than a `Step`.
        """
        examples, info = self.examples(k), self.info(k)
        if not len(examples):
            return
        if self.recipe is not None:
            steps = self.by_recipe(self.recipe, k, model, examples)
        else:
            steps = self._by_fit(k, model, examples)
        for step in steps:
            yield step._replace(phase=self.phase(k), info=info)

    def _by_fit(self, k: int, model: nn.Module, examples: Examples) -> Iterator[Step]:
        if self.fit is None:
            raise ValueError(
                f"this {self.kind} was trained by a loop of your own, and only that can train it again: open "
                f"it with {self.opened_by}(model, data, fit, ...); fit(model, examples, k) trains stage k."
            )
        with moving(model, self.phase(k)):
            made = self.fit(model.train(), examples, k)
            if isinstance(made, Generator):
                made = yield from _steps(made)
            else:
                batch = Batch(examples.x, examples.y, examples.ids)
                yield Step(self.phase(k), 1, 1, 1, math.nan, batch, model)
            if isinstance(made, nn.Module) and made is not model:
                raise TypeError(
                    "fit(model, examples, k) must train `model` in place; it returned another model, "
                    f"{check.brief(made)}. Copy what that has learned: model.load_state_dict(...)."
                )

    @abstractmethod
    def check(self) -> None:
        """Refuse blocks that do not fit the data, before anything is stored."""

    def label(self, k: int) -> str:
        """How the file of M_k begins."""
        return f"block-{check.whole('k', k, 0):04d}"

    def file(self, k: int) -> str:
        """The name of the file of M_k; a request that replaces M_k raises its generation."""
        k = check.whole("k", k, 0, self.blocks)
        return f"{self.label(k)}-{self.generation[k]}.safetensors"

    @property
    def files(self) -> dict[str, str]:
        """All that are stored, with their digests; others in the folder are litter."""
        return {self.file(k): found for k, found in enumerate(self.digests)}

    @property
    def described(self) -> dict[str, Any]:
        """The recipe, for JSON, or that there was a loop of one's own."""
        return self.recipe.to_dict() if self.recipe else _OWN

    @property
    def blocks(self) -> int:
        """B."""
        return len(self.members)

    @property
    def nbytes(self) -> int:
        """Bytes on disk, about (B + 1) * parameters * 4."""
        return self.folder.nbytes

    def state(self, k: int) -> Params:
        """All parameters and buffers of M_k, on the CPU.

        Raises:
            StoreError: the file is missing, damaged, or not the one that was stored here; or stage k is still
                to be trained.
        """
        if check.whole("k", k, 0, self.blocks) >= len(self.digests):
            raise StoreError(
                f"{self.folder.root} holds no model of stage {k} yet: {len(self.digests) - 1} of "
                f"{self.blocks} are trained. Train the rest of this {self.kind} first."
            )
        return self.folder.load(self.file(k), self.digests[k], like=tensors(self.template))

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
        request = wanted[~self.gone.has(wanted)]
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
            gone=self.gone.plus(gone.tolist()),
            **changes,
        )

    def covers(self) -> bool:
        """Whether the blocks hold every id of the data exactly once."""
        held = torch.cat([torch.empty(0, dtype=torch.int64), *self.members])
        return torch.equal(held.sort().values, self.data.ids.cpu().sort().values)

    def manifest(self) -> dict[str, Any]:
        """For JSON: what is stored, as far as two runs of the same training and requests agree."""
        memory = {name: getattr(self, name) for name in self.memory}
        return {
            "kind": self.kind,
            "recipe": self.described,
            "blocks": self.blocks,
            "members": [block.tolist() for block in self.members],
            "data": _fingerprint(self.data),
            **{name: list(value) if isinstance(value, tuple) else value for name, value in memory.items()},
        }


class Building(Generic[S]):
    """What `building` gives: one stage after the other is trained inside, and stored."""

    def __init__(self, stored: S, store: Folder) -> None:
        check.instance("stored", stored, Stages)
        self.stored = stored  # what the folder holds so far
        self._store, self._truth = store, stored.manifest() | stored.gone.to_json()

    @property
    def missing(self) -> range:
        """The numbers of the stages that are not stored yet, in order; none if all are."""
        return range(len(self.stored.digests), self.stored.blocks + 1)

    @contextmanager
    def block(self, k: int) -> Iterator[tuple[nn.Module, Examples]]:
        """Around the training of stage k: the model to train in place, and its samples.

        Stored when the block ends, with a warning if nothing in it was trained. After an error it is not, and
        whatever was stored before stays.

        Raises:
            ValueError: another stage comes next, or none.
        """
        with self.stage(k) as model, moving(model, self.stored.phase(k)):
            yield model.train(), self.stored.examples(k)

    @contextmanager
    def stage(self, k: int) -> Iterator[nn.Module]:
        """`block`, but the model alone, as it was stored."""
        if k not in self.missing[:1]:
            first = f"{self.missing[0]}, which comes next" if self.missing else "left out: all are stored"
            raise ValueError(f"`k` must be {first}; got {check.brief(k)}.")
        own = self.stored
        model = own.model(own.start(k))
        yield model
        own = replace(own, digests=(*own.digests, _save(self._store, own, k, state(model))))
        self._store.commit(self._truth, own.files)
        self.stored = own


@contextmanager
def building(asked: S, *, pinned: bool = True) -> Iterator[Building[S]]:
    """Open what is stored, and hold the folder while the rest is trained; see `train_stages`."""
    with check.instance("asked", asked, Stages).folder.locked() as store:
        own = _open(asked, pinned, store)
        own.state(len(own.digests) - 1)  # a damaged file is named now, not at the first request
        if len(own.digests) <= own.blocks:
            store.require_writable()
        yield Building(own, store)


@as_run
def train_stages(asked: S, *, pinned: bool = True) -> Generator[Step, None, S]:
    """Train what is not yet stored, stage by stage; go on where an interrupted run ended.

    Args:
        asked: what the folder shall hold, with all samples, forgotten or not.
        pinned: whether stored blocks must be those of `asked`, or only as many.

    Returns:
        What the folder holds: `asked` without the samples that it has forgotten.

    Raises:
        StoreError: the folder holds something else (which fields differ), is damaged, in use or cannot be
            written.
    """
    with building(asked, pinned=pinned) as made:
        for k in made.missing:
            with made.stage(k) as model:
                yield from made.stored.learn(k, model)
        return made.stored


def forget(
    old: S,
    ids: Ids,
    stages: Iterable[int],
    state_of: Callable[[int], Params],
    **changes: Any,
) -> S:
    """Store new models in place of old ones, without the samples, in one move; delete the old files.

    What an interrupted run has already done is not done again.

    Args:
        old: what the folder holds.
        ids: the samples, all of them still in `old`.
        stages: the k whose M_k are replaced.
        state_of: the new M_k of one such k; called before anything of `old` is deleted.
        changes: further fields that change.

    Raises:
        StoreError: the folder no longer holds `old`, or cannot be written; the old files stay whole.
    """
    check.instance("old", old, Stages)
    replaced = {check.whole("stages", k, 0, old.blocks) for k in stages}
    generation = tuple(g + (k in replaced) for k, g in enumerate(old.generation))
    new = old.without(ids, generation=generation, **changes)
    before, after = old.manifest(), new.manifest()
    with old.folder.locked() as store:
        found = store.manifest()
        if found is None:
            raise StoreError(f"{old.folder / MANIFEST} is missing: this {old.kind} is no longer stored.")
        if after.items() <= found.items():
            store.sweep()
            return replace(new, digests=tuple(found["files"].values()), gone=Tombstones.of(found))
        require_same(old.kind, {name: found.get(name) for name in before}, before, store.root)
        digests = list(old.digests)
        for k in sorted(replaced):
            digests[k] = _save(store, new, k, state_of(k))
        new = replace(new, digests=tuple(digests))
        store.commit(after | new.gone.to_json(), new.files)
    return new


def _open(asked: S, pinned: bool, store: Folder) -> S:
    """What is in the folder, checked against what is asked for; or new, with M_0 stored."""
    found = store.manifest()
    if found is None:
        asked.check()
        new = replace(asked, digests=(_save(store, asked, 0, state(asked.template)),))
        store.commit(new.manifest() | new.gone.to_json(), new.files)
        return new
    if (kind := found.get("kind", asked.kind)) != asked.kind:
        raise StoreError(f"{store.root} holds a {kind}, not a {asked.kind}. Use another folder.")
    try:
        gone = Tombstones.of(found)
        lost = gone.has(asked.data.ids.cpu())
        forgotten = asked.data.ids.cpu()[lost]
        own = replace(
            asked,
            data=asked.data.where(~lost),
            members=tuple(torch.tensor(ids, dtype=torch.int64) for ids in found["members"]),
            digests=tuple(found["files"].values()),
            forgotten=tuple(sorted(forgotten.tolist())),
            gone=gone,
            **{name: _value(found[name]) for name in asked.memory},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{store / MANIFEST} is not the manifest of a {asked.kind}: {error!r}.") from error
    wanted = own.manifest() | {"blocks": asked.blocks}
    if pinned:
        wanted["members"] = [block[~torch.isin(block, forgotten)].tolist() for block in asked.members]
    _require_same_recipe(found.get("recipe", {}), wanted.pop("recipe"), asked, store)
    require_same(asked.kind, {name: found.get(name) for name in wanted}, wanted, store.root)
    if not own.covers():
        raise StoreError(f"the blocks in {store / MANIFEST} do not hold every id of the data exactly once.")
    for name in found["files"] | own.files:
        if name not in own.files or not (store / name).is_file():
            raise StoreError(f"{store / name} is missing, which {MANIFEST} beside it names.")
    first, initial = own.state(0), state(asked.template)
    if any(not torch.equal(first[name], initial[name].cpu()) for name in initial):
        raise StoreError(f"{store.root} began from another initial model. Use another folder.")
    store.sweep()
    return own


def _require_same_recipe(stored: dict[str, Any], now: dict[str, Any], asked: Stages, store: Folder) -> None:
    """A function cannot be compared, so a loop of one's own is taken to be the one that it was."""
    if (stored == _OWN) != (now == _OWN):
        by, other = ("a loop of your own", "that function") if stored == _OWN else ("a recipe", "that recipe")
        raise StoreError(
            f"{store.root} was trained by {by}: pass {other} to {asked.opened_by}(model, data, ...), or use "
            "another folder."
        )
    require_same("recipe", completed(stored), completed(now), store.root)


def check_fit(recipe: Any) -> Recipe | Fit:
    """A recipe, or a function of three arguments that trains a stage."""
    if not callable(recipe) or isinstance(recipe, type | nn.Module):
        check.instance("recipe", recipe, Recipe, remedy="Or pass a function fit(model, examples, k).")
    if not isinstance(recipe, Recipe):
        try:
            signature = inspect.signature(recipe)
        except (TypeError, ValueError):  # some that are written in C do not tell
            return cast("Fit", recipe)
        try:
            signature.bind(1, 2, 3)
        except TypeError as error:
            raise TypeError(
                "`recipe` must be a recipe or a function fit(model, examples, k); got one that takes "
                f"{signature}: {error}."
            ) from error
    found: Recipe | Fit = recipe
    return found


@contextmanager
def moving(model: nn.Module, phase: str) -> Iterator[None]:
    """Around a loop of one's own: warn if it leaves the parameters of the model as they were."""
    before = [p.detach().clone() for p in model.parameters()]
    yield
    if all(torch.equal(old, p.to(old.device)) for old, p in zip(before, model.parameters(), strict=False)):
        check.warn(
            f"{phase}: the loop left the parameters of the model as they were. Train the model that it is "
            "given, in place."
        )


def _steps(made: Generator[Any, None, Any]) -> Generator[Step, None, Any]:
    """What the generator yields, as long as these are steps; gives what it returns."""
    with closing(made):
        while True:
            try:
                step = next(made)
            except StopIteration as end:
                return end.value
            if not isinstance(step, Step):
                raise TypeError(
                    f"a fit(model, examples, k) that yields must yield a `Step`; got {check.brief(step)}. "
                    "One without `yield` counts as one step."
                )
            yield step


def _value(stored: Any) -> Any:
    """As a field has it: JSON knows no tuples."""
    return tuple(stored) if isinstance(stored, list) else stored


def _fingerprint(data: Examples) -> str:
    """A hash of the samples, whatever their order: another data set with the same ids is another training."""
    order = data.ids.argsort()
    return digest(*(column[order] for column in (data.x, data.y, data.ids)))


def _save(store: Folder, stages: Stages, k: int, tensors: Params) -> str:
    return store.save(stages.file(k), tensors, {"block": k, "recipe": stages.described})
