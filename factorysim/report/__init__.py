"""Renders runs and comparisons for readers."""
