"""The factory as a graph: build, import, export, draw, compile, and plan a scenario on it."""
