"""The installed wheel works outside the repository, and carries what it needs."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from factorysim.resources import resource_names

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def run(*command, cwd):
    """Run a command away from the repository; its output, or a failure that shows it."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    told = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Bin folder of a new environment: our wheel, and the dependencies of this one."""
    place = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", place / "dist")
    run(sys.executable, *build, ROOT, cwd=place)
    (wheel,) = (place / "dist").glob("factorysim-*.whl")
    venv.create(place / "env", with_pip=False)
    python = place / "env" / "bin" / "python"
    # A .pth line adds a folder but reads no .pth inside: the editable install stays out.
    site = sysconfig.get_path("purelib", vars={"base": str(place / "env")})
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", wheel, cwd=place)
    return python.parent


def test_the_package_is_the_installed_one(installed, tmp_path):
    where = run(
        installed / "python", "-c", "import factorysim; print(factorysim.__file__)", cwd=tmp_path
    )
    assert where.startswith(str(installed.parent))


@pytest.mark.parametrize("kind", ["topologies", "scenarios"])
def test_the_wheel_carries_topologies_and_scenarios(installed, tmp_path, kind):
    code = f"from factorysim.resources import *; print(*resource_names({kind!r}), sep='\\n')"
    assert run(installed / "python", "-c", code, cwd=tmp_path).split() == resource_names(kind)
    assert resource_names(kind)


def test_the_command_works_and_the_catalog_ships(installed, tmp_path):
    assert "catalog" in run(installed / "factorysim", "--help", cwd=tmp_path)
    racks = json.loads(
        run(installed / "factorysim", "catalog", "list", "racks", "--json", cwd=tmp_path)
    )
    assert "vera_rubin_nvl72" in [rack["id"] for rack in racks]


def test_a_shipped_scenario_is_found_by_its_name(installed, tmp_path):
    resolved = run(installed / "factorysim", "show", "quickstart", "--format", "yaml", cwd=tmp_path)
    assert "factorysim.scenario/1" in resolved


def test_the_template_of_a_page_ships(installed, tmp_path):
    check = ("check", "--only", "theory.max-min", "--page", "page.html")
    run(installed / "factorysim", *check, cwd=tmp_path)
    assert "rows hold" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_types_and_licence_ship(installed):
    site = next(installed.parent.glob("lib/python*/site-packages"))
    assert (site / "factorysim" / "py.typed").exists()
    assert list(site.glob("factorysim-*.dist-info/licenses/LICENSE"))
