"""watchfiles as its documentation shows it, printing every change: `python -m bench.losses.watchfiles_child ROOT`."""

from __future__ import annotations

import sys

from watchfiles import watch

from bench.losses.lines import write


def main(root: str) -> None:
    for changes in watch(root):
        write((change.name, path) for change, path in changes)


if __name__ == "__main__":
    main(*sys.argv[1:])
