"""Before and after a run: why a number may be off, and what to do about it."""
