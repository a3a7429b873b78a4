"""How a command is carried out: requests, steps, journal, artifact store, progress."""
