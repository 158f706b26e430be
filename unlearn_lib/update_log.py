"""The amnesiac log: the pruned updates of a training run on disk, and which samples caused them.

Stored are the kept entries only, as values beside a bitmask or int32 positions, whichever is smaller: one
file an epoch, a ledger of (epoch, batch, samples, file, row), and the current model. Reading streams: a file
is mapped, one update is in memory. What has been undone is deleted, for stored updates are personal data.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.layers import Keep, Layers
from unlearn_lib.params import Params, assign, clone, snapshot
from unlearn_lib.store import Folder, StoreError, load_tensors, require_same, save_tensors
from unlearn_lib.train import Recipe
from unlearn_lib.updates import Rule, Updates, kept_entries, update_nbytes

__all__ = ["Entry", "Log"]

_PRUNE_BYTES = 1 << 20  # full updates held before they are pruned
_FILE_BYTES = 16 << 20  # pruned updates held before they are written, at the latest
_Line = tuple[tuple[int, int], list[int]]  # (e, b) and the samples of the batch


class Entry(NamedTuple):
    """One line of the ledger: a batch, and where its update is.

    `file` is None where no values are stored: not recorded, or undone and purged. Samples that were forgotten
    are no longer among `ids`.
    """

    epoch: int
    step: int
    ids: list[int]
    file: str | None
    row: int
    undone: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """(e, b)."""
        return self.epoch, self.step


class Log:
    """The updates of one training run on disk: files of pruned updates, a ledger, and the current model.

    The model is stored because purging destroys the only other way to it: the values that were subtracted and
    the unlearned model are exchanged in one commit.

    Args:
        folder: where `record` wrote.
        recipe: if given, the log must have been recorded with it.

    Raises:
        StoreError: there is no log, it is damaged, or it was recorded with another recipe.
    """

    def __init__(self, folder: Folder | Path | str, recipe: Recipe | None = None) -> None:
        self.folder = folder if isinstance(folder, Folder) else Folder(folder)
        self.read()
        if recipe is not None:
            require_same("recipe", self.recipe.to_dict(), recipe.to_dict(), self.folder.root)

    def read(self) -> None:
        """Read the ledger anew: another process may have carried out a request."""
        found = self.folder.manifest()
        if found is None:
            raise StoreError(f"{self.folder.root} holds no log of updates; `record` makes one.")
        try:
            self._set(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"{self.folder.root} holds no log of updates, or a damaged one: {error}"
            ) from error

    def _set(self, manifest: dict[str, Any]) -> None:
        self._settings = {
            name: manifest[name] for name in ("keep", "rule", "group", "shapes", "dtype", "recipe")
        }
        self.keep: Keep = manifest["keep"]
        self.rule: Rule = manifest["rule"]
        self.layers = Layers({t: tuple(shape) for t, shape in manifest["shapes"].items()}, manifest["group"])
        self.dtype: torch.dtype = getattr(torch, manifest["dtype"])
        self.recipe = Recipe(**manifest["recipe"])
        self.entries = [Entry(*entry) for entry in manifest["entries"]]
        self._forgotten = set(manifest["forgotten"])
        self._models: list[str] = manifest["models"]
        self._generation: int = manifest["generation"]
        self._lines: list[_Line] = []
        self._rows = torch.empty(0, self.layers.n, dtype=self.dtype)  # of `_lines`; reused, for speed
        self._pruned: list[tuple[list[_Line], Params]] = []

    @classmethod
    def start(
        cls,
        folder: Folder | Path | str,
        layers: Layers,
        dtype: torch.dtype,
        recipe: Recipe,
        keep: Keep,
        rule: Rule,
    ) -> Log:
        """An empty log; it counts from its first `commit`, which replaces an earlier log of equal settings.

        To be called with the folder locked: what a killed run left is swept.

        Raises:
            StoreError: the folder holds a log of other settings.
        """
        log = cls.__new__(cls)
        log.folder = folder if isinstance(folder, Folder) else Folder(folder)
        old = log.folder.manifest()
        log._set(
            {
                "keep": dict(keep) if isinstance(keep, Mapping) else keep,
                "rule": rule,
                "group": layers.group,
                "shapes": {tensor: list(shape) for tensor, shape in layers.shapes.items()},
                "dtype": str(dtype).removeprefix("torch."),
                "recipe": recipe.to_dict(),
                "entries": [],
                "forgotten": [],
                "models": [],
                "generation": old.get("generation", 0) + 1 if old else 1,
            }
        )
        log._rows = torch.empty(max(1, _PRUNE_BYTES // (layers.n * dtype.itemsize)), layers.n, dtype=dtype)
        if old is not None:
            now = {**log._settings, **log._settings["recipe"]}
            stored = {**{name: old.get(name) for name in log._settings}, **old.get("recipe", {})}
            now.pop("recipe"), stored.pop("recipe")
            require_same("recipe or setting", stored, now, log.folder.root)
            Log(log.folder).sweep()
        return log

    def append(self, key: tuple[int, int], ids: list[int], U: Float[Tensor, " n"]) -> None:
        """Record the update that batch `key` = (e, b) with these samples made."""
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
            save_tensors(self.folder / file, tensors)
            self.entries += [Entry(e, b, ids, file, row) for row, ((e, b), ids) in enumerate(lines)]
            self._pruned = []

    def _prune(self) -> None:
        """Many small updates are pruned at once, which is quick; the full ones are then dropped."""
        if self._lines:
            keys, rows = tuple(key for key, _ in self._lines), self._rows[: len(self._lines)]
            self._pruned.append((self._lines, self._pack(Updates(self.layers, keys, rows, self.recipe.seed))))
            self._lines = []

    def skip(self, key: tuple[int, int], ids: list[int]) -> None:
        """Note a batch whose update is not recorded."""
        self.entries.append(Entry(key[0], key[1], ids, None, 0))

    def commit(self, model: nn.Module) -> None:
        """Make `model` the log's current model, and what this object says the truth; delete the rest.

        After a fine-tuning that followed a request, this tells the log which model the next one starts from.
        """
        params = snapshot(model)
        self._models.append(_digest(params))
        self.entries.sort(key=lambda entry: entry.key)
        save_tensors(self.folder / self._model_file, params)
        self.folder.commit(
            {
                **self._settings,
                "entries": self.entries,
                "forgotten": sorted(self._forgotten),
                "models": self._models,
                "generation": self._generation,
            }
        )
        self.sweep()

    def sweep(self) -> None:
        """Delete what a killed run or request left behind. To be called with the folder locked."""
        self.folder.sweep({self._model_file, *self.files})

    def current(self, model: nn.Module) -> nn.Module:
        """A copy of `model` with the parameters it has after every request so far.

        Args:
            model: the model this log was recorded for, as trained or as it was after any request.

        Raises:
            StoreError: the log belongs to another model.
        """
        params = snapshot(model)
        if _digest(params) not in self._models:
            raise StoreError(
                f"{self.folder.root} is the log of another model: its updates do not lead to these "
                "parameters. If you have fine-tuned the model since, tell the log with `log.commit(model)`."
            )
        twin = clone(model)
        assign(twin, load_tensors(self.folder / self._model_file, like=params)[0])
        return twin

    def resolve(self, ids: Ids) -> tuple[set[int], set[int]]:
        """The request cut in two: ids still to be forgotten, and ids that already are.

        Raises:
            ValueError: an id was never recorded.
        """
        request = set(check.ids(ids).tolist())
        known = {i for entry in self.entries for i in entry.ids}
        done = {i for i in request - known if _tombstone(i) in self._forgotten}
        unknown = sorted(request - known - done)
        if unknown:
            raise ValueError(
                f"`ids` must be samples that this log recorded; {len(unknown)} are not, "
                f"among them {unknown[:5]}."
            )
        return request - done, done

    def touched(self, ids: Ids) -> list[Entry]:
        """S_B: the batches with at least one of these samples, in chronological order, each once."""
        wanted = set(check.ids(ids).tolist())
        return [entry for entry in self.entries if not wanted.isdisjoint(entry.ids)]

    def stream(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Tensor, Tensor]]:
        """Entry, positions and values of these updates; one file is mapped, one update is in memory.

        Raises:
            StoreError: a file is missing or damaged; names it.
        """
        for file, group in groupby((e for e in entries if e.file), key=lambda e: str(e.file)):
            tensors = self._load(file)
            for entry in group:
                if "mask" in tensors:
                    bits = np.unpackbits(tensors["mask"][entry.row].numpy(), count=self.layers.n)
                    positions = torch.from_numpy(np.flatnonzero(bits))
                else:
                    positions = tensors["positions"][entry.row].long()
                yield entry, positions, tensors["values"][entry.row]

    def updates(self, ids: Ids | None = None) -> Updates:
        """The stored updates that touch `ids` (default: all) in memory, pruned entries as 0.

        Of a log recorded with ``keep=1`` these are the full updates: any share, rule or choice of layers can
        then be tried with `Updates.kept` and `undo`, without training again.
        """
        stored = [e for e in (self.entries if ids is None else self.touched(ids)) if e.file]
        rows = torch.zeros(len(stored), self.layers.n, dtype=self.dtype)
        for row, (_, positions, values) in zip(rows, self.stream(stored), strict=True):
            row[positions] = values
        return Updates(self.layers, tuple(e.key for e in stored), rows, self.recipe.seed)

    def forget(self, model: nn.Module, ids: set[int], undone: Sequence[Entry]) -> None:
        """Purge: delete the values of `undone`, take `ids` off the ledger, make `model` the current one.

        What stays: the marks "subtracted"; a digest of each forgotten id, by which a repeated request is
        known (whoever tries all ids finds them); and echoes of the samples in the updates of later batches,
        which were made by a model that had seen them.
        """
        self._generation += 1
        gone = {entry.key for entry in undone}
        moved: dict[tuple[int, int], tuple[str, int]] = {}
        for old in sorted({str(entry.file) for entry in undone}):
            left = [e for e in self.entries if e.file == old and e.key not in gone]
            if left:
                new = f"{old.split('.')[0]}.g{self._generation}.safetensors"
                save_tensors(self.folder / new, self._load_rows(old, [e.row for e in left]))
                moved.update({e.key: (new, row) for row, e in enumerate(left)})
        for number, e in enumerate(self.entries):
            file, row = (None, 0) if e.key in gone else moved.get(e.key, (e.file, e.row))
            kept_ids = [i for i in e.ids if i not in ids]
            self.entries[number] = Entry(e.epoch, e.step, kept_ids, file, row, e.undone or e.key in gone)
        self._forgotten |= {_tombstone(i) for i in ids}
        self.commit(model)

    @property
    def files(self) -> set[str]:
        """Names of the files that hold updates."""
        return {entry.file for entry in self.entries if entry.file}

    @property
    def nbytes(self) -> int:
        """Measured bytes of the update files. Ledger and model: ``log.folder.nbytes`` has everything."""
        paths = [self.folder / file for file in self.files]
        return sum(path.stat().st_size for path in paths if path.is_file())

    @property
    def expected_nbytes(self) -> int:
        """What the formula says that the update files hold; see `update_nbytes`."""
        stored = sum(entry.file is not None for entry in self.entries)
        return stored * update_nbytes(self.layers, self.keep, self.rule, self.dtype.itemsize)

    @property
    def _model_file(self) -> str:
        return f"model.g{self._generation}-{len(self._models)}.safetensors"

    def _load(self, file: str) -> Params:
        count = sum(entry.file == file for entry in self.entries)
        K, bits = kept_entries(self.layers, self.keep, self.rule), math.ceil(self.layers.n / 8)
        like = {"values": torch.empty(count, K, dtype=self.dtype, device="meta")}
        if self._by_position:
            like["positions"] = torch.empty(count, K, dtype=torch.int32, device="meta")
        else:
            like["mask"] = torch.empty(count, bits, dtype=torch.uint8, device="meta")
        return load_tensors(self.folder / file, like)[0]

    def _load_rows(self, file: str, rows: list[int]) -> Params:
        """A copy: Windows deletes no file that is still mapped."""
        return {name: value[torch.tensor(rows)] for name, value in self._load(file).items()}

    def _pack(self, updates: Updates) -> Params:
        mask = updates.kept(self.keep, self.rule).numpy()
        flat = np.flatnonzero(mask)
        packed = {"values": updates.rows.numpy().ravel()[flat].reshape(len(mask), -1 if len(flat) else 0)}
        if self._by_position:
            packed["positions"] = (flat % self.layers.n).astype(np.int32).reshape(packed["values"].shape)
        else:
            packed["mask"] = np.packbits(mask, axis=1)
        return {name: torch.from_numpy(value) for name, value in packed.items()}

    @property
    def _by_position(self) -> bool:
        """int32 positions are smaller than a bitmask where fewer than 1 entry in 32 is kept."""
        return 4 * kept_entries(self.layers, self.keep, self.rule) < math.ceil(self.layers.n / 8)


def _digest(params: Mapping[str, Tensor]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(params):
        total.update(name.encode())
        total.update(params[name].cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _tombstone(sample: int) -> str:
    return hashlib.blake2b(str(sample).encode(), digest_size=8).hexdigest()
