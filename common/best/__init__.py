"""Which system to take for one task of one's own, at what loss and speed; and its folder."""
