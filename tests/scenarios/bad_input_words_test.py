"""Flags, names and addresses that are wrong or lead to something else: a clear error and a remedy, nothing changed, no crash."""
import json
import pathlib
import socket
import subprocess

from harness import CONSORT, ONE_HOST, SharedScenario, run_tests


class Words(SharedScenario):
    """Flags, names and addresses that are wrong."""

    hosts = "h=1"

    def test_flags(self):
        self.assert_says(self.consort("plan", "--nope"), 64, "--nope", "consort plan --help")
        self.assert_says(self.consort("plan", "--site"), 64, "--site", "FILE")
        self.assert_says(self.consort("statsu"), 64, "did you mean: consort status")
        self.assert_says(self.consort("rollback", "--to", "-1"), 64, "-1")
        self.assert_says(self.consort("rollback", "--to", "abc", "--yes"), 64, "abc", "consort history")
        self.assert_says(self.consort("rollback", "--to", "99999999999999999999", "--yes"), 64, "99999999999999999999")
        self.must_be_well()
        self.assert_says(self.consort("rollback", "--to", "4711", "--yes"), 1, "4711", "consort history")
        for hosts in ("web=-1", "web=99999999999", "web=two", "web", "=1", "web=1,web=1", "../x=1"):
            self.assert_says(self.run_consort("lab", "up", "--hosts", hosts, "--dir", str(self.folder / "no-lab")), 1, f"--hosts '{hosts}'", "for example")
        self.assert_says(self.run_consort("lab", "up", "--hosts", "w=1", "--platform", "moon", "--dir", str(self.folder / "no-lab")), 64, "moon", "nspawn")
        self.assert_says(self.run_consort("lab", "status", "--dir", str(self.folder / "no-lab")), 1, "no lab", "consort lab up")
        self.assert_says(self.run_consort("agent", "--label", "nope", "--data", str(self.folder / "agent")), 64, "key=value")

    def test_output_that_cannot_be_written_is_no_success(self):
        """Given a full disk behind standard output: the command says so and fails, whatever it did."""
        self.must_be_well()
        inside = ["lab", "run", "--dir", str(self.lab), "--", CONSORT]
        commands = (["version"], ["lab", "status", "--dir", str(self.lab)], [*inside, "status"], [*inside, "audit", "--json"], [*inside, "host", "show", "nobody", "--json"])
        for arguments in commands:
            with self.subTest(arguments=arguments), open("/dev/full", "w", encoding="utf-8") as full:
                process = subprocess.run([CONSORT, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, check=False)
                self.assertEqual(process.returncode, 1, process.stderr)
                self.assertIn("cannot write to standard output: No space left on device", process.stderr)

    def test_names_that_are_not_there(self):
        self.must_be_well()
        site = str(self.folder / "well.json")
        for arguments in (["plan", "--site", site, "--only", "wel"], ["deploy", "--yes", "--site", site, "--only", "wel"], ["plan", "--site", site, "--except", "wel"]):
            self.assert_says(self.consort(*arguments), 1, "no service 'wel'", "did you mean 'well'")
        self.assert_says(self.consort("explain", "nobody"), 1, "nobody", "hint:")
        self.assert_says(self.consort("explain", "h1", "nobody"), 1, "nobody")
        self.assert_says(self.consort("host", "show", "nobody"), 1, "no host 'nobody'", "consort host list")
        self.assert_says(self.consort("host", "remove", "nobody"), 1, "nobody")
        self.assert_says(self.consort("requisites", "nobody", "--site", site), 1, "nobody")
        self.assert_says(self.consort("diff", "1", "4711"), 1, "4711", "consort history")
        self.assert_says(self.consort("diff", "one"), 1, "one")
        for verb in ("pause", "resume", "abort"):
            self.assert_says(self.consort("rollout", verb, "nobody"), 1, "nobody", "hint:")
        for what in ("host", "service", "rollout"):
            self.assert_says(self.consort("logs", "--" + what, "nobody"), 1, f"there is no {what} 'nobody'", "hint: see them with:")
        self.assert_says(self.run_consort("lab", "kill", "--dir", str(self.lab), "nobody"), 1, "nobody")

    def test_a_controller_that_is_not_there(self):
        site = str(self.folder / "there.json")
        pathlib.Path(site).write_text(json.dumps({"name": "x", "hostClasses": ONE_HOST, "services": {"s": {"on": "a", "daemon": {"argv": ["/bin/x"]}}}}))
        url = "http://127.0.0.1:9"
        for command in ("plan --site S", "deploy --yes --site S", "rollback --yes", "status", "history", "diff 1 2", "explain h1", "explain h1 s", "graph --site S", "requisites s --site S",
                        "logs", "host list", "host show h1", "host remove h1", "rollout pause r1", "rollout resume r1", "rollout abort r1"):
            with self.subTest(command=command):
                arguments = [site if word == "S" else word for word in command.split()]
                self.assert_says(self.run_consort(*arguments, "--controller", url, timeout=20), 1, f"cannot reach {url}", "hint:", "consort controller --data DIR --listen 127.0.0.1:9")
                if command.split()[0] not in ("graph", "requisites"):
                    self.assert_says(self.run_consort(*arguments, timeout=20), 64, "which controller?", "consort login")
                record = self.run_consort(*arguments, "--controller", url, "--json", timeout=20)
                self.assertEqual(record.json["error"]["code"], "unavailable", str(record))
        for url, word in (("nonsense", "no URL"), ("http://", "no address"), ("ftp://x", "ftp"), ("http://127.0.0.1:99999", "no address"), ("http://no-such-host.invalid:1", "no-such-host.invalid")):
            self.assert_says(self.run_consort("status", "--controller", url), 1, word, "hint:")

    def test_something_else_answers_at_the_address(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            url = "http://127.0.0.1:%d" % listener.getsockname()[1]
            for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b""):
                status = subprocess.Popen([CONSORT, "status", "--controller", url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                connection, _ = listener.accept()
                connection.recv(65536)
                connection.sendall(answer)
                connection.close()
                out, _ = status.communicate(timeout=20)
                self.assertEqual(status.returncode, 1, f"{answer} {out}")
                self.assertIn(url, out)
                self.assert_no_crash(out)

    def test_a_controller_whose_port_is_taken(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            address = "127.0.0.1:%d" % listener.getsockname()[1]
            taken = self.run_consort("controller", "--data", str(self.folder / "second"), "--listen", address, "--insecure", timeout=10)
        self.assert_says(taken, 1, f"cannot listen on {address}", "Address already in use", "another program", "--listen")
        for address in ("x", "127.0.0.1:-5", "127.0.0.1:99999", "127.0.0.1", ""):
            self.assert_says(self.run_consort("controller", "--data", str(self.folder / "second"), "--listen", address, "--insecure", timeout=10), 1, "no address with a port")
        self.assert_says(self.run_consort("controller", "--data", str(self.folder / "second"), "--listen", "0.0.0.0:0", "--insecure", timeout=10), 6, "not a loopback address", "consort controller init")
        self.assert_says(self.run_consort("controller", "--data", str(self.folder / "third"), "--listen", "127.0.0.1:0", timeout=10), 1, "holds no authority", "consort controller init")
        self.assert_says(self.run_consort("controller", timeout=10), 64, "--data")
        (self.folder / "file").write_text("")
        self.assert_says(self.run_consort("controller", "--data", str(self.folder / "file"), "--insecure", timeout=10), 1, "not a directory")
        # The same folder twice.
        data = self.controller_data()
        second = self.run_consort("controller", "--data", str(data), "--listen", "127.0.0.1:0", timeout=10)
        self.assert_says(second, 6, str(data), "in use", "hint:")
        self.must_be_well()


if __name__ == "__main__":
    run_tests()
