"""RLlink: the server for RLlib's own external clients."""
