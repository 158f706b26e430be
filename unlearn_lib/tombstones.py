"""What a store still knows of the samples that it has forgotten: digests of their ids."""

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
    """Which samples are gone: enough to know a repeated request, and to leave them out of the next training.

    An id is kept as a digest under a random key of this store's own. So no id of a forgotten sample stands in
    the files, a search for one finds nothing, the same sample has another digest in every store, and no table
    made beforehand helps. But whoever holds the store *and can list the possible ids* can try them all in a
    moment, because the key lies beside the digests; and where ids are numbered without gaps, the gap alone
    says who is gone. A slower digest would not change that: opening a store tests every id of the data set,
    so anyone who can open it can try as many.
    """

    key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    digests: frozenset[Tombstone] = frozenset()

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Tombstones:
        """What `to_json` gave."""
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
        """These samples are gone as well."""
        return Tombstones(self.key, self.digests | {self._digest(int(i)) for i in ids})

    def _digest(self, sample: int) -> Tombstone:
        digest = hashlib.blake2b(str(sample).encode(), key=self.key.encode(), digest_size=16)
        return Tombstone(digest.hexdigest())
