"""Builds the Debian package: the program with all it needs, for the system's own Python.

    python -m deb.build [--arch arm64] [--out dist]

What is in it beside the program is what requirements.lock names, wheels with the hashes given
there, unpacked into /usr/lib/p2pnode, where nothing but `p2pnode` looks. Extension modules fit one
minor version of Python, so the package depends on exactly that one. Another architecture than this
machine's can be built as long as wheels exist for it.

The same sources, lock file and wheels give the same bytes: times are those of SOURCE_DATE_EPOCH,
or of the last commit.
"""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from string import Template

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deb.manual import pages
from p2pnode import __version__
from p2pnode.config import SYSTEM
from p2pnode.service import unit

ROOT = Path(__file__).parents[1]
EXTRAS = ("lan", "tor", "ble", "scan")
LIBRARY = Path("usr/lib/p2pnode")
PLATFORMS = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's name of an architecture → Python's."""

LAUNCHER = """\
#!/usr/bin/python3 -IBS
import sys

sys.path.insert(0, "/usr/lib/p2pnode")

from p2pnode.__main__ import main

main()
"""
"""Isolated: neither the environment, nor the user's or the system's packages can change it."""

COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/p2pnode",
    "zsh": "usr/share/zsh/vendor-completions/_p2pnode",
    "fish": "usr/share/fish/vendor_completions.d/p2pnode.fish",
}

PIP_TRACES = ("direct_url.json", "INSTALLER", "RECORD", "REQUESTED")
"""What pip notes beside a package; it differs from machine to machine, and nobody reads it here."""

UNUSED = ("bin", "share", "apsw/sqlite_extra_binaries", "apsw/tests")
"""What the wheels bring that nothing here calls: scripts, other manual pages, SQLite's tools."""

DOCUMENTS = ("README.md", "SECURITY.md", "CHANGELOG.md")


def build(out: Path, arch: str) -> Path:
    """Build the package for an architecture; return its file."""
    os.umask(0o022)
    tag = f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory(prefix="p2pnode-deb-") as place:
        tree = Path(place) / "tree"
        _install_packages(tree / LIBRARY, Path(place), arch)
        _write(tree / "usr/bin/p2pnode", LAUNCHER, 0o755)
        _write(tree / "lib/systemd/system" / unit.NAME, unit_text())
        for shell, where in COMPLETIONS.items():
            _write(tree / where, completion(shell))
        for name, text in pages().items():
            _write_compressed(tree / "usr/share/man/man1" / f"{name}.gz", text)
        _documents(tree / "usr/share/doc/p2pnode", tree / LIBRARY)
        _control(tree, arch, tag)
        _settle(tree)
        out.mkdir(parents=True, exist_ok=True)
        made = out / f"p2pnode_{__version__}_{arch}.deb"
        _run(
            "dpkg-deb", "--root-owner-group", "--uniform-compression", "-Zxz", "--build",
            str(tree), str(made),
        )  # fmt: skip
    return made


def unit_text() -> str:
    """Return the machine's unit, for the program where the package puts it."""
    command = unit.arguments(["/usr/bin/p2pnode"], "system", SYSTEM, named=False)
    return unit.text("system", command, SYSTEM)


