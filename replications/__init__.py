"""One self-contained folder per paper; each imports `common` and never another paper."""
