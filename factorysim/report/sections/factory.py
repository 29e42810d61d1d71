"""The factory: its racks and fabric as they stand, coloured by how busy they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.errors import UserError
from factorysim.report.factory_page import factory_svg
from factorysim.report.factory_plan import picture_of_run
from factorysim.report.markup import tag
from factorysim.report.sections.section import Section, each, note

if TYPE_CHECKING:
    from markupsafe import Markup

    from factorysim.report.sections.section import Shown, View


def factory(view: View) -> Section:
    """Draw the factory of each run, planned again from its resolved scenario."""
    return Section("factory", "Factory", each(view, lambda one: _of_run(one, view.several)))


def _of_run(one: Shown, several: bool) -> Markup:
    try:
        found = picture_of_run(one.run)
    except UserError as error:
        why = note("What the scenario names is not there any more, or is another by now.")
        told = tag("pre", str(error), tabindex="0")
        return tag("div", tag("p", "Not drawn.", class_="empty"), why, told)
    label = f"The factory of {one.title}"
    name = f"factory{one.letter}"
    if several:  # side by side there is the room of a telephone for each
        return factory_svg(found.narrow, found.loads, name=name, label=label)
    return factory_svg(found.layout, found.loads, name=name, label=label, narrow=found.narrow)