def completion(shell: str) -> str:
    """Return the completion script of a shell."""
    words = [sys.executable, "-m", "p2pnode", "completion", shell]
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def needed() -> set[str]:
    """Return the names of all packages the program needs at run time, with its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first = list(project["dependencies"])
    for extra in EXTRAS:
        first += project["optional-dependencies"][extra]
    found: dict[str, set[str]] = {}

    def add(wanted: str, extras: set[str]) -> None:
        one = Requirement(wanted)
        asked = [one.marker.evaluate({"extra": extra}) for extra in extras] if one.marker else [1]
        if not any(asked):
            return
        name = canonicalize_name(one.name)
        if name in found and one.extras <= found[name]:
            return
        found.setdefault(name, set()).update(one.extras)
        try:
            below = requires(name) or []
        except PackageNotFoundError:
            sys.exit(f"{name} is not in this environment: make .venv/ready")
        for line in below:
            add(line, {"", *one.extras})

    for line in first:
        add(line, {""})
    return set(found)


def locked(names: set[str]) -> Iterator[str]:
    """Yield the entries of requirements.lock for some packages, hashes included."""
    missing = set(names)
    entry: list[str] = []
    for line in [*(ROOT / "requirements.lock").read_text().splitlines(), ""]:
        if not line.startswith(" ") and entry:
            name = canonicalize_name(entry[0].partition("==")[0])
            if name in names:
                missing.discard(name)
                yield "\n".join(entry)
            entry = []
        if line and not line.startswith("#"):
            entry.append(line)
    if missing:
        sys.exit(f"requirements.lock does not name {', '.join(sorted(missing))}")


def _install_packages(target: Path, place: Path, arch: str) -> None:
    """Unpack the program and what it needs into a directory."""
    lock, wheels = place / "lock.txt", place / "wheels"
    lock.write_text("\n".join(locked(needed())) + "\n")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    here = _output("dpkg", "--print-architecture")
    if arch == here:
        _run(*pip, "wheel", "--no-deps", "--require-hashes", "-w", str(wheels), "-r", str(lock))
    else:
        _foreign_wheels(pip, lock, wheels, PLATFORMS[arch])
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT))
    found = sorted(str(path) for path in wheels.glob("*.whl"))
    other = [] if arch == here else _platform(PLATFORMS[arch])
    _run(*pip, "install", "--no-index", "--no-deps", "--no-compile", "--target", str(target),
         *other, *found)  # fmt: skip
    for name in UNUSED:
        shutil.rmtree(target / name, ignore_errors=True)
    for name in PIP_TRACES:
        for path in target.glob(f"*.dist-info/{name}"):
            path.unlink()


def _platform(machine: str) -> list[str]:
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    kinds = [f"manylinux_2_{minor}_{machine}" for minor in range(36, 16, -1)]
    kinds += [f"manylinux2014_{machine}"]
    words = [word for kind in kinds for word in ("--platform", kind)]
    return [*words, "--python-version", version, "--only-binary=:all:"]


def _foreign_wheels(pip: Sequence[str], lock: Path, wheels: Path, machine: str) -> None:
    """Fetch wheels for another machine; what is there as source alone must be pure Python."""
    for entry in lock.read_text().replace("\\\n", " ").splitlines():
        one = lock.with_name("one.txt")
        one.write_text(entry + "\n")
        fetch = [*pip, "download", "--no-deps", "--require-hashes", "-d", str(wheels)]
        words = [*fetch, *_platform(machine), "-r", str(one)]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            _run(*pip, "wheel", "--no-deps", "--require-hashes", "-w", str(wheels), "-r", str(one))
    strange = [path.name for path in wheels.glob("*.whl") if not _fits(path.name, machine)]
    if strange:
        sys.exit(f"no wheels for {machine}: {', '.join(strange)}")


def _fits(name: str, machine: str) -> bool:
    return name.endswith(("-any.whl", f"{machine}.whl"))


def _documents(place: Path, library: Path) -> None:
    for name in DOCUMENTS:
        _write(place / name, (ROOT / name).read_text())
    for path in sorted((ROOT / "docs").rglob("*.md")):
        _write(place / "docs" / path.relative_to(ROOT / "docs"), path.read_text())
    _write(place / "copyright", _copyright(library))
    when = _output("date", "-uR", "-d", f"@{moment()}")
    _write_compressed(
        place / "changelog.gz",
        f"p2pnode ({__version__}) unstable; urgency=medium\n\n"
        "  * What has changed for people who use it is in CHANGELOG.md.\n\n"
        f" -- {MAINTAINER}  {when}\n",
    )


COPYRIGHT_FORMAT = "https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
MAINTAINER = "The p2pnode founders <p2pnode@localhost>"


def _copyright(library: Path) -> str:
    """Return who holds which rights, from the packages' own metadata."""
    told = [
        f"Format: {COPYRIGHT_FORMAT}\nUpstream-Name: p2pnode\n",
        "Files: *\nCopyright: the p2pnode founders\nLicense: Apache-2.0\n",
    ]
    for path in sorted(library.glob("*.dist-info")):
        one = distribution(path.name.partition("-")[0]).metadata
        if one["Name"] == "p2pnode":
            continue
        rights = one.json.get("license_expression") or one.json.get("license") or ""
        rights = rights if isinstance(rights, str) else " ".join(rights)
        if not rights or "\n" in rights or len(rights) > 60:
            kinds = [line for line in one.get_all("Classifier") or [] if "License ::" in line]
            rights = ", ".join(line.rpartition(":: ")[2] for line in kinds) or "see its metadata"
        author = one.json.get("author") or one.json.get("author_email") or "its authors"
        author = author if isinstance(author, str) else ", ".join(author)
        told.append(
            f"Files: /{LIBRARY}/{path.name.partition('-')[0]}*\n"
            f"Copyright: {' '.join(author.split())}\nLicense: {rights}\n"
            f"Comment: {one['Name']} {one['Version']}; its texts are in"
            f" /{LIBRARY}/{path.name} where it brings any\n"
        )
    told.append(
        "License: Apache-2.0\n On Debian systems the whole text is in"
        " /usr/share/common-licenses/Apache-2.0.\n"
    )
    return "\n".join(told)


