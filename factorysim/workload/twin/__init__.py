"""Twins: a trace turned into statistics that draw sessions like its own."""
