"""PABEE: BERT Loses Patience, Fast and Robust Inference with Early Exit (Zhou et al., NeurIPS 2020)."""
