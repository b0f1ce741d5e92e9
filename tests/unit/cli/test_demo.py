"""The parts of the demonstration that need no broker."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from control import demo
from control.cli_options import Endpoint


def test_the_first_signal_interrupts_and_no_further_one():
    """A second Ctrl-C, from impatience, must not leave half of it running."""
    before = signal.getsignal(signal.SIGINT)
    with demo.Signals().installed():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGINT) is before


def test_no_signal_interrupts_the_clean_up():
    """After an error, too."""
    with demo.Signals().installed() as signals:
        signals.end()
        os.kill(os.getpid(), signal.SIGINT)


def test_the_environment_file_is_for_its_owner_and_a_shell(tmp_path: Path):
    """A URL holds a password; whatever is in it, a shell reads it back as it is."""
    url = "amqp://u:p'$(touch x)@127.0.0.1:1/"
    for _ in range(2):
        demo._write_environment(Endpoint(url, None, "ns", 1.0), tmp_path)
    env = tmp_path / "env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    script = f'. {shlex.quote(str(env))}; printf "%s %s" "$FSHERALD_AMQP_URL" "$FSHERALD_NAMESPACE"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{url} ns"


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    """Where a file stands in the way."""
    (tmp_path / "dropbox").write_text("")
    with pytest.raises(demo.DemoError, match="dropbox cannot be made"):
        demo._make_directories(tmp_path / "dropbox", tmp_path / "state")