def _control(tree: Path, arch: str, tag: str) -> None:
    place = tree / "DEBIAN"
    major, minor = tag.split(".")
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    fields = {
        "version": __version__,
        "arch": arch,
        "size": size,
        "python": f"python3 (>= {tag}), python3 (<< {major}.{int(minor) + 1})",
        "maintainer": MAINTAINER,
    }
    text = Template((ROOT / "deb/control").read_text()).substitute(fields)
    _write(place / "control", text)
    for script in ("postinst", "prerm", "postrm"):
        _write(place / script, (ROOT / "deb" / script).read_text(), 0o755)
    sums = "".join(
        f"{_output('md5sum', str(path)).split()[0]}  {path.relative_to(tree)}\n"
        for path in sorted(tree.rglob("*"))
        if path.is_file() and "DEBIAN" not in path.relative_to(tree).parts
    )
    _write(place / "md5sums", sums)


def moment() -> int:
    """Return the Unix time that all of the package bears."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdecimal():
        return int(given)
    return int(_output("git", "-C", str(ROOT), "log", "-1", "--format=%ct"))


def _settle(tree: Path) -> None:
    """Give everything one time, and the modes it should have."""
    when = moment()
    os.environ["SOURCE_DATE_EPOCH"] = str(when)
    for path in [*tree.rglob("*"), tree]:
        runs = path.is_dir() or (path.parent.name in {"bin", "DEBIAN"} and path.stat().st_mode & 1)
        path.chmod(0o755 if runs else 0o644)
        os.utime(path, (when, when))


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _write_compressed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _run(*words: str) -> None:
    done = subprocess.run(words, check=False)
    if done.returncode:
        sys.exit(f"{words[0]} failed with {done.returncode}")


def _output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Build, and print where the package is."""
    if shutil.which("dpkg-deb") is None:
        sys.exit("dpkg-deb is missing: the package can only be built on Debian and its kin")
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument(
        "--arch", choices=PLATFORMS, default=_output("dpkg", "--print-architecture")
    )
    options.add_argument("--out", type=Path, default=ROOT / "dist")
    given = options.parse_args()
    print(build(given.out, given.arch))


if __name__ == "__main__":
    main()
