"""Hooks and daemons that misbehave: the sound version comes back, and the journal tells why."""
import os
import pathlib
import socket
import subprocess
import time

from harness import SharedScenario, found, run_tests


class HookAnswers(SharedScenario):
    """Hooks that hang, lie, shout, kill and vanish."""

    hosts = "h=1"

    def upgrade(self, script, verb="start", timeout="20s", mode=0o755):
        """From a sound version to one whose hook is `script` ('@' is the neutral hook's own call)."""
        version = f"v{time.monotonic_ns()}"
        self.must_deploy(self.site({"a": ["h1"]}, {"s": self.service("s", "a", version="sound")}, name="sound.json"))
        service = self.service("s", "a", version=version)
        hook = service["hooks"][verb]
        own = " ".join(f"'{word}'" for word in [str(self.folder / "ctl"), *hook["args"]])
        path = self.folder / f"hook-{version}"
        path.write_bytes(script.replace("@", own).encode() if isinstance(script, str) else script)
        path.chmod(mode)
        service["hooks"][verb] = {"path": path.name, "timeout": timeout}
        return self.deploy(self.site({"a": ["h1"]}, {"s": service}, name="tried.json"))

    def assert_went_back(self, outcome, *words):
        self.assertEqual(outcome.status, 4, str(outcome))
        for word in words:
            self.assertIn(word, outcome.out)
        self.assert_no_crash(outcome.out + outcome.err)
        self.wait_until("the sound version is well", lambda: self.instances()["s@h1"]["health"] == "healthy")
        self.assertEqual([path.read_text().strip() for path in found(self.lab / "hosts/h1", "services/s/**/running")], ["sound"])

    def test_it_lies(self):
        self.assert_went_back(self.upgrade("#!/bin/sh\nexit 0\n"), '"step":"validate"')

    def test_it_shouts_100_megabytes(self):
        outcome = self.upgrade("#!/bin/sh\nyes 'all work and no play' | head -c 100000000\n@\n")
        self.assertEqual(outcome.status, 0, str(outcome)[:2000])
        kept = sum(path.stat().st_size for path in found(self.lab / "hosts/h1", "*log*") if path.is_file())
        self.assertLess(kept, 8 << 20)
        self.assertLess(len(outcome.out), 1 << 20)

    def test_it_speaks_binary(self):
        outcome = self.upgrade("#!/bin/sh\nhead -c 100000 /dev/urandom\nprintf '\\377\\376\\033[2J\\0'\nexit 3\n")
        self.assert_went_back(outcome, '"exitStatus":3')
        outcome.json  # is JSON
        self.assertNotIn("\x1b[2J", self.consort("explain", "h1", "s").out)

    def test_it_ignores_sigterm_and_hangs(self):
        began = time.monotonic()
        self.assert_went_back(self.upgrade("#!/bin/sh\ntrap '' TERM INT HUP\nwhile :; do sleep 1; done\n", timeout="1s"), "1")
        self.assertLess(time.monotonic() - began, 25)

    def test_it_leaves_a_daemon_that_holds_its_output(self):
        seconds = 70_000 + os.getpid()
        began = time.monotonic()
        outcome = self.upgrade(f"#!/bin/sh\nsetsid sleep {seconds} &\n@\n", timeout="10s")
        self.addCleanup(subprocess.run, ["pkill", "-f", f"^sleep {seconds}$"])
        self.assertEqual(outcome.status, 0, str(outcome))
        self.assertLess(time.monotonic() - began, 20)

    def test_it_kills_its_agent_each_time(self):
        self.assert_went_back(self.upgrade("#!/bin/sh\nkill -9 $PPID\nexec sleep 1000\n"), "start")

    def test_it_dies_by_a_signal(self):
        self.assert_went_back(self.upgrade("#!/bin/sh\nkill -9 $$\n"), '"step":"start"')
        self.assert_went_back(self.upgrade("#!/bin/sh\nkill -SEGV $$\n"), '"step":"start"')

    def test_it_asks_for_another_try_without_end(self):
        self.assert_went_back(self.upgrade("#!/bin/sh\nexit 75\n"), '"exitStatus":75')

    def test_it_is_no_program(self):
        self.assert_says(self.upgrade("#!/bin/sh\n@\n", mode=0o644), 1, "not executable", "chmod +x")
        self.assert_went_back(self.upgrade("#!/no/such/interpreter\n"), "start", "/no/such/interpreter")
        self.assert_went_back(self.upgrade(b"\x7fELF nonsense"), "start")

    def test_the_agents_folder_is_nobodys_to_purge(self):
        data = self.lab / "hosts/h1/root/var/lib/consort"
        self.must_deploy(self.site({"a": ["h1"]}, {"s": self.service("s", "a", version="kept")}, name="kept.json"))
        before = sorted(str(path) for path in found(data, "*") if "objects" not in path.parts)
        self.assertTrue(any("services/s" in path for path in before))
        for path in (data / "state", data / "services/s/data", pathlib.Path("/var/lib/consort/services")):
            purge = {"type": "directory", "path": str(path), "purge": True, "maxPurge": 1000}
            site = self.site({"a": ["h1"]}, {"p": {"on": "a", "resources": {"x": purge}}}, name="purge.json")
            outcome = self.deploy(site, "--only", "p")
            # What is there on every host is refused before one is asked.
            self.assertEqual(outcome.status, 6 if path.is_relative_to("/var/lib/consort") else 4, str(outcome))
            self.assertIn("belongs to the agent", outcome.out + outcome.err)
        for path in before:
            self.assertTrue(os.path.lexists(path) or "/scratch" in path or path.endswith("/p") or "/p/" in path, path)

    def test_another_process_has_the_port_of_its_daemon(self):
        address = self.inventory["h1"]
        with socket.create_server((address, 0)) as foreign:
            port = foreign.getsockname()[1]
            daemon = {"argv": ["/usr/bin/python3", "-m", "http.server", str(port), "--bind", address],
                      "readiness": {"type": "tcp", "port": port, "timeout": "20s"}}
            service = {"on": "a", "daemon": daemon, "provides": {"http": {"port": port}}}
            site = self.site({"a": ["h1"]}, {"taken": service}, name="taken.json")
            outcome = self.deploy(site, "--only", "taken")
            self.assertEqual(outcome.status, 4, str(outcome))
            self.assertIn(f"{address}:{port} answers before taken is started: another process has its port", outcome.out)
        self.must_deploy(site, "--only", "taken")

    def test_z_after_all_of_it(self):
        self.must_be_well()


if __name__ == "__main__":
    run_tests()
