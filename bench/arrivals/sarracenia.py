"""Sarracenia's `sr3 watch` with a home of its own: what its documentation says to write there, and how it is run.

It is configured as its guides do for a directory on one machine: files are announced by `file:` for local use, names
that end in .tmp are those of unfinished files, and changes are looked for every tenth of a second. It announces a file
when that was made or changed, with its SHA-512, in transactions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

PROGRAMS = Path(sys.prefix) / ".sarracenia/bin"
"""Of the environment that it is installed into: it brings a package `tests` along, which would stand before ours."""

CONFIGURATION = """\
post_broker {broker}
post_exchange {exchange}
post_baseUrl file:
path {directory}
sleep 0.1
reject .*\\.tmp$
accept .*
"""


def is_installed() -> bool:
    """Whether it can be run here."""
    return (PROGRAMS / "sr3").exists()


def without_password(url: str) -> str:
    """An AMQP URL as configurations have it: the password is in the credentials, found by the rest."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=user.partition(":")[0] + at + host).geturl()


def make_home(home: Path, url: str, exchange: str, directory: Path) -> dict[str, str]:
    """Writes credentials and a configuration; returns the environment to run it in."""
    settings = home / ".config/sr3"
    (settings / "watch").mkdir(parents=True)
    (settings / "credentials.conf").write_text(f"{url}\n")
    (settings / "watch/arrival.conf").write_text(
        CONFIGURATION.format(broker=without_password(url), exchange=exchange, directory=directory)
    )
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }


def command() -> list[str]:
    """The process that `sr3 foreground watch/arrival` would start, without the one that waits for it."""
    return [str(PROGRAMS / "python"), "-m", "sarracenia.instance", "--no", "0", "foreground", "watch/arrival"]
