"""What is drawn of a run, as numbers: pages and figures draw the same ones.

Each module is one chart: a function from a run to what it shows, with labels and units.
Nothing here knows of pixels, colours or files.
"""
