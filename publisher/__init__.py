"""The data plane: from a change on disk to a confirmed message on the broker."""
