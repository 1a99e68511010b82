"""The look of a report: on light and dark screens and on paper, without any other file."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --text: #1c2430; --soft: #5b6675; --line: #dde2e8; --page: #ffffff; --panel: #f5f7f9; --accent: #0f766e;
  --bar: #0f766e24; --warn: #92600a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4e8ee; --soft: #98a3b1; --line: #2d3540; --page: #12161b; --panel: #1a2027; --accent: #2dd4bf;
    --bar: #2dd4bf2b; --warn: #e0b060;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 28px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 4px; padding-top: 18px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 24px 0 6px; }
.note { color: var(--soft); margin: 0 0 14px; max-width: 76ch; }
ul.note { margin-top: 10px; padding-left: 20px; }
.missing { color: var(--warn); margin: 8px 0; }
.missing::before { content: "– "; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 18px; }
.tiles div { background: var(--panel); border-radius: 8px; padding: 10px 16px; min-width: 110px; }
.tiles b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 8px 0 4px; font-size: 14px; }
th, td { text-align: left; padding: 7px 12px; border-bottom: 1px solid var(--line); vertical-align: baseline; }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
td { font-variant-numeric: tabular-nums; }
th.group { text-align: right; color: var(--text); border-bottom: none; padding-bottom: 0; }
.number { text-align: right; white-space: nowrap; }
th.number { white-space: normal; vertical-align: bottom; }
td.files { font-size: 12px; white-space: nowrap; }
td.warn { color: var(--warn); font-weight: 600; }
td.best, td .best { font-weight: 700; color: var(--accent); }
table.scores th:first-child, table.scores td:first-child { position: sticky; left: 0; background: var(--page); }
table.scores { table-layout: fixed; min-width: calc(100px + var(--columns) * 176px); }
table.scores th:first-child { width: 124px; }
table.scores td:first-child { overflow-wrap: anywhere; }
table.models { min-width: calc(220px + var(--columns) * 120px); }
table.models th:first-child { width: 260px; }
td small { color: var(--soft); font-weight: 400; font-size: 12px; }
.share { background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share)); }
figure { margin: 12px 0 18px; }
figure img { display: block; max-width: 100%; height: auto; }
figure.wide img { width: 100%; }
figure.slices { display: grid; grid-template-columns: 108px 1fr; gap: 12px; align-items: center; margin: 4px 0; }
figure.slices img { width: 100%; border-radius: 4px; background: #000; }
figure.sheet img { border-radius: 4px; background: #fff; }
a { color: var(--accent); }
code { font: 13px ui-monospace, Consolas, monospace; overflow-wrap: anywhere; }
figcaption { color: var(--soft); font-size: 13px; margin-bottom: 5px; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; font-size: 13px; color: var(--soft); margin: 4px 0 10px; }
.legend i { display: inline-block; width: 18px; height: 0; border-top: 3px solid; }
.legend i { margin-right: 6px; vertical-align: middle; }
@media print {
  :root { --text: #000; --soft: #444; --line: #ccc; --page: #fff; --panel: #f3f3f3; --accent: #000; --bar: #0000001c; }
  main { max-width: none; padding: 0; }
  body { font-size: 11px; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2, h3, .note, .legend { break-after: avoid; }
  figure, tr, .tiles { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 10px; }
  th, td { padding: 4px 6px; }
  th, td small { font-size: 9px; }
  .number { white-space: normal; }
  table.scores { min-width: 0; }
  table.scores th:first-child { width: 90px; }
}
"""
