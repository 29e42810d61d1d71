"""Readers of recorded demand: a module for each format."""
