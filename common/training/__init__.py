"""Fitting models: batches bucketed by length, one loop that can be interrupted, fine-tuned classifiers."""
