"""The style of a report: light and dark, for wide and narrow screens."""

# Colours of curves that stay apart in both schemes, also for the colour-blind.
COLOURS = 8

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #1b1f27; --soft: #5c6675;
  --line: #d9dee5; --accent: #1f5fbf;
  --c0: #1f6fd1; --c1: #d1661f; --c2: #1f9468; --c3: #b0408f;
  --c4: #8a7408; --c5: #5b51c7; --c6: #b53a3a; --c7: #3c7d92;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12151b; --panel: #1a1f27; --ink: #e7eaf0; --soft: #9ba6b5;
    --line: #2f3743; --accent: #7fb0ff;
    --c0: #6ba8f7; --c1: #f39a5c; --c2: #55c79a; --c3: #e080c3;
    --c4: #d3bb4c; --c5: #a49cf5; --c6: #ee8383; --c7: #78bdd2;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
p.note, figcaption, .legend, .axis { color: var(--soft); }
p.note { font-size: .9rem; }
code { font: .85em ui-monospace, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .75rem 0; }
a { color: var(--accent); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem;
  font-size: .85rem; margin: .25rem 0 0; }
.legend span::before { content: ""; display: inline-block; width: 1rem;
  height: .25rem; border-radius: 1px; margin-right: .4rem;
  vertical-align: middle; background: var(--own); }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; min-width: 0; }
.charts figure { background: var(--panel); border: 1px solid var(--line);
  border-radius: .5rem; padding: .75rem; }
figcaption { font-size: .85rem; }
.charts figcaption { color: var(--ink); font-weight: 600; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 12px; fill: var(--soft); }
svg path { fill: none; stroke: var(--own); stroke-width: 2;
  stroke-linejoin: round; }
svg path.grid { stroke: var(--line); stroke-width: 1; }
svg circle { fill: var(--own); stroke: var(--panel); stroke-width: 1; }
svg .faint { opacity: .4; }
.pictures { display: flex; flex-wrap: wrap; gap: .75rem;
  padding-bottom: .5rem; align-items: flex-start; }
.pictures.small { flex-wrap: nowrap; overflow-x: auto; }
.pictures figure { flex: 0 0 auto; }
img { display: block; max-width: min(100%, 34rem); max-height: 34rem;
  border-radius: .25rem; background: #fff; }
.pictures.small img { max-height: 16rem; max-width: 80vw; }
.wide { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem .3rem 0; text-align: left;
  vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td.number, td:first-child { white-space: nowrap; }
td.text { min-width: 6rem; overflow-wrap: anywhere; }
td b { font-weight: 600; }
.default { color: var(--soft); }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--accent); }
dl { display: grid; grid-template-columns: max-content 1fr;
  gap: .1rem 1rem; font-size: .9rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
@media (max-width: 36rem) {
  main { padding: 1rem .75rem 3rem; }
  th, td { padding-right: .5rem; font-size: .8rem; }
  td:first-child { white-space: normal; overflow-wrap: anywhere; }
  td.text { min-width: 5.25rem; }
  .pictures img { max-width: 88vw; max-height: 26rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .4rem; }
}
@media print { details > * { display: block; } }
"""
