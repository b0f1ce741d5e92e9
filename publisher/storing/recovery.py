"""Opens the store, whatever became of its file: a damaged one is set aside and what can be read of it saved.

The new store is complete before anything is renamed, so that this may be cut off at any point and done again.
Nothing is ever deleted or overwritten: a damaged file stays beside the new one, for its owner to look at.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import structlog

from publisher.errors import DamagedStoreError, StoreError, StoreFullError
from publisher.storing.inspection import inspect
from publisher.storing.reserve import Reserve
from publisher.storing.salvage import salvage
from publisher.storing.sidecar import Sidecar
from publisher.storing.soundness import beside
from publisher.storing.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIDECAR_NAME = "monitors.json"
RESERVE_NAME = "reserve"
_SUFFIXES = ("", "-wal", "-shm")

T = TypeVar("T")

_log = structlog.get_logger(__name__)


def open_store(
    path: Path,
    *,
    durability: Literal["process", "power"] = "process",
    on_damaged: Callable[[BaseException], None] | None = None,
) -> Store:
    """The store of a service, sound; `Store.damage` tells what happened if it was not. Blocks until it is.

    Args:
        path: The file; a list of the monitors and the reserve stand beside it.
        durability: `power` syncs it to the disk with every transaction.
        on_damaged: Hears once that the file turned out to be damaged while in use.

    Raises:
        StoreError: It cannot be opened, is of another version, or there is no room for a new one.
    """
    reserve = Reserve(path.with_name(RESERVE_NAME))
    sidecar = Sidecar(path.with_name(SIDECAR_NAME))

    def opened() -> Store:
        return Store(path, durability=durability, reserve=reserve, sidecar=sidecar, on_damaged=on_damaged)

    _finish_replacing(path)
    try:
        _look(path, sidecar)
        return _with_room(opened, reserve)
    except DamagedStoreError as exc:  # that a look shows, or only the opening
        damage = _with_room(partial(_replace, path, str(exc), sidecar), reserve)
    store = _with_room(opened, reserve)
    store.damage = damage
    return store


def _look(path: Path, sidecar: Sidecar) -> None:
    suspect = beside(path, ".suspect")
    inspect(path, thoroughly=suspect.exists())
    suspect.unlink(missing_ok=True)
    if sidecar.read() and not (path.exists() and path.stat().st_size):
        msg = f"the store {path} is damaged: it is empty or missing, while there is a list of its monitors"
        raise DamagedStoreError(msg)


def _with_room(work: Callable[[], T], reserve: Reserve) -> T:
    try:
        return work()
    except StoreFullError:
        if not reserve.release():
            raise
        return work()


def _replace(path: Path, reason: str, sidecar: Sidecar) -> str:
    """Sets the damaged store aside and puts a new one with all that could be saved in its place."""
    part = beside(path, ".part")
    try:
        for suffix in _SUFFIXES:
            beside(part, suffix).unlink(missing_ok=True)
        Store(part).close()
        saved = salvage(path, part, sidecar.read())
        _sync(part)
        part.rename(beside(path, ".new"))
        aside = _finish_replacing(path)
    except (OSError, StoreError) as exc:
        msg = f"{reason}; and no new one could be made: {exc}; make room on that disk"
        raise (StoreFullError if _is_for_want_of_room(exc) else StoreError)(msg) from exc
    damage = f"{reason}; {saved}; the old one was set aside as {aside}"
    remedy = "consumers see a gap in the numbers where blocks are missing; the set-aside files may be deleted"
    _log.error(
        "the store was damaged",
        file=str(path),
        reason=reason,
        set_aside=str(aside),
        saved=str(saved),
        remedy=remedy,
    )
    return damage


def _finish_replacing(path: Path) -> Path | None:
    """Renames what is there out of the way of a new store that is complete; where it is now."""
    new = beside(path, ".new")
    if not new.exists():
        return None
    aside = _free_name(path)
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            beside(path, suffix).rename(beside(aside, suffix))
    new.rename(path)
    beside(path, ".suspect").unlink(missing_ok=True)
    _sync(path.parent)
    return aside


def _is_for_want_of_room(exc: Exception) -> bool:
    return isinstance(exc, StoreFullError) or getattr(exc, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def _free_name(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%S")
    names = (
        beside(path, f".damaged-{stamp}{more}") for more in ("", *(f"-{number}" for number in range(2, 100)))
    )
    return next(name for name in names if not any(beside(name, suffix).exists() for suffix in _SUFFIXES))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
