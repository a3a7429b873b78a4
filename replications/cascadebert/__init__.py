"""CascadeBERT: calibrated complete models in a cascade (Li et al., Findings of EMNLP 2021)."""
