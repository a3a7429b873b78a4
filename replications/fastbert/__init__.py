"""FastBERT: a Self-distilling BERT with Adaptive Inference Time (Liu et al., ACL 2020)."""
