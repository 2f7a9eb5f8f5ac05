"""From a minibatch to a gradient step: the module, the learner and what bounds its updates."""
