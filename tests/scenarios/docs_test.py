"""The generated references are current, and the completions are valid shell."""
import os
import pathlib
import subprocess
import sys
import tempfile

CONSORT = os.environ["CONSORT"]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([CONSORT, "docs", folder], check=True)
        fresh = {p.relative_to(folder): p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file()}
    reference = ROOT / "docs/reference"
    kept = {p.relative_to(reference): p.read_bytes() for p in reference.rglob("*") if p.is_file() and p.name != "api.md"}
    for name in sorted(set(fresh) | set(kept)):
        if fresh.get(name) != kept.get(name):
            problems.append(f"docs/reference/{name} is stale: ./dev docs")
    bash = subprocess.run([CONSORT, "completions", "bash"], capture_output=True, text=True, check=True).stdout
    if subprocess.run(["bash", "-n"], input=bash, text=True).returncode != 0:
        problems.append("the bash completions do not parse")
    for site in sorted((ROOT / "examples/shop").glob("site-*.jsonnet")):
        text = site.read_text()
        if "consort.libsonnet" not in text and "shop.libsonnet" not in text:
            problems.append(f"{site} imports nothing")
    print("\n".join(problems))
    print(f"{0 if problems else 1} passed, {1 if problems else 0} failed")
    return 1 if problems else 0


sys.exit(main())
