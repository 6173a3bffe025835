"""How the report looks: its skeleton and its style sheet. Light, dark, narrow and on paper."""

from string import Template

PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
"""
)

STYLE = """\
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --line: #dfe3e8; --text: #1b2330; --soft: #5a6575;
  --good: #11693a; --good-back: #e3f4e9; --warn: #8a5300; --warn-back: #fdf1d9;
  --bad: #a81d1d; --bad-back: #fce8e6; --plain: #46505f; --plain-back: #eceff3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10141a; --card: #181e26; --line: #2b3440; --text: #e7ebf0; --soft: #9aa6b5;
    --good: #6fd69a; --good-back: #14301f; --warn: #f0bd63; --warn-back: #33260d;
    --bad: #ff9a8f; --bad-back: #3c1917; --plain: #b6c0cc; --plain-back: #242c36;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .35rem 0 .25rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p { margin: .25rem 0; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.soft { color: var(--soft); }
.good { --ink: var(--good); --back: var(--good-back); }
.warn { --ink: var(--warn); --back: var(--warn-back); }
.bad { --ink: var(--bad); --back: var(--bad-back); }
.plain { --ink: var(--plain); --back: var(--plain-back); }
.hero { background: var(--card); border: 1px solid var(--line); border-left: .4rem solid var(--ink);
  border-radius: .6rem; padding: 1.1rem 1.4rem 1.2rem; }
.mark { display: inline-block; color: var(--ink); background: var(--back); border-radius: 1rem; padding: .05rem .65rem;
  font-size: .86rem; font-weight: 600; white-space: nowrap; }
.mark::before { margin-right: .4em; font-weight: 700; }
.good.mark::before { content: "\\2713"; }
.warn.mark::before { content: "!"; }
.bad.mark::before { content: "\\2717"; }
.todo { margin: .9rem 0 0; padding: .7rem 1rem; color: var(--ink); background: var(--back); border-radius: .45rem; }
.todo ul { margin: .2rem 0 0; padding-left: 1.1rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .75rem; margin: 1rem 0 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem 1rem .8rem; }
.facts dt { color: var(--soft); font-size: .86rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.facts .value { color: var(--ink); font-size: 1.25rem; font-weight: 650; line-height: 1.35; }
.facts .value.plain { color: var(--text); }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; border-spacing: 0; }
th, td { text-align: left; vertical-align: top; padding: .5rem .8rem; border-top: 1px solid var(--line);
  overflow-wrap: break-word; }
thead th { border-top: 0; color: var(--soft); font-size: .84rem; font-weight: 500; white-space: nowrap; }
tbody th { font-weight: 600; min-width: 12rem; }
tbody small { display: block; color: var(--soft); font-size: .84rem; font-weight: 400; }
td:empty::after { content: "\\2013"; color: var(--soft); }
.words { margin: .5rem 0 0; padding: 0; list-style: none; color: var(--soft); font-size: .88rem; }
.line { list-style: none; margin: 0; padding: .9rem 1.2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
.line li { display: grid; grid-template-columns: 6.5rem 1fr auto; gap: .2rem 1rem; padding: .2rem 0; }
.line .at { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; }
time { font-variant-numeric: tabular-nums; }
footer { margin-top: 2.2rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .88rem; overflow-wrap: anywhere; }
@media (max-width: 44rem) {
  main { padding: 1rem .75rem 2rem; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, th, td { display: block; }
  tbody tr { border-top: 1px solid var(--line); padding: .55rem .9rem; }
  tbody tr:first-child { border-top: 0; }
  tbody th, tbody td { border: 0; min-width: 0; padding: .12rem 0; display: grid; grid-template-columns: 6.5rem 1fr;
    gap: .6rem; justify-items: start; }
  tbody th::before, tbody td::before { content: attr(data-label); color: var(--soft); font-weight: 400;
    font-size: .88rem; }
  td:empty { display: none; }
  .line li { grid-template-columns: 5rem 1fr; }
  .line time { grid-column: 2; }
}
@media print {
  :root { --page: #fff; --card: #fff; --line: #c4c9d0; --text: #000; --soft: #444; --good: #11693a; --warn: #8a5300;
    --bad: #a81d1d; --plain: #333; --good-back: #fff; --warn-back: #fff; --bad-back: #fff; --plain-back: #fff; }
  @page { margin: 15mm; }
  body { font-size: 9pt; }
  tbody th { min-width: 0; }
  main { max-width: none; padding: 0; }
  .facts { grid-template-columns: repeat(3, 1fr); }
  .mark, .todo { border: 1px solid var(--ink); }
  tr, .hero, .facts div, .line li { break-inside: avoid; }
  h2 { break-after: avoid; }
}
"""
