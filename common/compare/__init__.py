"""Every method on the same tasks, backbone and clock: which one wins where."""
