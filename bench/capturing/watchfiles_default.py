"""watchfiles as its documentation shows it: `python -m bench.capturing.watchfiles_default ROOT MODE`.

It notes files that were added: nothing tells it that one was closed.
"""

from __future__ import annotations

import sys

from watchfiles import Change, watch

from bench.capturing.tally import Tally


def main(root: str, mode: str) -> None:
    tally = Tally(mode)
    for changes in watch(root):
        for change, path in changes:
            if change == Change.added:
                tally.note(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
