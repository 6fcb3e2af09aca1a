"""A headless Chromium: Debian's, what CHROMIUM names, or Playwright's own."""

import contextlib
import os
import shutil

import pytest
from playwright.sync_api import Error, sync_playwright

# Widths of a laptop's and of a phone's window.
LAPTOP, PHONE = 1280, 390
# Milliseconds that a page may take beside other tests.
PATIENCE = 120_000


@contextlib.contextmanager
def chromium():
  """Yields Playwright's browser; the test is skipped where there is none."""
  names = ("chromium", "chromium-browser", "google-chrome")
  path = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, names)), None
  )
  with sync_playwright() as playwright:
    # Root has no sandbox.
    flags = ["--no-sandbox", "--disable-gpu"]
    try:
      browser = playwright.chromium.launch(executable_path=path, args=flags)
    except Error as error:
      if path or "Executable doesn't exist" not in str(error):
        raise
      pytest.skip("no Chromium: playwright install chromium, or set CHROMIUM")
    yield browser
    browser.close()


def opened(browser, address, width=LAPTOP, **context):
  """A page at an address, and the list of the errors that it logs."""
  size = {"width": width, "height": 900}
  page = browser.new_context(viewport=size, **context).new_page()
  page.set_default_timeout(PATIENCE)
  errors = []
  page.on("pageerror", lambda error: errors.append(str(error)))
  page.on(
    "console",
    lambda said: errors.append(said.text) if said.type == "error" else None,
  )
  page.goto(address)
  return page, errors


def fits(page):
  """Whether nothing of the page is wider than the window."""
  return page.evaluate(
    "document.documentElement.scrollWidth <= window.innerWidth"
  )
