"""What a model costs: FLOPs, parameters, memory, and time as a ratio against a baseline."""
