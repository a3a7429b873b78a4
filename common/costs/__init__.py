"""What models cost, in closed form: FLOPs, parameters, memory, expected seconds."""
