"""Makes results.json and RESULTS.md of what fcgi-verify wrote about each peer: called by scripts/peers."""

import json
import platform
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
LEVELS = ["required", "recommended", "robustness", "implementation-defined"]


def main(folder):
    path = HERE / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results.update({name: result for name, result in read(folder)})
    results = dict(sorted(results.items()))
    path.write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "RESULTS.md").write_text(markdown(results))


def read(folder):
    host = f"{platform.system()} {platform.release()}"
    for skipped in folder.glob("*.skipped"):
        yield skipped.stem, {"skipped": skipped.read_text(), "date": str(date.today()), "host": host}
    for version in folder.glob("*.version"):
        report = json.loads((folder / f"{version.stem}.json").read_text())
        keep = ("name", "chapter", "section", "level", "outcome")
        cases = [{key: case[key] for key in keep} | detail(case) for case in report["cases"]]
        yield version.stem, {
            "version": version.read_text(),
            "date": str(date.today()),
            "host": host,
            # There is none where the run was stopped before the server had said what it is.
            "target": {key: value for key, value in (report["target"] or {}).items() if key != "address"},
            "cases": cases,
        } | stop(report)


def stop(report):
    """Why the run was stopped before its end, if it was, and how many cases were not run to theirs."""
    return {"stopped": report["stopped"], "not_run": len(report["not_run"])} if report["stopped"] else {}


def detail(case):
    """What a failure says, without the exchange behind it: fcgi-verify --case shows that."""
    return {"detail": first_line(case)} if case["outcome"] == "failed" else {}


def markdown(results):
    lines = [
        "# fcgi-verify on other implementations",
        "",
        "Made by `scripts/peers`; [README.md](README.md) explains the failures of required cases.",
        "Each cell: cases passed of those that were run and apply. Implementation-defined cases are reported, never",
        "failed; they are counted as seen. A run that was stopped before its end has cases that were not run.",
        "",
        "| peer | version | " + " | ".join(LEVELS) + " | not applicable | not run |",
        "|---|---|" + "---|" * (len(LEVELS) + 2),
    ]
    for name, result in results.items():
        lines.append(row(name, result))
    for level in ("required", "robustness"):
        lines += ["", f"## Failed {level} cases", ""]
        for name, result in results.items():
            failed = [case for case in result.get("cases", []) if case["level"] == level and case["outcome"] == "failed"]
            lines += [f"### {name}", ""]
            if "skipped" in result:
                lines += [f"Not checked: {result['skipped']}.", ""]
                continue
            if "stopped" in result:
                lines += [f"Stopped: {result['stopped']}. Cases not run: {result['not_run']}.", ""]
            if failed:
                lines += [line(case) for case in failed] + [""]
            elif "stopped" not in result:
                lines += ["None.", ""]
    return "\n".join(lines).rstrip() + "\n"


def row(name, result):
    if "skipped" in result:
        return f"| {name} | not checked: {result['skipped']} |" + " |" * (len(LEVELS) + 2)
    cells = []
    for level in LEVELS:
        of_level = [case for case in result["cases"] if case["level"] == level and case["outcome"] != "not-applicable"]
        passed = [case for case in of_level if case["outcome"] != "failed"]
        cells.append(f"{len(passed)} of {len(of_level)}")
    left = sum(case["outcome"] == "not-applicable" for case in result["cases"])
    return f"| {name} | {result['version']} | " + " | ".join(cells) + f" | {left} | {result.get('not_run', 0)} |"


def line(case):
    return f"- `{case['chapter']}/{case['name']}` ({case['section']}): {first_line(case)}"


def first_line(case):
    return next(iter(case.get("detail", "").splitlines()), "")


main(Path(sys.argv[1]))
