"""An executor from the address of a scheduler, for commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unlearn_lib import check

__all__ = ["executor_of"]

PATIENCE = 10.0  # seconds until a scheduler must have answered


@contextmanager
def executor_of(scheduler: str | None) -> Iterator[Any]:
    """The executor of a Dask cluster, by the address of its scheduler; None where there is no address.

    Raises:
        ImportError: Dask is missing.
        OSError: there is no scheduler at this address.
    """
    if scheduler is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            'a scheduler needs Dask: python -m pip install "unlearn-lessons[cluster]"'
        ) from error
    client: Any = Client  # untyped
    with client(check.text("scheduler", scheduler), timeout=PATIENCE) as found:
        yield found.get_executor()
