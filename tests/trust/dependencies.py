"""dependencies.py: holds Cargo.lock to deny.toml without a network: licences, two versions of one crate, where crates come
from; and to a list of what the shared library may link. Advisories need their database: `cargo deny check`, which is run
where cargo-deny is installed."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parent.parent.parent
# All that the shared library links, with its default features. A new one has to earn its bytes.
LINKED = {
    "librasp": "itself",
    "rasp-kernels": "its arithmetic",
    "half": "16-bit numbers",
    "cfg-if": "of half",
    "zerocopy": "of half",
    "libc": "threads and the file system, on Unix",
    "memmap2": "maps a file",
    "safetensors": "what a file is, at its core",
    "serde": "reads JSON into structs",
    "serde_core": "of serde",
    "serde_json": "JSON",
    "hashbrown": "of safetensors",
    "foldhash": "of hashbrown",
    "allocator-api2": "of hashbrown",
    "equivalent": "of hashbrown",
    "itoa": "of serde_json",
    "memchr": "of serde_json",
    "zmij": "of serde_json",
    "tempfile": "of safetensors, for writing files, which nobody calls; so are the next",
    "bitflags": "",
    "errno": "",
    "fastrand": "",
    "getrandom": "",
    "linux-raw-sys": "",
    "once_cell": "",
    "rustix": "",
    "r-efi": "",
    "windows-link": "",
    "windows-sys": "",
    "crunchy": "of half, on targets of no use to us",
    "llguidance": "constraints: it compiles them and says which tokens may come",
    "toktrie": "of llguidance: the vocabulary as a tree",
    "derivre": "of llguidance: regular expressions by derivatives, for its lexer",
    "regex-syntax": "of derivre and llguidance: parses regular expressions, with Unicode's tables",
    "bytemuck": "of derivre and toktrie: plain bytes as numbers",
    "strum": "of derivre: names of its enum's variants",
    "indexmap": "of llguidance and serde_json: a schema's properties keep their order",
    "anyhow": "of llguidance: its errors",
}


def allowed(expression, licences):
    """Whether one of the alternatives is made of licences that are allowed. `/` is an old way to say OR."""
    expression = expression.replace("/", " OR ")
    while "(" in expression:
        inner = re.search(r"\(([^()]*)\)", expression)
        verdict = "MIT" if allowed(inner.group(1), licences) else "none"
        expression = expression.replace(inner.group(0), verdict, 1)
    alternatives = re.split(r"\s+OR\s+", expression.strip())
    return any(all(part.strip() in licences for part in re.split(r"\s+AND\s+", one)) for one in alternatives)


def main():
    policy = tomllib.loads((ROOT / "deny.toml").read_text())
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    packages = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)["packages"]
    failures, versions = [], {}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        versions.setdefault(package["name"], []).append(package["version"])
        if not allowed(package["license"] or "none", set(policy["licenses"]["allow"])):
            failures.append(f"{name}: its licence is {package['license']}")
        source = package["source"]
        if source is not None and not source.startswith("registry+https://github.com/rust-lang/crates.io-index"):
            failures.append(f"{name}: it comes from {source}")
        if source is None:
            wild = [d["name"] for d in package["dependencies"] if d["req"] == "*" and d.get("path") is None]
            failures.extend(f"{name}: any version of {dependency} will do" for dependency in wild)
    excused = {(skip["crate"].split("@") + [""])[0]: skip for skip in policy["bans"]["skip"]}
    several = {name: found for name, found in versions.items() if len(found) > 1}
    for name, found in several.items():
        if name not in excused:
            failures.append(f"{name}: {len(found)} versions, {', '.join(sorted(found))}")
    failures.extend(f"{name}: excused for nothing in deny.toml" for name in excused if name not in several)
    tree = ["cargo", "tree", "-p", "librasp", "--edges", "normal,no-proc-macro", "--prefix", "none", "--locked"]
    tree += ["--format", "{p}", "--target", "all"]
    lines = subprocess.run(tree, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    linked = {line.split()[0] for line in lines if line.strip()}
    for name in sorted(linked - LINKED.keys()):
        failures.append(f"{name}: linked into the shared library, and not in the list of tests/trust/dependencies.py")
    if shutil.which("cargo-deny"):
        outcome = subprocess.run(["cargo", "deny", "check"], cwd=ROOT, capture_output=True, text=True)
        if outcome.returncode != 0:
            failures.append(outcome.stderr)
    for failure in failures:
        print(failure)
    print(f"{len(packages)} packages, {len(linked)} linked into the library, {len(failures)} failures")
    return len(failures) > 0


if __name__ == "__main__":
    sys.exit(main())
