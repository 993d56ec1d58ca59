"""Packages a `weir` program: a wheel, a tarball, an SBOM (CycloneDX 1.6) and SHA256SUMS. `./dist` calls it.

It needs Python 3.11, cargo, and objdump of binutils. The bytes follow from the program, the repository and SOURCE_DATE_EPOCH alone:
entries are sorted, and have that time and a mode of 644 or 755.
"""

import base64
import email.message
import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])

# The name for pip. On PyPI, `weir` is another project.
NAME = "weir-events"
# DuckDB's command line, which `weir query` runs.
REQUIRES = "duckdb-cli>=1.4"
# What the tarball has beside the program and the SBOM.
TEXTS = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "proxy/haproxy.cfg"]
UNITS = ["systemd/weir.service", "systemd/weir-backup.service", "systemd/weir-backup.timer"]

# The libraries that every system has on which pip installs a manylinux wheel (PEP 600), as far as Rust uses any.
EVERYWHERE = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"}


def printed(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def wheel_platform(program):
    """Returns the wheel's platform: the machine and the oldest glibc that has every symbol which the program needs."""
    machine = platform.machine()
    needed = set(re.findall(r"NEEDED\s+(\S+)", printed("objdump", "-p", program)))
    strange = {library for library in needed - EVERYWHERE if not library.startswith("ld-linux")}
    if strange:
        sys.exit(f"./dist: {program} needs {', '.join(sorted(strange))}, which not every system has")
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", printed("objdump", "-T", program))
    if not versions:
        sys.exit(f"./dist: {program} is not linked with glibc, so no wheel for glibc can be named after it")
    major, minor = max((int(major), int(minor)) for major, minor in versions)
    return f"manylinux_{major}_{minor}_{machine}"


def package():
    """Returns the version and the description in Cargo.toml."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    return manifest["workspace"]["package"]["version"], manifest["package"]["description"]


def sbom(version, description):
    """Returns the SBOM: the packages that are compiled into the program or run while it is built, as cargo resolves them."""
    host = re.search(r"^host: (\S+)$", printed("rustc", "-vV"), re.MULTILINE)[1]
    tree = printed(
        *["cargo", "tree", "--locked", "--package", "weir", "--features", "aws", "--edges", "normal,build"],
        *["--target", host, "--prefix", "depth", "--format", "\t{p}\t{l}"],
    )
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock}
    components, needs, path = {}, {}, []
    for line in tree.splitlines():
        depth, package, licence = line.split("\t")
        name, number = package.split(" ")[:2]
        number = number.removeprefix("v")
        ref = f"pkg:cargo/{name}@{number}"
        path[int(depth) :] = [ref]
        needs.setdefault(ref, set())
        if len(path) > 1:
            needs[path[-2]].add(ref)
        component = {"type": "library", "bom-ref": ref, "name": name, "version": number, "purl": ref}
        # cargo marks a package that it listed before.
        licence = licence.removesuffix(" (*)").replace("/", " OR ")
        if licence:
            component["licenses"] = [{"expression": licence}]
        if checksums[name, number]:
            component["hashes"] = [{"alg": "SHA-256", "content": checksums[name, number]}]
        components[ref] = component
    weir = components.pop(f"pkg:cargo/weir@{version}")
    weir |= {"type": "application", "description": description}
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": when, "component": weir},
        "components": [components[ref] for ref in sorted(components)],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in sorted(needs)],
    }


def wheel(files):
    """Returns the bytes of a wheel with these files (name to bytes and mode), and its RECORD as the last one."""
    dist_info = next(name for name in files if name.endswith(".dist-info/WHEEL")).split("/")[0]
    digest = lambda data: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    rows = [f"{name},sha256={digest(data)},{len(data)}" for name, (data, _) in sorted(files.items())]
    record = "\n".join([*rows, f"{dist_info}/RECORD,,", ""]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, (data, mode) in [*sorted(files.items()), (f"{dist_info}/RECORD", (record, 0o644))]:
            # A ZIP archive knows no time before 1980.
            entry = zipfile.ZipInfo(name, time.gmtime(max(EPOCH, 315532800))[:6])
            entry.create_system, entry.external_attr = 3, (0o100000 | mode) << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=6)
    return out.getvalue()


def tarball(files):
    """Returns the bytes of a .tar.gz with these files (name to bytes and mode)."""
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", 6, out, EPOCH) as packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (data, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), mode, EPOCH
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def metadata(version, description):
    """Returns the wheel's METADATA: what pip shows, and what it installs besides."""
    fields = email.message.EmailMessage()
    for name, value in [
        ("Metadata-Version", "2.4"),
        ("Name", NAME),
        ("Version", version),
        ("Summary", description),
        ("License-Expression", "Apache-2.0 OR MIT"),
        *(("License-File", name) for name in TEXTS if name.startswith("LICENSE")),
        ("Requires-Python", ">=3.8"),
        ("Requires-Dist", REQUIRES),
    ]:
        fields[name] = value
    return str(fields).encode()


def main(program, to):
    program, to = pathlib.Path(program), pathlib.Path(to)
    version, description = package()
    system = wheel_platform(program)
    data = program.read_bytes()
    bom = (json.dumps(sbom(version, description), indent=1) + "\n").encode()
    texts = {name: ((ROOT / name).read_bytes(), 0o644) for name in TEXTS + UNITS}
    docs = {f"docs/{path.name}": (path.read_bytes(), 0o644) for path in (ROOT / "docs").glob("*.md")}
    images = {f"docs/images/{path.name}": (path.read_bytes(), 0o644) for path in (ROOT / "docs/images").iterdir()}

    stem = f"{NAME.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    tag = f"py3-none-{system}"
    about = f"Wheel-Version: 1.0\nGenerator: weir\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    in_wheel = {
        f"{stem}.data/scripts/weir": (data, 0o755),
        f"{info}/METADATA": (metadata(version, description), 0o644),
        f"{info}/WHEEL": (about, 0o644),
        f"{info}/sboms/weir.cdx.json": (bom, 0o644),
        **{f"{info}/licenses/{name}": text for name, text in texts.items() if name.startswith("LICENSE")},
    }
    folder = f"weir-{version}-linux-{platform.machine()}"
    in_tarball = {
        f"{folder}/{name}": file
        for name, file in {**texts, **docs, **images, "weir": (data, 0o755), "weir.cdx.json": (bom, 0o644)}.items()
    }
    made = {
        f"{stem}-{tag}.whl": wheel(in_wheel),
        f"{folder}.tar.gz": tarball(in_tarball),
        f"weir-{version}.cdx.json": bom,
    }
    sums = "".join(f"{hashlib.sha256(made[name]).hexdigest()}  {name}\n" for name in sorted(made))
    to.mkdir(parents=True, exist_ok=True)
    for name, content in {**made, "SHA256SUMS": sums.encode()}.items():
        (to / name).write_bytes(content)
        print(f"{len(content):>11,}  {to / name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
