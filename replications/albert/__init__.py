"""ALBERT (Lan et al., ICLR 2020)."""
