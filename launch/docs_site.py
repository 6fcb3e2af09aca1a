"""A hook of MkDocs: the pages at the top of the repository join those of docs/.

README.md is the first page. Links into docs/ and to files that are no pages are
rewritten.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
  "README.md": "index.md",
  "CONTRIBUTING.md": "CONTRIBUTING.md",
  "CHANGELOG.md": "CHANGELOG.md",
  "SECURITY.md": "SECURITY.md",
}
_TO_DOCS = re.compile(r"\]\(docs/")
_TO_NO_PAGE = re.compile(r"\[([^]]*)\]\((CITATION\.cff|LICENSE)\)")


def on_files(files: Files, config: Any) -> Files:
  """Adds the pages; MkDocs calls it."""
  for source, page in PAGES.items():
    text = _TO_DOCS.sub("](", (ROOT / source).read_text())
    text = _TO_NO_PAGE.sub(r"\1", text)
    files.append(File.generated(config, page, content=text))
  return files
