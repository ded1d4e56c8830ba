"""A bill of materials (CycloneDX 1.5) of the binaries: every crate that is linked into one, as Cargo.lock pins it.
`sbom.py VERSION > sbom.json`."""

import json
import subprocess
import sys


def metadata():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def linked(graph, roots):
    """The packages that are reached from the binaries without build and test dependencies."""
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    seen, todo = set(), list(roots)
    while todo:
        package = todo.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    return seen


def component(package):
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    entry = {"type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl}
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return entry


def main(version):
    graph = metadata()
    ours = set(graph["workspace_members"])
    roots = [package["id"] for package in graph["packages"] if package["id"] in ours and "/services/" in package["manifest_path"]]
    used = linked(graph, roots)
    components = [component(package) for package in graph["packages"] if package["id"] in used - ours]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "hero", "version": version}},
        "components": sorted(components, key=lambda each: each["bom-ref"]),
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
