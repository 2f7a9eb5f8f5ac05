"""Data: transitions, episodes and replay, between sampled steps and minibatches."""
