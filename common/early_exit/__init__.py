"""Leaving a deep encoder early: rules on logits, simulated on collected logits or run for real with compaction."""
