"""How long, how much: pure laws of time, memory and power, with their sources."""
