"""The factory: its racks and fabric as they stand, coloured by how busy they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.factory_page import factory_svg
from factorysim.report.factory_plan import picture_of_run
from factorysim.report.markup import tag
from factorysim.report.planned_again import NotPlanned
from factorysim.report.sections.section import Section, each, note

if TYPE_CHECKING:
    from markupsafe import Markup

    from factorysim.report.sections.section import Shown, View


def factory(view: View) -> Section:
    """Draw the factory of each run, planned again from its resolved scenario."""
    return Section("factory", "Factory", each(view, lambda one: _of_run(one, view.several)))


def _of_run(one: Shown, several: bool) -> Markup:
    found = picture_of_run(one.run)
    if isinstance(found, NotPlanned):
        told = tag("pre", found.details, tabindex="0") if found.details else None
        why = note(f"The factory is not kept in a run, and not planned again: {found.reason}.")
        return tag("div", tag("p", "Not drawn.", class_="empty"), why, told)
    label = f"The factory of {one.title}"
    name = f"plan{one.letter}"
    if several:  # side by side there is the room of a telephone for each
        return factory_svg(found.narrow, found.loads, name=name, label=label)
    return factory_svg(found.layout, found.loads, name=name, label=label, narrow=found.narrow)
