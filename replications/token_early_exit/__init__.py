"""Accelerating BERT Inference for Sequence Labeling via Early-Exit (Li et al., ACL 2021)."""
