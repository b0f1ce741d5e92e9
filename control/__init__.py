"""The control plane: requests in, and the service put together."""
