"""What a store still knows about the samples that it has forgotten: digests of their ids."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["Tombstone", "Tombstones"]


class Tombstone(str):
    """The digest of a forgotten sample's id; not shown in print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a forgotten sample>"


@dataclass(frozen=True)
class Tombstones:
    """Which samples are gone: enough to recognize a repeated request, and to leave them out of later runs.

    An id is kept as a digest under the store's own random key. So the files contain no id of a forgotten
    sample, a search for one finds nothing, the same sample has a different digest in every store, and no
    precomputed table helps. But whoever holds the store *and can list the possible ids* can try them all in a
    moment, because the key lies beside the digests; and where ids are numbered without gaps, a gap alone
    tells who is gone. A slower digest would not change that: opening a store tests every id of the data set,
    so anyone who can open it can try as many.
    """

    key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    digests: frozenset[Tombstone] = frozenset()

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Tombstones:
        """From what `to_json` returned."""
        return cls(str(manifest["key"]), frozenset(map(Tombstone, manifest["forgotten"])))

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        return {"key": self.key, "forgotten": sorted(self.digests)}

    def __len__(self) -> int:
        return len(self.digests)

    def __iter__(self) -> Iterator[Tombstone]:
        return iter(self.digests)

    def has(self, ids: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """True where a sample is gone."""
        if not self.digests:
            return torch.zeros(len(ids), dtype=torch.bool)
        return torch.tensor([self._digest(i) in self.digests for i in ids.tolist()], dtype=torch.bool)

    def plus(self, ids: Iterable[int]) -> Tombstones:
        """The same, with these samples gone as well."""
        return Tombstones(self.key, self.digests | {self._digest(int(i)) for i in ids})

    def _digest(self, sample: int) -> Tombstone:
        digest = hashlib.blake2b(str(sample).encode(), key=self.key.encode(), digest_size=16)
        return Tombstone(digest.hexdigest())
