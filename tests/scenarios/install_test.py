"""`consort host install`: a new machine over ssh. The machine is a mount namespace of this one; its ssh is a program of the test's."""
import os
import pathlib
import signal
import stat
import subprocess
import unittest

import own_controller

# What ssh does with a command: the machine's shell gets it as one text. systemctl starts what the unit says, as systemd would.
FAKE_SSH = """#!/bin/bash
machine=$1; shift
while [ "$1" != -- ]; do shift; done
printf '%s\\n' "$3" >> "$machine/commands"
if [ -e "$machine/unreachable" ]; then echo "ssh: connect to host $2 port 22: No route to host" >&2; exit 255; fi
export MACHINE=$machine COMMAND=$3
exec unshare --mount bash -c '
set -e
mount --bind "$MACHINE/local" /usr/local
mount --bind "$MACHINE/units" /etc/systemd/system
mount --bind "$MACHINE/lib" /var/lib
mount -t tmpfs none /run
[ -e "$MACHINE/no-systemd" ] || mkdir -p /run/systemd/system
PATH=$MACHINE/bin:$PATH exec sh -c "$COMMAND"'
"""
FAKE_SYSTEMCTL = """#!/bin/bash
[ "$1" = restart ] || exit 0
[ -e "$MACHINE/pid" ] && kill "$(cat "$MACHINE/pid")" 2>/dev/null && while kill -0 "$(cat "$MACHINE/pid")" 2>/dev/null; do sleep 0.02; done
line=$(grep '^ExecStart=/' /etc/systemd/system/consort-agent.service.d/join.conf)
cat /etc/systemd/system/consort-agent.service > /dev/null || exit 1
# This machine is no systemd; only the installer was told so.
setsid ${line#ExecStart=} --supervisor native < /dev/null > "$MACHINE/agent.log" 2>&1 &
echo $! > "$MACHINE/pid"
"""


@unittest.skipUnless(os.geteuid() == 0 and os.path.isdir("/etc/systemd/system"), "a machine's folders are bound over our own: that takes root")
class Installing(own_controller.Controller):
    def setUp(self):
        super().setUp()
        self.machine = self.folder / "machine"
        for name in ("local", "units", "lib", "bin"):
            (self.machine / name).mkdir(parents=True)
        for name, text in (("ssh", FAKE_SSH), ("bin/systemctl", FAKE_SYSTEMCTL), ("bin/journalctl", f"#!/bin/sh\ntail -n 5 {self.machine}/agent.log\n")):
            file = self.machine / name
            file.write_text(text)
            file.chmod(0o755)
        self.addCleanup(self.end_agent)

    def end_agent(self):
        pid = self.machine / "pid"
        if pid.exists():
            try:
                os.kill(int(pid.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def install(self, *more, target="root@machine"):
        # The controller is at loopback, and so is this machine.
        return ("host", "install", target, "--ssh", f"{self.machine}/ssh {self.machine}", "--reach", self.url, "--timeout", "20s", *more)

    def test_a_new_machine_joins(self):
        done = self.run_consort(*self.install("--name", "web1", "--host-class", "web"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("web1 has joined", done.stdout)
        host = self.consort("host", "show", "web1")
        self.assertEqual(host["identity"]["state"], "approved")
        self.assertEqual((self.machine / "local/bin/consort").read_bytes(), pathlib.Path(own_controller.CONSORT).read_bytes())
        self.assertIn("KillMode=process", (self.machine / "units/consort-agent.service").read_text())
        self.assertFalse((self.machine / "lib/consort/join-token").exists(), "it is used up")
        self.assertNotIn("cj1.", (self.machine / "commands").read_text())
        # A second time: the program is there, the host is known, no token is made.
        tokens = self.consort("token", "list")["tokens"]
        self.assertEqual(self.consort(*self.install("--name", "web1"))["state"], "renewed")
        self.assertEqual(self.consort("token", "list")["tokens"], tokens)
        # As somebody else: no.
        self.assertIn("has joined", self.refused(*self.install("--name", "web2")))

    def test_by_hand(self):
        waiting = subprocess.Popen([own_controller.CONSORT, *self.install("--name", "web1", "--by-hand")], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(waiting)
        waiting.log = self.machine / "commands"
        self.wait_until("it waits", lambda: self.consort("host", "show", "web1")["identity"]["state"] == "pending"
                        if self.run_consort("host", "show", "web1").returncode == 0 else False)
        token = self.machine / "lib/consort/join-token"
        self.assertEqual(stat.S_IMODE(token.stat().st_mode), 0o600)
        self.assertTrue(any("consort host approve web1" in line for line in waiting.stderr))
        self.consort("host", "approve", "web1")
        out, errors = waiting.communicate(timeout=30)
        self.assertEqual(waiting.returncode, 0, errors)

    def test_what_is_in_the_way_is_said_with_what_to_do(self):
        (self.machine / "unreachable").touch()
        said = self.refused(*self.install("--name", "web1"))
        self.assertIn("No route to host", said)
        self.assertIn("without a question", said)
        (self.machine / "unreachable").unlink()
        (self.machine / "no-systemd").touch()
        self.assertIn("does not run systemd", self.refused(*self.install("--name", "web1")))
        (self.machine / "no-systemd").unlink()
        for target in ("root@a b", "root@x;id", "root@$(id)"):
            self.assertIn("no machine that ssh knows", self.refused(*self.install(target=target)))
        self.assertIn("no name for a host", self.refused(*self.install("--name", "a b; id")))
        self.assertIn("--reach", self.refused("host", "install", "root@machine", "--ssh", f"{self.machine}/ssh {self.machine}"))
        self.agent("web1", self.token())
        self.wait_until("web1 is there", lambda: self.hosts()["web1"]["reachable"])
        self.assertIn("there is a host 'web1' already", self.refused(*self.install("--name", "web1")))
        self.assertFalse((self.machine / "local/bin/consort").exists(), "nothing was sent")

    def test_an_agent_that_does_not_come_is_asked_why(self):
        said = self.refused(*self.install("--name", "web1", "--reach", "https://127.0.0.1:9", "--timeout", "3s"))
        self.assertIn("has not come to", said)
        self.assertIn("127.0.0.1:9", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
