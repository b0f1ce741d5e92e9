"""What can go wrong in the data plane, apart from the contract's own errors.

FsheraldError
└── PublisherError
    ├── StoreError            the state directory cannot be used
    │   ├── DamagedStoreError     the store's file is not what was written
    │   └── StoreFullError        its disk is full
    └── OutboxFullError       accepting the block would exceed the outbox's bound
"""

from __future__ import annotations

from schemas.errors import FsheraldError


class PublisherError(FsheraldError):
    """The data plane failed."""


class StoreError(PublisherError):
    """The store could not be read or written."""


class DamagedStoreError(StoreError):
    """The store's file is damaged."""


class StoreFullError(StoreError):
    """The disk of the state directory is full."""


class OutboxFullError(PublisherError):
    """The outbox has reached its bound."""
