"""TinyBERT (Jiao et al., Findings of EMNLP 2020)."""
