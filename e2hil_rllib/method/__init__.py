"""The equations of the method: pure functions of tensors, without Ray."""
