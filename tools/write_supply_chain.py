"""Write `sbom/dbpt-core.cdx.json` and the crates in LICENSE-THIRD-PARTY.md, from Cargo.lock and `cargo metadata`.

The same Cargo.lock gives the same bytes: the SBOM (CycloneDX 1.5) holds no time, random number or path. With `--check`
nothing is written, and the exit code is 1 if a file differs.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
SBOM, LICENCES = ROOT / "sbom/dbpt-core.cdx.json", ROOT / "LICENSE-THIRD-PARTY.md"
BEGIN, END = "<!-- crates, by tools/write_supply_chain.py -->\n", "<!-- end of crates -->\n"
COPYRIGHT = re.compile(r"^\W*copyright (?:\(c\) |© )?(\d{4}.*|.*\d{4}.*)$", re.IGNORECASE | re.MULTILINE)
METADATA = ["cargo", "metadata", "--format-version", "1", "--locked", "--features", "python"]


def crates() -> tuple[dict, list[dict], list[dict]]:
    """Return dbpt's crate, the crates in the extension, and those that only build it, each sorted by name."""
    metadata = json.loads(subprocess.run(METADATA, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    linked, built, waiting = set(), set(), [(root, True)]
    while waiting:
        crate, is_linked = waiting.pop()
        is_linked &= not any("proc-macro" in target["kind"] for target in packages[crate]["targets"])
        if crate in (linked if is_linked else linked | built):
            continue
        (linked if is_linked else built).add(crate)
        for dependency in nodes[crate]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]} - {"dev"}
            waiting += [(dependency["pkg"], is_linked and kind is None) for kind in kinds]
    for crate in linked | built:
        packages[crate]["license"] = packages[crate]["license"].replace("/", " OR ")
        packages[crate]["purl"] = f"pkg:cargo/{packages[crate]['name']}@{packages[crate]['version']}"

    def named(ids: set[str]) -> list[dict]:
        return sorted((packages[crate] for crate in ids), key=lambda crate: (crate["name"], crate["version"]))

    for crate in linked | built:
        uses = [packages[d["pkg"]]["purl"] for d in nodes[crate]["deps"] if d["pkg"] in linked | built]
        packages[crate]["uses"] = sorted(uses)
    return packages[root], named(linked - {root}), named(built - linked)


def sbom(root: dict, linked: list[dict], built: list[dict]) -> str:
    """Return the CycloneDX SBOM; crates that only build the extension have the scope `excluded`."""
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text("utf-8"))["package"]
    digests = {(crate["name"], crate["version"]): crate.get("checksum") for crate in locked}

    def component(crate: dict, scope: str) -> dict:
        return {
            "type": "library",
            "bom-ref": crate["purl"],
            "name": crate["name"],
            "version": crate["version"],
            "scope": scope,
            "hashes": [{"alg": "SHA-256", "content": digests[crate["name"], crate["version"]]}],
            "licenses": [{"expression": crate["license"]}],
            "purl": crate["purl"],
        }

    subject = {"type": "library", "bom-ref": root["purl"], "name": root["name"], "version": root["version"]}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": subject | {"licenses": [{"expression": root["license"]}]}},
        "components": [component(c, "required") for c in linked] + [component(c, "excluded") for c in built],
        "dependencies": [{"ref": c["purl"], "dependsOn": c["uses"]} for c in [root, *linked, *built]],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def copyrights(crate: dict) -> str:
    """Return the copyright lines of a crate's licence files, and the authors whom they don't name."""
    found: dict[str, None] = {}
    for path in sorted(Path(crate["manifest_path"]).parent.glob("*")):
        if path.is_file() and re.match("licen[cs]e|copying|copyright", path.name, re.IGNORECASE):
            lines = COPYRIGHT.findall(path.read_text("utf-8"))
            found |= dict.fromkeys(" ".join(line.split()).rstrip(".,").replace("|", "/") for line in lines)
    holders = [line.removesuffix(" or") for line in found if "{" not in line and "[" not in line]
    authors = (re.sub(r" *<.*>", "", author) for author in crate["authors"])
    holders += [author for author in authors if author not in "; ".join(holders)]
    return "; ".join(holders) or f"The {crate['name']} developers"


def licences(page: str, linked: list[dict], built: list[dict]) -> str:
    """Return the page with the table of linked crates and the list of the others."""
    lines = ["| crate | licence | copyright |", "|---|---|---|"]
    lines += [f"| {c['name']} {c['version']} | {c['license']} | {copyrights(c)} |" for c in linked]
    others = ", ".join(f"{c['name']} {c['version']} ({c['license']})" for c in built)
    before, rest = page.split(BEGIN)
    table = "\n".join(lines)
    return f"{before}{BEGIN}\n{table}\n\nUsed to build it, not in the result: {others}.\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    root, linked, built = crates()
    page = LICENCES.read_text("utf-8")
    files = {SBOM: sbom(root, linked, built), LICENCES: licences(page, linked, built)}
    stale = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv[1:] and stale:
        names = ", ".join(path.name for path in stale)
        sys.exit(f"{names}: not those of Cargo.lock; run python tools/write_supply_chain.py")
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[path], "utf-8")


if __name__ == "__main__":
    main()
