"""A Hugging Face ``config.json`` as an LLM of the catalog."""

from __future__ import annotations

from factorysim.load.huggingface.overlay import Imported as Imported
from factorysim.load.huggingface.overlay import import_llm as import_llm
