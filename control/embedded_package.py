"""Where the private node's `rabbitmq-server` comes from: the distribution's package, installed if need be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from schemas.errors import FsheraldError

_SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_REMEDY: Final = (
    "install it with `sudo apt-get install rabbitmq-server`, or name a running broker in FSHERALD_AMQP_URL"
)

# Installing the package must not start the system-wide broker that comes with it, now or at the next boot.
_INSTALL: Final = """
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' >"$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
get() { apt-get -o DPkg::Lock::Timeout=120 -y -q "$@"; }
get install --no-install-recommends rabbitmq-server || {
  get update
  get install --no-install-recommends rabbitmq-server
}
systemctl disable rabbitmq-server.service epmd.socket epmd.service >/dev/null 2>&1 || true
"""


class EmbeddedBrokerError(FsheraldError):
    """The private RabbitMQ node could not be installed or started."""


def find() -> Path | None:
    """Return the distribution's `rabbitmq-server`, or None where it is not installed.

    The script behind the one in `/usr/sbin`, which insists on root or the user rabbitmq.
    """
    return _SERVER if os.access(_SERVER, os.X_OK) else None


def find_or_install(say: Callable[[str], None]) -> Path:
    """Return the distribution's `rabbitmq-server`; install the package where that needs no password.

    Blocks while apt works, a minute or so. The system-wide broker in the package is not started.

    Args:
        say: Told in one line each what is about to be done.

    Raises:
        EmbeddedBrokerError: Not installed and not installable from here; says what to do.
    """
    if (server := find()) is not None:
        return server
    if shutil.which("apt-get") is None:
        raise EmbeddedBrokerError(f"RabbitMQ is not installed: {_REMEDY}")
    prefix = _privilege()
    if prefix is None:
        raise EmbeddedBrokerError(f"RabbitMQ is not installed, and installing it takes root: {_REMEDY}")
    say("installing RabbitMQ from the distribution (apt-get install rabbitmq-server), about a minute")
    done = subprocess.run(
        [*prefix, "sh", "-c", _INSTALL],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    server = find()
    if done.returncode != 0 or server is None:
        raise EmbeddedBrokerError(f"apt-get could not install RabbitMQ:\n{tail(done.stdout)}\n{_REMEDY}")
    return server


def _privilege() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is not None:
        asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
        if asked.returncode == 0:
            return ["sudo", "-n"]
    return None


def tail(text: str, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    return "\n".join(text.strip().splitlines()[-lines:])
