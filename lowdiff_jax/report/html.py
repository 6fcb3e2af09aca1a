"""HTML elements, in which every text is escaped."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence


class Html(str):
  """Text that is HTML already."""


def element(name: str, *content: str, **attributes: str | float) -> Html:
  """An element; `class_` is its class, `text_anchor` its text-anchor."""
  written = "".join(
    f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
    for key, value in attributes.items()
  )
  return Html(f"<{name}{written}>{join(content)}</{name}>")


def join(parts: Iterable[str]) -> Html:
  """The parts, one after another."""
  return Html("".join(map(escaped, parts)))


def escaped(text: str) -> Html:
  """Text as HTML; HTML as it is."""
  return text if isinstance(text, Html) else Html(html.escape(text))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
  """A table that scrolls where it is too wide; numbers are on the right."""

  def row(cells: Sequence[str], name: str) -> Html:
    return element(
      "tr",
      *(
        element(name, cell, class_="number" if _is_number(cell) else "text")
        for cell in cells
      ),
    )

  head = element("tr", *(element("th", head) for head in heads))
  body = join(row(cells, "td") for cells in rows)
  whole = element("table", element("thead", head), element("tbody", body))
  return element("div", whole, class_="wide")


def _is_number(text: str) -> bool:
  return text[:1].isdigit() or (text[:1] in "-+" and text[1:2].isdigit())


def image(content: bytes, mime: str, text: str) -> Html:
  """An image in the page itself, and what it shows."""
  data = base64.b64encode(content).decode()
  return Html(
    f'<img src="data:{mime};base64,{data}" alt="{html.escape(text)}">'
  )


def definitions(rows: Mapping[str, str]) -> Html:
  """Names, and what each of them is."""
  return element(
    "dl",
    *(
      join((element("dt", name), element("dd", value)))
      for name, value in rows.items()
    ),
  )


def details(summary: str, *content: str) -> Html:
  """What is shown once its summary is clicked."""
  return element("details", element("summary", summary), *content)


def page(title: str, style: str, *content: str) -> str:
  """A page that loads nothing and runs nothing."""
  return (
    "<!doctype html>\n"
    '<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="default-src '
    "'none'; img-src data:; style-src 'unsafe-inline'\">"
    f"{element('title', title)}<style>{style}</style></head>\n"
    f"{element('body', element('main', *content))}</html>\n"
  )
