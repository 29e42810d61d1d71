"""A browser without a screen: pages as their readers meet them, and what goes wrong there."""

import os
from pathlib import Path
from shutil import which

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip
GRAVE = ("serious", "critical")


def missing():
    """Say what a machine lacks to open pages, if it does."""
    lacking = [name for name in ("chromium", "chromedriver") if which(name) is None]
    try:
        import selenium  # noqa: F401
    except ImportError:
        lacking.append("selenium")
    return lacking


def axe_script():
    """Find the script of axe-core, which `.ci/run` installs; None: it is not there."""
    named = os.environ.get("FACTORYSIM_AXE")
    place = Path(named) if named else ROOT / "node_modules" / "axe-core" / "axe.min.js"
    return place.read_text(encoding="utf-8") if place.is_file() else None


class Browser:
    """One Chromium for all tests of a session."""

    def __init__(self, profile):
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = which("chromium")
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = Service(which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(120)

    def open(self, path, width=1280, scheme="light"):
        """Open a page of a width, for readers who like it light or dark; empty the logs before."""
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self._tell("Emulation.setDeviceMetricsOverride", width=width, height=900,
                   deviceScaleFactor=1, mobile=width < 500)  # fmt: skip
        self._tell("Emulation.setEmulatedMedia",
                   features=[{"name": "prefers-color-scheme", "value": scheme},
                       {"name": "prefers-reduced-motion", "value": "reduce"}])  # fmt: skip
        self.driver.get(Path(path).resolve().as_uri())

    def _tell(self, command, **settings):
        self.driver.execute_cdp_cmd(command, settings)

    def run(self, script, *words):
        """Evaluate JavaScript in the page."""
        return self.driver.execute_script(script, *words)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def press(self, *keys):
        """Press keys where the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def errors(self):
        """What the page complained of since it was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """Addresses that were asked for since the page was opened."""
        import json

        sent = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in sent
                 if m["method"] == "Network.requestWillBeSent"]  # fmt: skip
        return asked + self.run("return performance.getEntriesByType('resource').map(e => e.name)")

    def violations(self, axe):
        """What axe-core finds that keeps people out: rule, element, and why."""
        self.driver.set_script_timeout(120)
        self.run(axe)
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']})"
            ".then((r) => done(r.violations), (e) => done([{id: String(e), impact: 'critical',"
            " nodes: []}]));"
        )
        return [
            (
                one["id"],
                [(node["html"][:200], node.get("failureSummary")) for node in one["nodes"][:3]],
            )
            for one in found
            if one["impact"] in GRAVE
        ]

    def close(self):
        self.driver.quit()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Give the browser; skip where something is missing, and say what."""
    lacking = missing()
    if lacking:
        pytest.skip(f"pages are not opened: no {', no '.join(lacking)}")
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def axe():
    """Give the script of axe-core; skip where it is missing."""
    script = axe_script()
    if script is None:
        pytest.skip("accessibility is not checked: no node_modules/axe-core (npm install axe-core)")
    return script
