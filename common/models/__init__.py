"""Classifiers on encoders: heads, saving and loading."""
