"""Lays down the folder of a new paper, of the shape of the others, which runs at once."""
