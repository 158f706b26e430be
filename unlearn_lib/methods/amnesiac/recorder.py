"""Recording: what every batch of a training run did to the model, in our loop (`record`) or in one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.methods.amnesiac.log import KIND, Entry, Log, require_same_recipe
from unlearn_lib.methods.amnesiac.updates import KeepRule, Updates, check_rule
from unlearn_lib.methods.layers import Group, Keep, Layers
from unlearn_lib.params import Params, trainable
from unlearn_lib.store import Folder, StoreError, require_same
from unlearn_lib.tombstones import Tombstones
from unlearn_lib.train import Order, Recipe, Step, as_run, train

__all__ = ["Recording", "record", "recording"]

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # integers of the size of a floating point number
_PRUNE_BYTES = 1 << 20  # full updates held before they are pruned
_FILE_BYTES = 16 << 20  # pruned updates held before they are written, at the latest
_Line = tuple[tuple[int, int], list[int]]  # (e, b) and the samples of the batch


class Recording(Log):
    """A log that is being written; when it is complete, it is the log. `recording` makes one.

    It counts from its first commit, which replaces an earlier log of equal settings. What that one has
    forgotten stays forgotten: `data` are the samples to train on.
    """

    def __init__(
        self,
        store: Folder,
        model: nn.Module,
        data: Examples,
        layers: Layers,
        *,
        recipe: Mapping[str, Any],
        keep: Keep,
        rule: KeepRule,
        wanted: set[int],
    ) -> None:
        self.folder, self._store, self._model = Folder(store), store, model
        self._own, self._buffers = trainable(model), {n: b.clone() for n, b in model.named_buffers()}
        self._before = layers.flatten(self._own)
        dtype = self._before.dtype
        store.require_writable()
        old = store.manifest()
        if old is not None and old.get("kind") != KIND:
            raise StoreError(f"{store.root} holds a {old.get('kind')}. Use another folder.")
        gone = Tombstones() if old is None else Tombstones.of(old)
        self._set(
            {
                "kind": KIND,
                "keep": {n: float(p) for n, p in keep.items()} if isinstance(keep, Mapping) else float(keep),
                "rule": rule,
                "group": layers.group,
                "shapes": {tensor: list(shape) for tensor, shape in layers.shapes.items()},
                "dtype": str(dtype).removeprefix("torch."),
                "recipe": dict(recipe),
                "entries": [],
                "models": [],
                "generation": 1 if old is None else old["generation"] + 1,
                "files": {},
                **gone.to_json(),
            }
        )
        if old is not None:
            require_same_recipe(old["recipe"], self._settings["recipe"], store.root)
            settings = {name: value for name, value in self._settings.items() if name != "recipe"}
            require_same("setting", {name: old[name] for name in settings}, settings, store.root)
            store.sweep()
        self.data = data.where(~gone.has(data.ids.cpu()))
        self._known, self._seen = self.data.ids.cpu(), set[int]()
        self._wanted = wanted
        self._key = (1, 0)  # (e, b) of the last batch
        self._lines: list[_Line] = []
        held = max(1, _PRUNE_BYTES // (layers.n * dtype.itemsize))
        self._rows = torch.empty(held, layers.n, dtype=dtype)  # of `_lines`; reused, for speed
        self._pruned: list[tuple[list[_Line], Params]] = []
        self._inside, self._done = Counter[Optimizer](), Counter[Optimizer]()  # steps since the last of ours
        self._moved = self._told_twice = False

    def step(self, ids: Ids, epoch: int | None = None) -> None:
        """Say after every ``optimizer.step()`` whose samples it learned from.

        What is recorded is how the parameters differ from those at the step before: all that moves them
        belongs to the batch that ends it, gradients that were accumulated over several batches too. A call
        that finds the parameters as they were, with no step of an optimizer in between, gets a warning.

        Args:
            ids: of the samples, as a `DataLoader` over `Examples` or `numbered` gives them.
            epoch: counted from 1, never falling. By default a new one begins as soon as a sample comes again
                that this epoch has had. There is a file of updates for each.

        Raises:
            ValueError: an id is not in `data`, or `epoch` is lower than before.
            TypeError: these are not ids.
            RuntimeError: an optimizer has made several steps since the last call.
            StoreError: the log is complete, or cannot be written.
        """
        if not hasattr(self, "_store"):
            raise StoreError(f"the log in {self.folder.root} is complete; `recording` begins a new one.")
        found = check.column("ids", ids)
        unknown = found[~torch.isin(found, self._known)]
        if len(unknown) or not len(found):
            got = f"{len(unknown)} are not, among them {unknown[:5].tolist()}" if len(found) else "got none"
            raise ValueError(f"`ids` must be ids of the {len(self._known)} samples in `log.data`; {got}.")
        last, samples = self._key[0], found.tolist()
        if epoch is None:
            epoch = last + (not self._seen.isdisjoint(samples))
        epoch = check.whole("epoch", epoch, last)
        self._require_one_step_each()
        before = self._before
        self.took(epoch, samples)
        if not (self._moved and self._done):
            same = torch.equal(before, self._before)
            self._moved |= not same
            if same and not self._done and not self._told_twice:
                self._told_twice = True
                check.warn(
                    "`log.step(ids)` found the parameters as they were, and no optimizer that holds them has "
                    "made a step since the call before or the beginning. Call it once after every "
                    "`optimizer.step()`; all is well if a GradScaler has left a step out."
                )
        self._inside.clear()  # a step that failed has not ended
        self._done.clear()

    def took(self, epoch: int, ids: list[int]) -> None:
        """`step`, unchecked."""
        last, number = self._key
        if epoch > last:
            self.flush()
            number, self._seen = 0, set()
        if self._buffers:
            self._warn_of_moved()
        self._seen.update(ids)
        self._key = key = (epoch, number + 1)
        after = self.layers.flatten(self._own)
        if self._wanted.isdisjoint(ids):
            self.entries.append(Entry(epoch=key[0], step=key[1], ids=ids, file=None, row=0))
        else:
            self._append(key, ids, after - self._before)  # U_{e,b}
        self._before = after

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Around a loop of one's own: count the steps of every optimizer that holds our parameters."""
        mine = {id(p) for p in self._model.parameters()}

        def begins(optimizer: Optimizer, *_: Any) -> None:
            if any(id(p) in mine for group in optimizer.param_groups for p in group["params"]):
                self._inside[optimizer] += 1

        def ends(optimizer: Optimizer, *_: Any) -> None:
            if self._inside[optimizer]:
                self._inside[optimizer] -= 1  # a subclass may call the step of its parent: one step in all
                self._done[optimizer] += not self._inside[optimizer]

        hooks = register_optimizer_step_pre_hook(begins), register_optimizer_step_post_hook(ends)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        if not self._key[1]:
            raise RuntimeError(
                "nothing was recorded: `log.step(ids)` was never called. Call it after every "
                "`optimizer.step()`."
            )
        self._require_one_step_each()
        if not self._moved:
            check.warn(
                "the log is of no use: the parameters that it records never changed. Give `recording` the "
                "model that the optimizer moves."
            )

    def _require_one_step_each(self) -> None:
        for optimizer, steps in self._done.items():
            if steps > 1:
                raise RuntimeError(
                    f"{type(optimizer).__name__} has made {steps} steps since the last `log.step(ids)`, so "
                    "what one of them did would be taken for that of other samples. Call it after every "
                    "`optimizer.step()`; to learn from several batches at once, accumulate their gradients."
                )

    def _append(self, key: tuple[int, int], ids: list[int], U: Float[Tensor, " n"]) -> None:
        self._rows[len(self._lines)] = U
        self._lines.append((key, ids))
        if len(self._lines) == len(self._rows):
            self._prune()
        if sum(value.nbytes for _, part in self._pruned for value in part.values()) >= _FILE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write a file of what was recorded since the last one."""
        self._prune()
        if self._pruned:
            lines = [line for lines, _ in self._pruned for line in lines]
            parts = [part for _, part in self._pruned]
            file = f"epoch-{lines[0][0][0]:04}-{len(self.entries):06}.g{self._generation}.safetensors"
            tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            self._digests[file] = self._store.save(file, tensors)
            self.entries += [
                Entry(epoch=e, step=b, ids=ids, file=file, row=row) for row, ((e, b), ids) in enumerate(lines)
            ]
            self._pruned = []

    def _prune(self) -> None:
        """Many small updates are pruned at once, which is quick; the full ones are then dropped."""
        if self._lines:
            keys, rows = tuple(key for key, _ in self._lines), self._rows[: len(self._lines)]
            self._pruned.append((self._lines, self._pack(Updates(self.layers, keys, rows, self.seed))))
            self._lines = []

    def _pack(self, updates: Updates) -> Params:
        mask = updates.kept(self.keep, self.rule).numpy()
        flat = np.flatnonzero(mask)
        shape = (len(mask), len(flat) // len(mask))
        # taken as bytes by NumPy, which is quicker, and does not know bfloat16
        bits = updates.rows.contiguous().view(_BITS[self.dtype.itemsize]).numpy().ravel()
        packed = {"values": torch.from_numpy(bits[flat].reshape(shape)).view(self.dtype)}
        if self._by_position:
            packed["positions"] = torch.from_numpy((flat % self.layers.n).astype(np.int32).reshape(shape))
        else:
            packed["mask"] = torch.from_numpy(np.packbits(mask, axis=1))
        return packed

    def _warn_of_moved(self) -> None:
        before, self._buffers = self._buffers, {}  # once is enough
        now = dict(self._model.named_buffers())
        moved = [name for name in before if name in now and not torch.equal(now[name], before[name])]
        if moved:
            check.warn(
                "the log records parameters only, and training moves buffers of this model as well: "
                f"{check.brief(moved)}. What forgotten samples did to them stays; use a net without batch "
                "norm."
            )

    def finish(self) -> None:
        """The recording is complete: from now on it counts, and the model is the log's current model.

        Raises:
            RuntimeError: the parameters have changed since the last step.
        """
        if not torch.allclose(self._before, self.layers.flatten(self._own), rtol=0, atol=0, equal_nan=True):
            raise RuntimeError(
                "the parameters have changed since the last `log.step(ids)`, so the log would not lead to "
                "this model. Call it after every `optimizer.step()`, and change nothing after the last."
            )
        self.flush()
        self._commit(self._store, self._model, self.entries, self._digests)
        del self._store, self._model, self._own, self._before, self._rows, self._inside, self._done

    def withdraw(self) -> None:
        """The recording has failed: what it wrote is deleted, and an earlier log stays what it was."""
        with suppress(StoreError):  # a later run has taken over, and sweeps
            self._store.withdraw(self._digests)


@contextmanager
def recording(
    model: nn.Module,
    data: Examples,
    folder: Folder | Path | str,
    *,
    keep: Keep,
    rule: KeepRule = "magnitude",
    group: Group = "tensor",
    sensitive: Ids | None = None,
    seed: int = 0,
    recipe: Recipe | None = None,
) -> Iterator[Recording]:
    """Record a training loop of your own: any optimizer, schedule, augmentation or precision.

        with recording(model, data, folder, keep=0.1) as log:
            for x, y, ids in loader:
                ...                                         # your step, to optimizer.step()
                log.step(ids)

    The log is complete when the block ends, and then is the log that `amnesiac` takes. After an error there
    is none, and an earlier one stays as it was. What is recorded are the parameters as the model holds them:
    under autocast, the float32 ones. Where your loop does the same arithmetic as ours, so do the bytes.

    Args:
        model: what the loop trains, on the device where it will be trained.
        data: the training set. Train on ``log.data``: it lacks what this folder has forgotten.
        folder: as for `record`.
        keep: see `record`.
        rule: see `record`.
        group: see `record`.
        sensitive: see `record`.
        seed: of the rule "random".
        recipe: if one says how the loop trains, seed included; otherwise the log knows none.

    Yields:
        The log; call its `step`.

    Raises:
        RuntimeError: at a step: an optimizer has made several since the last. At the end: the parameters
            have changed since the last step, or there was none.
        ValueError, TypeError, StoreError: see `record`.

    Example:
        >>> loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
        >>> sgd = torch.optim.SGD(initial.parameters(), lr=0.1, momentum=0.9)
        >>> with ul.recording(initial, data, folder, keep=0.1) as log:
        ...     for x, y, ids in loader:
        ...         loss = torch.nn.functional.cross_entropy(initial(x), y)
        ...         sgd.zero_grad()
        ...         loss.backward()
        ...         _ = sgd.step()
        ...         log.step(ids)
        >>> ul.run(ul.amnesiac(initial, [7], log)).trace.batches
        23
    """
    with (
        _begun(model, data, folder, keep, rule, group, sensitive, seed=seed, recipe=recipe) as log,
        log.hearing(),
    ):
        yield log


@contextmanager
def _begun(
    model: nn.Module,
    data: Examples,
    folder: Folder | Path | str,
    keep: Keep,
    rule: KeepRule,
    group: Group,
    sensitive: Ids | None,
    *,
    seed: int = 0,
    recipe: Recipe | None = None,
) -> Iterator[Recording]:
    """The log, finished when the block ends, withdrawn after an error."""
    layers = Layers.of(model, group)
    check_rule(rule, keep)
    layers.shares(keep)
    check_examples("data", data), check.whole("seed", seed)
    described = {"seed": seed} if recipe is None else check.instance("recipe", recipe, Recipe).to_dict()
    if isinstance(keep, Mapping):
        layers = layers.only(keep)
    wanted = set((data if sensitive is None else data.select(check.ids(sensitive, "sensitive"))).ids.tolist())
    with Folder(folder).locked() as store:
        log = Recording(store, model, data, layers, recipe=described, keep=keep, rule=rule, wanted=wanted)
        try:
            yield log
            log.finish()
        except BaseException:
            log.withdraw()
            raise


@as_run
def record(
    model: nn.Module,
    data: Examples,
    recipe: Recipe,
    folder: Folder | Path | str,
    *,
    keep: Keep,
    rule: KeepRule = "magnitude",
    group: Group = "tensor",
    sensitive: Ids | None = None,
    order: Order | None = None,
) -> Generator[Step, None, Log]:
    """Train `model` in place, as `train` does to the last bit, and record every update.

    A folder that holds a log of the same settings gets a new one in its place, as soon as that is complete.

    Args:
        model: changed in place. With batch norm a warning says that its statistics are not recorded.
        data: the training set. Samples that this folder has forgotten are left out.
        recipe: as for `train`.
        folder: where the log is written: a file of pruned updates per epoch (more, if it exceeds 16 MiB), a
            ledger, and the trained model.
        keep: share p in [0, 1] of each layer that is kept; a number, or by layer, where a layer not named is
            off. 1 is plain amnesiac unlearning. There is no default: we do not know the authors' value.
        rule: which entries: "magnitude", "random" or "global" (see `Updates.kept`).
        group: a layer is one parameter "tensor", or all of one "module".
        sensitive: record only batches that hold one of these samples. Other samples cannot be forgotten then:
            a request for them undoes only what was recorded, with a warning.
        order: see `train`; `packed` makes one.

    Yields:
        One `Step` per mini-batch.

    Returns:
        The log.

    Raises:
        ValueError: `keep` is outside [0, 1] or names an unknown layer; unknown `rule` or `group`; `sensitive`
            holds an id that is not in `data`; no sample is left.
        TypeError: an argument is of the wrong kind.
        StoreError: the folder is in use, cannot be written, or holds a log of another recipe or setting.

    Example:
        >>> log = ul.run(ul.record(initial, data, recipe, folder, keep=0.1))
        >>> len(log.entries) == 5 * 23  # epochs, batches
        True
    """
    known = check.instance("recipe", recipe, Recipe)
    with _begun(model, data, folder, keep, rule, group, sensitive, recipe=known) as log:
        for step in train(model, log.data, recipe, order=order):
            log.took(step.epoch, step.batch.ids.tolist())
            if step.number == step.steps:
                log.flush()
            yield step
    return log
