"""A sweep over sessions in flight as files: points, figure, and what they came from."""

from __future__ import annotations

import platform
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorysim.report.pareto_figure import draw_pareto
from factorysim.study.pareto import SCHEMA, Estimate, as_json

if TYPE_CHECKING:
    import pyarrow as pa

    from factorysim.study.pareto import Factory, Pareto

FIGURES = ("pareto.png", "pareto.svg")


def write_pareto(found: Pareto, out: Path, wall_s: float) -> None:
    """Write points as Parquet, CSV and JSON, the figure as PNG and SVG, and a manifest.

    Parameters
    ----------
    out
        A directory; an earlier sweep there is replaced once the new one is whole.

    Raises
    ------
    OutputError
        If the place cannot be written, or holds other things.
    """
    from factorysim.load import dump_scenario
    from factorysim.store import (
        file_hash,
        publish,
        staging,
        table_hash,
        write_json,
        write_table,
        write_text,
    )
    from factorysim.store.folder import writing

    with staging(out) as staged:
        table = points_table(found)
        write_table(staged / "points.parquet", table)
        write_text(staged / "points.csv", _csv(table))
        write_json(staged / "pareto.json", as_json(found))
        for name in FIGURES:
            with writing(staged / name):
                draw_pareto(found, staged / name)
        texts = {one.name: dump_scenario(one.scenario) for one in found.factories}
        for name, text in texts.items():
            write_text(staged / f"{name}.resolved.yaml", text)
        write_json(
            staged / "manifest.json",
            {
                "schema": SCHEMA,
                **_made_by(),
                "scenarios": [_scenario(one, texts[one.name]) for one in found.factories],
                "seed": found.seed,
                "replications": found.replications,
                "calls": found.calls,
                "interrupted": found.interrupted,
                "wall_s": wall_s,
                "outputs": {
                    "points": table_hash(staged / "points.parquet"),
                    **{name: file_hash(staged / name) for name in ("points.csv", "pareto.json")},
                },
            },
        )
        publish(staged, out)


def _made_by() -> dict[str, str]:
    import factorysim
    from factorysim.run.publish import cpu_name

    return {
        "factorysim": factorysim.__version__,
        "python": sys.version.split()[0],
        "os": platform.platform(),
        "cpu": cpu_name(),
    }


def _scenario(one: Factory, text: str) -> dict[str, Any]:
    from factorysim.catalog import load_catalog
    from factorysim.run.publish import catalog_hash

    overlay = Path(one.scenario.catalog) if one.scenario.catalog else None
    return {
        "name": one.name,
        "question": one.question,
        "sha256": sha256(text.encode()).hexdigest(),
        "catalog_sha256": catalog_hash(load_catalog(overlay)),
    }


def points_table(found: Pareto) -> pa.Table:
    """Lay points and what could not be measured out in rows; intervals in columns of their own."""
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    for point in found.points:
        row: dict[str, Any] = {}
        for key, value in point._asdict().items():
            if isinstance(value, Estimate):
                row |= {key: value.value, f"{key}_low": value.low, f"{key}_high": value.high}
            else:
                row[key] = value
        rows.append(row)
    rows += [one._asdict() for one in found.refused]
    names = list(dict.fromkeys(key for row in rows for key in row if key != "reason"))
    columns = {name: [row.get(name) for row in rows] for name in [*names, "reason"]}
    return pa.table({name: _column(values) for name, values in columns.items()})


def _column(values: list[Any]) -> pa.Array[Any]:
    import pyarrow as pa

    if any(isinstance(value, str) for value in values):
        return pa.array(values, pa.string())
    if any(isinstance(value, float) for value in values):
        return pa.array(values, pa.float64())
    if any(isinstance(value, bool) for value in values):
        return pa.array(values, pa.bool_())
    if any(isinstance(value, int) for value in values):
        return pa.array(values, pa.int64())
    return pa.array(values, pa.float64())


def _csv(table: pa.Table) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in table.to_pylist():
        writer.writerow(["" if value is None else value for value in row.values()])
    return text.getvalue()
