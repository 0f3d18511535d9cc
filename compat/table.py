"""The table of clients in README.md, from what a run of compat/run printed.

  table.py check OUT [--all]    fails where README.md says other clients or flows than passed; versions may differ
  table.py write OUT [--all]    writes the rows of the clients that ran; with --all, takes away those that did not

OUT is the folder with a file per client. A row has the client's title (`# client: ` in its file), the version that it
printed, and its flows: what stands before the colon in its `ok FLOW: case` lines, in their order."""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- clients: written by compat/run --write -->", "<!-- clients end -->"
HEAD = ["| client | version | flows, bytes compared |", "|---|---|---|"]


def seen(out):
    """title → (version, flows) of each client that ran, and the titles of those that ran in part only."""
    rows, partial = {}, set()
    for path in sorted(HERE.glob("clients/*")):
        printed = out / path.name.split(".")[0]
        if not printed.exists():
            continue
        # What Sediment is a client of has no row.
        if re.search(r"^# server: .+$", path.read_text(), re.M):
            continue
        title = re.search(r"^(?:#|//) client: (.+)$", path.read_text(), re.M)
        if not title:
            sys.exit(f"{path} has no line `# client: TITLE`")
        lines = printed.read_text(errors="replace").splitlines()
        version = next((line.split(maxsplit=1)[1] for line in lines if re.match(r"version \S", line)), "?")
        passed = dict.fromkeys(line[3:].split(":")[0] for line in lines if line.startswith("ok "))
        if any(line.startswith("not run: ") for line in lines):
            partial.add(title[1])
        failed = {line[7:].split(":")[0] for line in lines if line.startswith("FAILED ")}
        # A flow with a case that failed has not passed.
        rows[title[1]] = (version, ", ".join(flow for flow in passed if flow not in failed))
    return rows, partial


def parts(text):
    """README.md before, between and after the two markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"README.md must have the lines `{BEGIN}` and `{END}` once")
    before, rest = text.split(BEGIN)
    between, after = rest.split(END)
    return before, between, after


def stated(between):
    rows = {}
    for line in between.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and line != HEAD[0]:
            rows[cells[0]] = (cells[1], cells[2])
    return rows


def check(ran, partial, whole):
    says = stated(parts(README.read_text())[1])
    wrong = []
    for title, (_, flows) in ran.items():
        if title not in says:
            wrong.append(f"{title} is not in README.md's table")
        elif title in partial and set(flows.split(", ")) <= set(says[title][1].split(", ")):
            continue
        elif says[title][1] != flows:
            wrong.append(f"{title}: README.md says `{says[title][1]}`, but what passed is `{flows}`")
    if whole:
        wrong += [f"{title} is in README.md's table, but there is no such client" for title in says if title not in ran]
    for line in wrong:
        print(f"FAILED {line}")
    if wrong:
        sys.exit("once they pass, `compat/run --write` brings README.md up to date")
    print(f"ok {len(ran)} clients as README.md says")


def write(ran, partial, whole):
    if partial:
        sys.exit(f"some flows were not run, of {', '.join(sorted(partial))}: README.md stays as it is")
    before, between, after = parts(README.read_text())
    rows = ran if whole else stated(between) | ran
    lines = [f"| {title} | {version} | {flows} |" for title, (version, flows) in sorted(rows.items(), key=lambda row: row[0].lower())]
    README.write_text(f"{before}{BEGIN}\n" + "\n".join(HEAD + lines) + f"\n{END}{after}")
    print(f"wrote {len(ran)} clients into README.md")


mode, out, whole = sys.argv[1], pathlib.Path(sys.argv[2]), "--all" in sys.argv[3:]
{"check": check, "write": write}[mode](*seen(out), whole)
