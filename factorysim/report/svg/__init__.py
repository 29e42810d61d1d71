"""Building blocks of charts as inline SVG: scales, axes, lines, bars, intervals.

They take numbers and give elements with classes; how classes look (colours, dashes, light and
dark, print) is said in ``templates/report.css`` alone.
"""
