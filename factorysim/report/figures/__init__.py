"""Figures for papers: a module for each, from a chart to a matplotlib `Figure`.

`public` is what Python users call ``factorysim.figures``; it is a module of its own, since
functions of a package would be hidden by its modules of the same names.
"""

from __future__ import annotations

from factorysim.report.figures import public as public
