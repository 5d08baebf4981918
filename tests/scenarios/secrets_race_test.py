"""Operators that set one secret at the same time: each value has a number of its own, or its command says that it came too late."""
import array
import contextlib
import fcntl
import json
import re
import subprocess
import termios
import unittest

from own_controller import CONSORT
from secret_hosts import SecretHosts


def letters_waiting(pipe):
    """How much of what was written the other end has not read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


class Together(SecretHosts):
    """Given a host that has joined, and a site that writes ${secret.db} into a file."""

    hosts_named = ("web1",)

    def test_who_types_slowly_makes_a_version_of_their_own(self):
        self.site("web1")
        self.set_secret("old")
        # Given ann, who has begun to type,
        ann = subprocess.Popen([CONSORT, "secret", "set", "db", "--site", str(self.folder / "site.json"), "--json"], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ann.stdin.write("of ")
        ann.stdin.flush()
        self.wait_until("her first letters are read", lambda: letters_waiting(ann.stdin) == 0)
        # when ben sets it meanwhile, then both values are there, each with its number.
        self.assertEqual(self.set_secret("of ben")["version"], 2)
        out, err = ann.communicate("ann", timeout=60)
        self.assertEqual(ann.returncode, 0, err)
        self.assertEqual(json.loads(out)["version"], 3)
        self.consort("deploy", "--yes", "--site", self.site("web1"))
        self.assertIn("password=of ann\n", self.content("web1"))

    def test_two_at_once_never_share_a_version(self):
        self.site("web1")
        self.set_secret("old")
        running = [subprocess.Popen([CONSORT, "secret", verb, "db", "--site", str(self.folder / "site.json")], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                   for verb in ("set", "set", "set", "set", "rotate", "rotate")]
        for number, process in enumerate(running):
            with contextlib.suppress(BrokenPipeError):  # rotate asks for nothing
                process.stdin.write(f"value {number}")
                process.stdin.close()
            process.stdin = None
        versions = []
        for process in running:
            out, err = process.communicate(timeout=60)
            if process.returncode == 0:
                versions.append(int(re.match("db version ([0-9]+),", out)[1]))
            else:
                self.assertIn("somebody else has changed it", err)
                self.assertIn("try again", err)
        self.assertEqual(sorted(set(versions)), sorted(versions), "a number is given once")
        self.assertEqual(sorted(versions), list(range(2, 2 + len(versions))))
        self.assertTrue(versions)


if __name__ == "__main__":
    unittest.main()
