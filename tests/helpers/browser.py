"""Debian's Chromium without a window, and what the tests of pages ask of it."""

import shutil
from contextlib import contextmanager
from pathlib import Path

PACKAGES = "needs Debian's chromium and chromium-driver: apt-get install chromium chromium-driver"


def programs():
    """Chromium and its driver, or None where either is missing."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    return None if None in found else found


@contextmanager
def running_browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(browser)
    finally:
        browser.quit()


class Browser:
    """A browser with one page at a time. Args: driver: selenium's."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1280):
        """Opens a file. Returns: the addresses that were asked for."""
        self.width(width)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)  # what was before is forgotten
        self.driver.get(Path(path).as_uri())
        return self.requests()

    def requests(self):
        import json

        found = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [each["params"]["request"]["url"] for each in found if each["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def width(self, width):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def cdp(self, command, **settings):
        return self.driver.execute_cdp_cmd(command, settings)

    def js(self, code, *arguments):
        """What an expression in JavaScript gives."""
        return self.driver.execute_script(f"return ({code})", *arguments)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    @contextmanager
    def media(self, media="", scheme="light"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.cdp("Emulation.setEmulatedMedia", media=media, features=features)
        try:
            yield
        finally:
            self.cdp("Emulation.setEmulatedMedia", media="", features=[])
