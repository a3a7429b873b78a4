"""Optimal Subarchitecture Extraction for BERT: Bort (de Wynter, Perry, 2020)."""
