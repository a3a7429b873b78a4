"""A static page to look at, made from the records alone."""
