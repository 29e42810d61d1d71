"""DEMAND: session types, trace readers, synthetic agents, arrivals."""
