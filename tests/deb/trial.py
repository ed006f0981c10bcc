"""The package's life on a bare Debian machine, with real people's nodes beside it.

    make test-deb

Installs the package with apt, and lets the machine's own systemd run the unit, hardening and all:
inert before `init`, unlock, pair, message, restart locked, carry, lock, credential, watchdog, tor,
backup, restore, upgrade, remove, purge; then looks what is left. As root; some minutes. Prints a
transcript.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from p2pnode import schema
from tests import daemons
from tests.daemons import Daemon, delivered, homes, texts
from tests.deb.box import Box, kept_root
from tests.namespaces import Network
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
SECRET = "canary passphrase of the shed"
TEXT = "canary-text"
BEGAN = time.monotonic()

LEFT_BY_OTHERS = re.compile(
    r"^/(var/(lib/(dpkg|apt|systemd|dbus|pam|private|python|tor)|log|cache|tmp|spool)"
    r"|run|tmp|proc|sys|dev|root|home/pi"
    r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$"
    r"|etc/(rc.\.d|ld\.so\.cache|alternatives|machine-id|resolv\.conf|\.pwd\.lock|hostname)"
    r"|etc/(ssl/certs|ca-certificates\.conf|inputrc|python3|runit|apparmor\.d/local/system_tor)"
    r"|etc/systemd/system/.*\.wants/(?!p2pnode)"
    r"|usr/(lib/python3|local/(lib/python|share/ca)|share/(mime|info|python3)))"
)
"""What Debian itself and the packages that came along leave: books, logs, certificates, Python."""


def say(text: str) -> None:
    """Print one line of the transcript."""
    print(f"[{time.monotonic() - BEGAN:5.0f} s] {text}", flush=True)


def show(words: str, told: str) -> None:
    """Print a command and what it said."""
    print(f"    {words}")
    for line in told.strip().splitlines():
        print(f"    {line}")
    sys.stdout.flush()


class Shed(Box):
    """The box, with a person `pi` who may use its node."""

    def pi(self, *words: str, code: int = 0) -> str:
        """Run p2pnode as that person."""
        told = self.run("runuser", "-u", "pi", "--", "p2pnode", *words, code=code)
        if "--json" not in words:
            show(f"pi$ p2pnode {' '.join(words)}", told)
        return told

    def root_does(self, *words: str, code: int = 0) -> str:
        """Run something as root, and show it."""
        told = self.run(*words, code=code)
        show(f"root# {' '.join(words)}", told)
        return told

    def status(self) -> dict[str, object]:
        """Return the node's status."""
        found: dict[str, object] = json.loads(self.pi("status", "--json"))
        return found

    def unit(self, name: str) -> str:
        """Return a property of the unit."""
        return self.run("systemctl", "show", "-P", name, "p2pnode.service").strip()


def pair(shed: Shed, person: Daemon) -> None:
    """Pair the box with a person outside."""
    words = shed.command("runuser", "-u", "pi", "--", "p2pnode", "pair", "show", "--json",
                         "--accept")  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as shows:
        assert shows.stdout is not None
        code = json.loads(shows.stdout.readline())["uri"]
        joined = person.lines("pair", "join", code, "--accept")
        events = [json.loads(line)["event"] for line in shows.stdout]
    assert joined[-1]["event"] == "paired"
    assert "paired" in events


def until(what: str, check: object, patience: float = PATIENCE) -> None:
    """Wait until something outside of our reach has happened."""
    end = time.monotonic() + patience
    while not check():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.2)


def files(root: Path) -> set[str]:
    """Return every path of a file system that is not mounted into it."""
    words = ["find", str(root), "-xdev", "-not", "-type", "d", "-printf", "/%P\n"]
    words += ["-o", "-xdev", "-type", "d", "-empty", "-printf", "/%P\n"]
    return set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\n"))


def install(shed: Shed, package: Path) -> None:
    """Install the package with all it asks for."""
    (shed.root / "var/p2pnode.deb").write_bytes(package.read_bytes())
    shed.offline("apt-get", "-q", "update")
    shed.offline("apt-get", "-q", "install", "-y", "/var/p2pnode.deb")
    (shed.root / "var/p2pnode.deb").unlink()


def newer(package: Path, place: Path) -> Path:
    """Return the same package under a higher version."""
    tree, made = place / "newer", place / "newer.deb"
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+next", control.read_text(), flags=re.M))
    words = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(tree), str(made)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return made


