"""Clients that share no code with fsherald: what anyone could write from docs/protocol.md."""
