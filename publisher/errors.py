"""What can go wrong in the data plane, apart from the contract's own errors.

FsheraldError
└── PublisherError
    ├── StoreError        the state directory cannot be used
    └── OutboxFullError   accepting the block would exceed the outbox's bound
"""

from __future__ import annotations

from schemas.errors import FsheraldError


class PublisherError(FsheraldError):
    """The data plane failed."""


class StoreError(PublisherError):
    """The store could not be read or written."""


class OutboxFullError(PublisherError):
    """The outbox has reached its bound."""
