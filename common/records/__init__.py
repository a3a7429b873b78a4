"""What a run leaves behind, and what is concluded from it: measurements, predictions, statistics, verdicts."""
