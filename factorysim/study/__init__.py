"""Studies over many runs: comparisons of factories on the same demand."""
