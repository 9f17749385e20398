"""Fast-update and meta-update: the heart, the same for every algorithm."""
