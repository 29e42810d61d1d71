"""Measurements of others as experiments of this simulator: read, understood, run, scored."""
