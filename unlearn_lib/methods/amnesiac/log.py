"""The amnesiac log: the pruned updates of a training run on disk, and which samples caused them.

Stored are the kept entries only, as values beside a bitmask or int32 positions, whichever is smaller: one
file an epoch, a ledger of (epoch, batch, samples, file, row), and the current model. Reading streams, one
file at a time. What has been undone is deleted, because stored updates are personal data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.methods.amnesiac.updates import KeepRule, Updates, kept_entries, update_nbytes
from unlearn_lib.methods.layers import Keep, Layers
from unlearn_lib.params import Params, assign, clone, digest, snapshot
from unlearn_lib.store import MANIFEST, Folder, StoreError, require_same
from unlearn_lib.tombstones import Tombstones
from unlearn_lib.train import Recipe, completed

__all__ = ["Entry", "Log"]

KIND = "log of updates"


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
        folder: where `record` or `recording` wrote.
        recipe: if given, the log must have been recorded with it.

    Raises:
        StoreError: there is no log, it is damaged, or it was recorded with another recipe.

    Example:
        >>> log = ul.run(ul.record(initial, data, recipe, folder, keep=0.1))
        >>> len(ul.Log(folder).touched([7]))  # opened again later: once an epoch
        5
    """

    def __init__(self, folder: Folder | Path | str, recipe: Recipe | None = None) -> None:
        self.folder = Folder(folder)
        self.folder.tidy()  # what a killed purge left
        self.read()
        if recipe is not None:
            check.instance("recipe", recipe, Recipe)
            require_same_recipe(self._settings["recipe"], recipe.to_dict(), self.folder.root)

    def read(self) -> None:
        """Read the ledger anew: another process may have carried out a request."""
        found = self.folder.manifest()
        if found is None:
            raise StoreError(f"{self.folder.root} holds no log of updates; `record` makes one.")
        if found.get("kind") != KIND:
            raise StoreError(f"{self.folder.root} holds no log of updates; it holds a {found.get('kind')}.")
        self._set(found)

    def _set(self, manifest: dict[str, Any]) -> None:
        """What the manifest says, of a log that is to be read or, with no entries yet, to be recorded."""
        self._settings = {
            name: manifest[name] for name in ("kind", "keep", "rule", "group", "shapes", "dtype", "recipe")
        }
        self.keep: Keep = manifest["keep"]
        self.rule: KeepRule = manifest["rule"]
        self.layers = Layers({t: tuple(shape) for t, shape in manifest["shapes"].items()}, manifest["group"])
        self.dtype: torch.dtype = getattr(torch, manifest["dtype"])
        own = manifest["recipe"].keys() == {"seed"}  # recorded in a loop of one's own
        self.recipe: Recipe | None = None if own else Recipe(**manifest["recipe"])
        self.seed: int = manifest["recipe"]["seed"]
        self.entries = [Entry(*entry) for entry in manifest["entries"]]
        self._forgotten = Tombstones.of(manifest)
        self._models: list[str] = list(manifest["models"])
        self._generation: int = manifest["generation"]
        self._digests: dict[str, str] = dict(manifest["files"])

    def commit(self, model: nn.Module) -> None:
        """Make `model` the log's current model.

        After a fine-tuning that followed a request, this tells the log which model the next one starts from.

        Raises:
            ValueError: the model does not have the parameters of this log.
            StoreError: the folder is in use, cannot be written, or was changed since this log was read.
        """
        self.layers.flatten(snapshot(check.instance("model", model, nn.Module)))
        with self.folder.locked() as store:
            self._unchanged(store)
            self._commit(store, model, self.entries, self._digests)

    def _unchanged(self, store: Folder) -> None:
        found = store.manifest()
        if found is None:
            raise StoreError(f"{store / MANIFEST} is missing: this log is no longer stored.")
        if (found.get("generation"), found.get("models")) != (self._generation, self._models):
            raise StoreError(f"{store.root} was changed since this log was read; `log.read()` reads it anew.")

    def _commit(
        self,
        store: Folder,
        model: nn.Module,
        entries: Sequence[Entry],
        files: Mapping[str, str],
        *,
        gone: Tombstones | None = None,
        generation: int | None = None,
    ) -> None:
        """Make all this the truth, then be what it says: a failure before that changes nothing."""
        params = snapshot(model)
        generation = self._generation if generation is None else generation
        models = [*self._models, _digest(params)]
        held = {entry.file for entry in entries}
        kept = {name: found for name, found in files.items() if name in held}
        current = _model_file(generation, models)
        manifest = {
            **self._settings,
            "entries": sorted(entries, key=lambda entry: entry.key),
            "models": models,
            "generation": generation,
            **(self._forgotten if gone is None else gone).to_json(),
        }
        kept[current] = store.save(current, params)
        store.commit(manifest, kept)
        self._set(manifest | {"files": kept})

    def current(self, model: nn.Module) -> nn.Module:
        """A copy of `model` with the parameters it has after every request so far.

        Args:
            model: the model this log was recorded for, as trained or as it was after any request.

        Raises:
            StoreError: the log belongs to another model, or the stored one is damaged.
        """
        params = snapshot(check.instance("model", model, nn.Module))
        if _digest(params) not in self._models:
            raise StoreError(
                f"{self.folder.root} is the log of another model: its updates do not lead to these "
                "parameters. If you have fine-tuned the model since, tell the log with `log.commit(model)`."
            )
        name = _model_file(self._generation, self._models)
        found = self.folder.load(name, self._digests.get(name, ""), like=params)
        if _digest(found) != self._models[-1]:
            raise StoreError(f"{self.folder / name} is not the model that this log says is the current one.")
        twin = clone(model)
        assign(twin, found)
        return twin

    def resolve(self, ids: Ids) -> tuple[set[int], set[int]]:
        """The request cut in two: ids still to be forgotten, and ids that already are.

        Raises:
            ValueError: an id was never recorded.
        """
        wanted = check.ids(ids)
        request = set(wanted.tolist())
        known = {i for entry in self.entries for i in entry.ids}
        done = set(wanted[self._forgotten.has(wanted)].tolist()) - known
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
        """Entry, positions and values of these updates; one file at a time is in memory.

        Raises:
            StoreError: a file is missing, damaged, or not the one that was stored there; names it.
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
        return Updates(self.layers, tuple(e.key for e in stored), rows, self.seed)

    def forget(self, store: Folder, model: nn.Module, ids: set[int], undone: Sequence[Entry]) -> None:
        """Purge: delete the values of `undone`, take `ids` off the ledger, make `model` the current one.

        What stays: the marks "subtracted"; a digest of each forgotten id, by which a repeated request is
        known (see `Tombstones` for what that hides, and what it does not); and echoes of the samples in the
        updates of later batches, which were made by a model that had seen them.

        Args:
            store: the folder, locked by the caller.
            model: the unlearned model.
            ids: the samples.
            undone: the entries that were subtracted.
        """
        generation, gone = self._generation + 1, {entry.key for entry in undone}
        files, moved = dict(self._digests), dict[tuple[int, int], tuple[str, int]]()
        for old in sorted({str(entry.file) for entry in undone}):
            left = [e for e in self.entries if e.file == old and e.key not in gone]
            if left:
                new = f"{old.split('.')[0]}.g{generation}.safetensors"
                files[new] = store.save(new, self._load_rows(old, [e.row for e in left]))
                moved.update({e.key: (new, row) for row, e in enumerate(left)})
        entries = []
        for e in self.entries:
            file, row = (None, 0) if e.key in gone else moved.get(e.key, (e.file, e.row))
            kept_ids = [i for i in e.ids if i not in ids]
            undone_now = e.undone or e.key in gone
            entries.append(e._replace(ids=kept_ids, file=file, row=row, undone=undone_now))
        self._commit(store, model, entries, files, gone=self._forgotten.plus(ids), generation=generation)

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

    def _load(self, file: str) -> Params:
        count = sum(entry.file == file for entry in self.entries)
        K, bits = kept_entries(self.layers, self.keep, self.rule), math.ceil(self.layers.n / 8)
        like = {"values": torch.empty(count, K, dtype=self.dtype, device="meta")}
        if self._by_position:
            like["positions"] = torch.empty(count, K, dtype=torch.int32, device="meta")
        else:
            like["mask"] = torch.empty(count, bits, dtype=torch.uint8, device="meta")
        return self.folder.load(file, self._digests.get(file, ""), like)

    def _load_rows(self, file: str, rows: list[int]) -> Params:
        return {name: value[torch.tensor(rows)] for name, value in self._load(file).items()}

    @property
    def _by_position(self) -> bool:
        """int32 positions are smaller than a bitmask where fewer than 1 entry in 32 is kept."""
        return 4 * kept_entries(self.layers, self.keep, self.rule) < math.ceil(self.layers.n / 8)


def require_same_recipe(stored: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    """Raise `StoreError` unless both are one recipe, or both are loops of one's own."""
    if ("optimizer" in stored) != ("optimizer" in now):
        way = "with a recipe" if "optimizer" in stored else "in a loop of your own"
        raise StoreError(f"{where} was recorded {way}, and has no such recipe. Use another folder.")
    require_same("recipe", completed(stored), completed(now), where)


def _digest(params: Mapping[str, Tensor]) -> str:
    return digest(*(part for name in sorted(params) for part in (name, params[name])))


def _model_file(generation: int, models: Sequence[str]) -> str:
    return f"model.g{generation}-{len(models)}.safetensors"
