"""When things happen: the only package that imports SimPy."""
