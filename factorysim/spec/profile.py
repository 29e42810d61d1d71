"""Profiles of a week that ship, with where they come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from factorysim.spec.agent import Evidence, Sourced
from factorysim.spec.arrivals import ProfileSpec


class ProfileFile(Sourced):
    """How busy the hours of a week are, as somebody measured it."""

    schema_: Literal["factorysim.profile/1"] = Field(alias="schema")
    evidence: Evidence
    profile: ProfileSpec
