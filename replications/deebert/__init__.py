"""DeeBERT: Dynamic Early Exiting for Accelerating BERT Inference (Xin et al., ACL 2020)."""
