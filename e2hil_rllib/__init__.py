"""E2HiL: entropy-guided sample selection for human-in-the-loop reinforcement learning on RLlib."""