def life(shed: Shed, ana: Daemon, cy: Daemon, net: Network) -> None:
    """Do everything a person does with the machine's node."""
    say("before init the unit is inert")
    shed.root_does("systemctl", "start", "p2pnode")
    assert shed.unit("ActiveState") == "inactive"
    assert shed.unit("ConditionResult") == "no"
    assert not (shed.root / "var/lib/p2pnode").exists()

    say("init, and start")
    shed.run("useradd", "--create-home", "--shell", "/bin/sh", "pi")
    shed.run("sh", "-c", f"umask 077; echo '{SECRET}' > /root/secret")
    shed.root_does(
        "p2pnode", "init", "--system", "--name", "shed", "--passphrase-file", "/root/secret"
    )
    assert "sudo systemctl start p2pnode" in shed_talk(shed)
    shed.root_does("p2pnode", "service", "install", "--system")
    shed.root_does("usermod", "-aG", "p2pnode", "pi")
    assert shed.unit("ActiveState") == "active"
    until("a status", lambda: "locked" in shed.unit("StatusText"))
    show("root# systemctl status p2pnode", f"Status: {shed.unit('StatusText')}")
    assert shed.status()["locked"]

    say("the process is fenced in")
    main = shed.unit("MainPID")
    fence = shed.run(
        "grep", "-E", "^(Uid|NoNewPrivs|Seccomp|CapEff|CapBnd):", f"/proc/{main}/status"
    )
    show(f"root# cat /proc/{main}/status", fence)
    assert re.search(r"NoNewPrivs:\s1", fence)
    assert re.search(r"Seccomp:\s2", fence)
    assert re.search(r"CapEff:\s0{16}", fence)
    modes = shed.run("stat", "-c", "%a %U %G %n", "/run/p2pnode", "/run/p2pnode/api.sock",
                     "/var/lib/p2pnode", "/etc/p2pnode")  # fmt: skip
    show("root# stat", modes)
    assert "750 p2pnode p2pnode /run/p2pnode\n" in modes
    assert "660 p2pnode p2pnode /run/p2pnode/api.sock" in modes
    assert "700 p2pnode p2pnode /var/lib/p2pnode" in modes
    shed.run("runuser", "-u", "nobody", "--", "p2pnode", "status", code=9)

    say("completion and manual pages are there")
    told = shed.run("env", "_P2PNODE_COMPLETE=bash_complete", "COMP_WORDS=p2pnode sta",
                    "COMP_CWORD=1", "p2pnode")  # fmt: skip
    assert told.strip() == "plain,status"
    for path in shed.run("dpkg", "-L", "p2pnode").split("\n"):
        assert not path.endswith(".pyc"), path
    shed.run("test", "-s", "/usr/share/man/man1/p2pnode-send.1.gz")
    shed.run("test", "-s", "/usr/share/bash-completion/completions/p2pnode")

    say("unlock, pair, message")
    shed.run("install", "-o", "pi", "-m", "600", "/root/secret", "/home/pi/secret")
    shed.pi("unlock", "--passphrase-file", "/home/pi/secret")
    pair(shed, ana)
    pair(shed, cy)
    told = json.loads(shed.pi("send", "ana", TEXT, "--wait", "delivered", "--json"))
    assert told["state"] == "delivered"
    delivered(ana, [ana.lines("send", "shed", f"{TEXT} back")[0]["id"]])
    delivered(cy, [cy.lines("send", "shed", f"{TEXT} of cy")[0]["id"]])
    assert f"{TEXT} back" in shed.pi("history", "ana")
    shed.pi("status")

    say("restart: locked, and it carries for others")
    shed.root_does("systemctl", "restart", "p2pnode")
    assert shed.status()["locked"]
    net["cy"].cut()
    carried = [ana.lines("send", "cy", f"carried {number}")[0]["id"] for number in range(5)]
    kept = ana.lines("send", "shed", "for the shed")[0]["id"]
    with ana.client() as client:
        for message in (*carried, kept):
            client.call(schema.WaitState(id=message, state="handed", timeout=PATIENCE))
    net["ana"].cut()
    net["cy"].heal()
    until("carried", lambda: len([1 for _, text in texts(cy, "ana") if "carried" in text]) == 5)
    shed.pi("history", "ana", code=7)

    say("unlock: what came meanwhile is there; lock again while it runs")
    shed.pi("unlock", "--passphrase-file", "/home/pi/secret")
    net["ana"].heal()
    delivered(ana, [kept])
    assert "for the shed" in shed.pi("history", "ana")
    main = shed.unit("MainPID")
    shed.pi("lock")
    assert shed.status()["locked"]
    assert shed.unit("MainPID") == main

    say("a person in its group changes the passphrase, and may not look into its home")
    shed.run("sh", "-c", f"umask 077; echo 'another {SECRET}' > /root/other")
    shed.run("install", "-o", "pi", "-m", "600", "/root/other", "/home/pi/other")
    first, other = ("--passphrase-file", "/home/pi/secret"), ("--passphrase-file", "/home/pi/other")
    shed.pi("passphrase", *first, "--new-passphrase-file", "/home/pi/other")
    shed.pi("unlock", *first, code=7)
    shed.pi("unlock", *other)
    shed.pi("passphrase", *other, "--new-passphrase-file", "/home/pi/secret")
    assert json.loads(shed.pi("erase", "--json"))["erasing"] == []

    say("a credential opens it at start; Tor runs as its child; Bluetooth asks D-Bus")
    shed.root_does("install", "-Dm", "600", "/root/secret", "/etc/credstore/p2pnode-passphrase")
    shed.pi("config", "set", "transports.tor", "true", code=9)
    for name in ("tor", "ble"):
        shed.root_does("p2pnode", "config", "set", f"transports.{name}", "true")
    shed.root_does("systemctl", "restart", "p2pnode")
    assert not shed.status()["locked"]
    until("tor", lambda: looked(shed)["tor", "process"] == "pass")
    found = looked(shed, shown=True)
    assert found["tor", "program"] == "pass"
    assert found["home", "directory"] == "pass"

    say("a node that hangs is started again")
    shed.run("mkdir", "-p", "/run/systemd/system/p2pnode.service.d")
    shed.run("sh", "-c", "printf '[Service]\\nWatchdogSec=3\\nRestartSec=1\\n'"
             " > /run/systemd/system/p2pnode.service.d/trial.conf")  # fmt: skip
    shed.run("systemctl", "daemon-reload")
    shed.run("systemctl", "restart", "p2pnode")
    main = shed.unit("MainPID")
    shed.root_does("systemctl", "kill", "-s", "STOP", "--kill-whom=main", "p2pnode")
    until("a restart", lambda: shed.unit("NRestarts") == "1")
    until("ready again", lambda: shed.unit("ActiveState") == "active")
    assert shed.unit("MainPID") != main
    show("root# systemctl show", f"NRestarts={shed.unit('NRestarts')} Result={shed.unit('Result')}")
    shed.run("rm", "-r", "/run/systemd/system/p2pnode.service.d")
    shed.run("systemctl", "daemon-reload")

    say("the journal names nobody")
    journal = shed.run("journalctl", "-u", "p2pnode", "--no-pager", "-o", "cat")
    show("root# journalctl -u p2pnode", "\n".join(journal.splitlines()[-8:]))
    for canary in (SECRET, TEXT, "ana", "10.77.0"):
        assert canary not in journal, canary


