"""`python -m control` is `fsherald`."""

from __future__ import annotations

from control.cli import main

main()
