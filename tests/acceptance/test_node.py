"""A client in another language: Node's amqplib, from docs/protocol.md alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from tests.acceptance.conftest import Site


def test_a_client_in_another_language_works_from_the_protocol_alone(
    shared_site: Site, folder: Path, node_client: Path
) -> None:
    """Create, bind, start, receive, read bytes, be refused, destroy."""
    command = ["node", str(node_client), shared_site.url, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    monitor = seen["monitor"]
    path = f"{folder}/from-node.bin"
    event = {"fileId": path, "baseName": "from-node.bin"}
    assert seen["started"] == "Started"
    assert [block["body"] for block in seen["blocks"]] == [
        {"monitorId": monitor, "sequence": 1, "events": [{**event, "type": "Create"}]},
        {"monitorId": monitor, "sequence": 2, "events": [{**event, "type": "Delete"}]},
    ]
    assert [block["key"] for block in seen["blocks"]] == [f"{monitor}.create", f"{monitor}.delete"]
    assert [block["messageId"] for block in seen["blocks"]] == [f"{monitor}:1", f"{monitor}:2"]
    assert all(block["persistent"] for block in seen["blocks"])
    assert seen["blocks"][0]["headers"] == {
        "schema": 1,
        "monitorId": monitor,
        "sequence": 1,
        "eventCount": 1,
    }
    assert seen["read"] == {"type": "application/octet-stream", "version": "string", "same": True}
    assert seen["sha1"] == hashlib.sha1(bytes(number % 256 for number in range(1000))).hexdigest()
    assert seen["errors"] == [
        [-32000, "no-such-monitor"],
        [-32000, "path-not-allowed"],
        [-32000, "not-found"],
        [-32602, "invalid-params"],
        [-32601, "method-not-found"],
    ]