def another_card(shed: Shed, ana: Daemon) -> None:
    """Back up the machine's node, lose its disk, and restore it as the machine's node."""
    say("a backup")
    place, secret = "/mnt/p2pnode", ("--passphrase-file", "/home/pi/secret")
    told = shed.pi("backup", "create", "/home/pi/shed.p2pnode", *secret, code=9)
    assert "/media" in told
    shed.root_does("install", "-d", "-o", "p2pnode", "-g", "p2pnode", "-m", "750", place)
    kept = (f"{place}/shed.p2pnode", "--phrase-file", "/home/pi/phrase")
    shed.pi("backup", "create", *kept, "--history", *secret)
    say("a stick that is mounted for the node")
    shed.run("install", "-d", "/mnt/stick")
    assert "/media" in shed.pi("courier", "write", "/mnt/stick", code=9)
    shed.root_does("mount", "-t", "tmpfs", "-o", "uid=p2pnode,gid=p2pnode,mode=770", "stick",
                   "/mnt/stick")  # fmt: skip
    shed.pi("courier", "write", "/mnt/stick")
    shed.pi("courier", "read", "/mnt/stick")
    shed.root_does("umount", "/mnt/stick")
    shed.run("rmdir", "/mnt/stick")

    say("another card, and the same node out of the backup")
    shed.root_does("systemctl", "stop", "p2pnode")
    shed.run("mv", "/var/lib/p2pnode", "/root/old-card")
    shed.run("rm", "/etc/p2pnode/config.toml")
    words = ("--passphrase-file", "/root/secret")
    shed.run("p2pnode", "--home", "/root/old-card", "backup", "create", "/root/b", *words, code=9)
    shed.root_does("p2pnode", "restore", "--system", *kept, *words)
    modes = shed.run("stat", "-c", "%a %U %G %n", "/var/lib/p2pnode", "/var/lib/p2pnode/vault.db",
                     "/etc/p2pnode/config.toml")  # fmt: skip
    show("root# stat", modes)
    assert "700 p2pnode p2pnode /var/lib/p2pnode\n" in modes
    assert "600 p2pnode p2pnode /var/lib/p2pnode/vault.db" in modes
    assert "640 root p2pnode /etc/p2pnode/config.toml" in modes
    shed.root_does("systemctl", "start", "p2pnode")
    assert not shed.status()["locked"]
    delivered(ana, [ana.lines("send", "shed", f"{TEXT} anew")[0]["id"]])
    assert f"{TEXT} anew" in shed.pi("history", "ana")
    shed.run("rm", "-r", place, "/root/old-card")


