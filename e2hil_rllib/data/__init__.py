"""From steps of environments and robots to minibatches of transitions."""
