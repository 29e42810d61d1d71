"""One replication of a run as a Perfetto trace, for ui.perfetto.dev."""

from __future__ import annotations

from factorysim.report.timeline.view import View as View
from factorysim.report.timeline.view import look as look
from factorysim.report.timeline.write import Timeline as Timeline
from factorysim.report.timeline.write import write_timeline as write_timeline