def looked(shed: Shed, *, shown: bool = False) -> dict[tuple[str, str], str]:
    """Return what `doctor` found, by area and name."""
    findings = json.loads(shed.pi("doctor", "--json", code=1))["findings"]
    for one in findings if shown else ():
        print(f"    {one['result']:5} {one['area']:8} {one['name']}: {one['detail']}")
    return {(one["area"], one["name"]): one["result"] for one in findings}


def shed_talk(shed: Shed) -> str:
    """Return what status says to somebody who may not use the node, or before it runs."""
    words = shed.command("runuser", "-u", "pi", "--", "p2pnode", "status")
    done = subprocess.run(words, capture_output=True, text=True)
    show("pi$ p2pnode status", done.stderr)
    return done.stderr


def end(shed: Shed, package: Path, place: Path) -> None:
    """Upgrade, remove and purge."""
    say("upgrade")
    (shed.root / "var/newer.deb").write_bytes(newer(package, place).read_bytes())
    main = shed.unit("MainPID")
    shed.run("dpkg", "-i", "/var/newer.deb")
    shed.run("rm", "/var/newer.deb")
    assert shed.unit("ActiveState") == "active"
    assert shed.unit("MainPID") != main
    assert not shed.status()["locked"]
    assert TEXT in shed.pi("history", "ana")

    say("remove and purge")
    shed.run("dpkg", "--remove", "p2pnode")
    assert shed.run("systemctl", "is-active", "p2pnode", code=4 - 1).strip() == "inactive"
    show("root# dpkg --purge p2pnode", shed.run("dpkg", "--purge", "p2pnode"))


def leftovers(shed: Shed, bare: set[str]) -> list[str]:
    """Return what is there that was not, and that neither a package owns nor any leaves."""
    owned = set(shed.offline("sh", "-c", "dpkg -L $(dpkg-query -W -f '${Package} ')").split("\n"))
    owned |= {f"/usr{path}" for path in owned}  # /lib and /bin are links into /usr
    return sorted(
        path for path in files(shed.root) - bare - owned if path and not LEFT_BY_OTHERS.match(path)
    )


def main() -> None:
    """Run the trial."""
    packages = sorted((ROOT / "dist").glob("p2pnode_*_*.deb"))
    package = next(path for path in packages if path.stem.endswith(sys.argv[1]))
    root = kept_root(ROOT / "build/deb-root")
    say("a bare Debian root file system is there")
    with (
        tempfile.TemporaryDirectory(prefix="p2pnode-trial-") as folder,
        Network("shed", "ana", "cy") as net,
    ):
        place = Path(folder)
        shed = Shed(root, place, net["shed"])
        try:
            bare = files(shed.root)
            install(shed, package)
            say("installed")
            ana = Daemon(place, "ana", host=net["ana"])
            cy = Daemon(place, "cy", host=net["cy"])
            with shed.booted(), homes(ana, cy):
                for daemon in (ana, cy):
                    daemon.home.config.write_text('[privacy]\norigin = "fast"\n')
                    daemon.start()
                daemons.pair(ana, cy)
                try:
                    life(shed, ana, cy, net)
                    another_card(shed, ana)
                    end(shed, package, place)
                except BaseException:
                    log = shed.run("journalctl", "-u", "p2pnode", "--no-pager", "-n", "40")
                    show("journal", log)
                    raise
            left = leftovers(shed, bare)
            show("what is left", "\n".join(left))
            said = ("/var/lib/p2pnode/", "/etc/credstore/p2pnode-passphrase")
            assert all(path.startswith(said) for path in left)
            assert "/var/lib/p2pnode/vault.key" in left
            say("purge without an identity takes the user as well")
            shed.offline("rm", "-r", "/var/lib/p2pnode", "/etc/credstore")
            install(shed, package)
            shed.offline("dpkg", "--purge", "p2pnode")
            left = leftovers(shed, bare)
            show("what is left", "\n".join(left) or "nothing")
            assert left == []
            for book in ("passwd", "group"):
                assert "p2pnode" not in (shed.root / "etc" / book).read_text()
        finally:
            subprocess.run(["umount", "-l", str(shed.root)], check=False)
    say("done")


if __name__ == "__main__":
    main()
