"""The Right Tool for the Job (Schwartz et al., ACL 2020)."""
