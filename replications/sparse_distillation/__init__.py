"""Sparse Distillation (Ye et al., NAACL 2022): an n-gram student with a huge table and hardly any compute."""
