"""Input that is broken, endless, huge or hostile: a clear error with its place and a remedy, nothing changed, no crash."""
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from harness import CONSORT, SharedScenario, found, run_tests

endless_loop = None


def setUpModule():
    """This one takes its whole 30 s: everything else happens meanwhile."""
    global endless_loop
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    site = pathlib.Path(folder.name) / "loop.jsonnet"
    site.write_text("local f(x) = f(x + 1) tailstrict; f(0)\n")
    endless_loop = subprocess.Popen([CONSORT, "check", "--site", str(site)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    unittest.addModuleCleanup(endless_loop.stdout.close)
    unittest.addModuleCleanup(endless_loop.wait)
    unittest.addModuleCleanup(endless_loop.kill)


HOST = {"a": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}}


class SiteFiles(SharedScenario):
    """`consort check` and `consort deploy` of sites that are none."""

    hosts = "h=1"

    def check(self, text, name="bad.jsonnet", timeout=60):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.consort("check", "--site", str(path), timeout=timeout)

    def check_service(self, **service):
        site = {"name": "x", "hostClasses": HOST, "services": {"s": {"on": "a", "daemon": {"argv": ["/bin/x"]}, **service}}}
        return self.check(json.dumps(site), "bad.json")

    def test_broken_jsonnet_names_file_line_and_shows_the_place(self):
        broken = self.check('{ name: "x",\n  hostClasses: { a: { inventory: },\n}\n')
        self.assert_says(broken, 1, "bad.jsonnet:2:34", "hostClasses: { a: { inventory: },\n", "^")
        caret = [line for line in broken.err.splitlines() if line.strip(" |").startswith("^")]
        excerpt = [line for line in broken.err.splitlines() if "inventory: }" in line]
        self.assertEqual(excerpt[0][caret[0].index("^")], "}")
        self.assert_says(self.check(""), 1, "bad.jsonnet:1:1", "unexpected end of file")
        self.assert_says(self.check('{"a":', "bad.json"), 1, "bad.json:1:6")
        self.assert_says(self.check(bytes(range(1, 256)) * 9), 1, "bad.jsonnet")
        self.assert_says(self.check("[1]"), 1, "array, not a site")

    def test_endless_jsonnet_is_stopped_within_its_limits(self):
        self.assert_says(self.check("local f(x) = f(x + 1) + 1; f(0)\n"), 1, "bad.jsonnet:1:14", "refers to itself without end")
        self.assert_says(self.check('{ name: self.purpose, purpose: self.name }\n'), 1, "bad.jsonnet:1", "refers to itself without end")
        self.assert_says(self.check('{ name: std.repeat("x", 4000000000) }\n'), 1, "MiB of memory")
        self.assert_says(self.check('{ name: "x", hostClasses: {}, services: {}, purpose: std.repeat("x", 1000000000) }'), 1, "MiB")
        self.assert_says(self.check("[" * 200_000), 1, "nested too deeply")
        out, _ = endless_loop.communicate(timeout=60)
        self.assertEqual(endless_loop.returncode, 1, out)
        self.assertRegex(out, r"within 30.0 s|30.0 s of processor time")
        self.assertIn("endless recursion", out)

    def test_a_site_file_of_100_megabytes(self):
        with open(self.folder / "huge.jsonnet", "wb") as file:
            for _ in range(100):
                file.write(b" " * (1 << 20))
            file.write(b"{}")
        self.assert_says(self.consort("check", "--site", str(self.folder / "huge.jsonnet")), 1, "huge.jsonnet is too large", "hint: large content belongs into an artifact")
        os.unlink(self.folder / "huge.jsonnet")

    def test_text_that_is_not_utf8_is_not_quietly_changed(self):
        self.assert_says(self.check(b'{\n  name: "x",\n  purpose: "\xff\xfe",\n}\n'), 1, "bad.jsonnet: line 3 is not UTF-8", "hint: save it as UTF-8")
        (self.folder / "logo").write_bytes(b"\x89PNG\x00\xff")
        self.assert_says(self.check('{ name: "x", purpose: importstr "logo" }'), 1, "logo: line 1 is not UTF-8", "artifact")

    def test_what_is_no_file(self):
        os.mkfifo(self.folder / "fifo")
        for name, kind in (("fifo", "FIFO"), ("knobs", "directory")):
            self.assert_says(self.run_consort("check", "--site", str(self.folder / name), timeout=10), 1, name, f"is a {kind}, not a file")
        self.assert_says(self.run_consort("check", "--site", "/dev/zero", timeout=10), 1, "/dev/zero is a device, not a file")
        self.assert_says(self.run_consort("check", "--site", "nowhere.jsonnet"), 1, "nowhere.jsonnet", "consort init")
        self.assert_says(self.check("import 'fifo'"), 1, "fifo is a FIFO, not a file")

    def test_a_path_outside_of_the_site_and_an_archive_that_reaches_out(self):
        self.assert_says(self.check_service(artifacts={"app": {"file": "../../nowhere/x"}}), 1, "nowhere/x", "services.s.artifacts.app")
        self.assert_says(self.check("import '../../nowhere/x'"), 1, "nowhere/x")
        (self.folder / "inner").mkdir()
        (self.folder / "outer.txt").write_text("x")
        subprocess.run(["tar", "-C", str(self.folder / "inner"), "-P", "-cf", str(self.folder / "evil.tar"), "../outer.txt"], check=True)
        self.assert_says(self.check_service(artifacts={"app": {"archive": "evil.tar"}}), 1, "'../outer.txt'", "services.s.artifacts.app", "hint:")
        folder = self.folder / "links"
        folder.mkdir()
        os.symlink("../../../etc/passwd", folder / "link")
        subprocess.run(["tar", "-C", str(folder), "-P", "-cf", str(self.folder / "abs.tar"), "/etc/hostname"], check=True)
        self.assert_says(self.check_service(artifacts={"app": {"archive": "abs.tar"}}), 1, "/etc/hostname", "services.s.artifacts.app")

    def test_wrong_fields_of_a_plain_json_site(self):
        top = lambda **fields: self.check(json.dumps({"name": "x", "hostClasses": HOST, "services": {}, **fields}), "bad.json")
        self.assert_says(top(polcy={}), 1, "unknown field 'polcy'", "did you mean 'policy'?")
        self.assert_says(top(policy={"maxUnavailble": 1}), 1, "policy", "did you mean 'maxUnavailable'?")
        self.assert_says(self.check_service(daemons={}), 1, "services.s", "did you mean 'daemon'?")
        self.assert_says(self.check_service(daemon={"argv": "/bin/x"}), 1, "services.s.daemon.argv", "expected a list of strings")
        self.assert_says(self.check_service(daemon={"argv": ["/bin/x"], "usr": "me"}), 1, "services.s.daemon", "did you mean 'user'?")
        self.assert_says(self.check_service(dataVersion="one"), 1, "services.s.dataVersion")
        self.assert_says(self.check_service(dataVersion=-1), 1, "services.s.dataVersion")
        self.assert_says(self.check_service(hooks={"validate": {"argv": ["/bin/true"], "timeout": "5 parsecs"}}), 1, "services.s.hooks.validate.timeout", "parsecs")
        self.assert_says(self.check_service(replicas=0), 1, "services.s.replicas")

    def test_what_a_host_would_refuse_is_told_before_one_is_asked(self):
        file = lambda path, **fields: {"type": "file", "path": path, "content": "", **fields}
        wrong = {
            "path": (file("etc/x"), "'etc/x' is not an absolute path", "services.s.resources.r.path", "hint: paths of resources start with '/'"),
            "dots": (file("/etc/../x"), "'/etc/../x' contains '..'", "services.s.resources.r.path", "hint:"),
            "root": (file("/"), "the root directory", "services.s.resources.r.path"),
            "own": (file("/var/lib/consort/objects/x"), "belongs to the agent", "services.s.resources.r", "${service.data}"),
            "argv": ({"type": "command", "argv": []}, "services.s.resources.r", "argv"),
            "itself": (file("/etc/x", after=["other"]), "wait for each other in a circle", "services.s.resources"),
            "twice": ({"type": "symlink", "path": "/etc/other", "target": "/"}, "both claim /etc/other", "services.s.resources"),
        }
        generation, mark = self.generation(), self.mark()
        for name, (resource, *words) in wrong.items():
            with self.subTest(name):
                outcome = self.check_service(resources={"r": resource, "other": file("/etc/other", after=["r"] if name == "itself" else [])})
                self.assertIn(outcome.status, (1, 6), str(outcome))
                for word in words:
                    self.assertIn(word, outcome.err)
                for command in ("plan", "deploy"):
                    refused = self.consort(command, "--site", str(self.folder / "bad.json"))
                    self.assertIn(refused.status, (1, 6), str(refused))
                    self.assertIn(words[0], refused.err)
        self.assertEqual((self.generation(), self.mark()), (generation, mark))
        self.assert_says(self.check_service(daemon={"argv": []}), 1, "services.s.daemon.argv: a daemon needs the program to run")

    def test_all_mistakes_are_told_and_many_of_them_stay_readable(self):
        def check(services, *flags):
            path = self.folder / "bad.json"
            path.write_text(json.dumps({"name": "x", "hostClasses": HOST, "services": services}))
            return self.consort("check", "--site", str(path), *flags)
        bad = lambda i: {"on": "a", "resources": {"r": {"type": "file", "path": f"etc/{i}"}, "t": {"type": "symlink", "path": f"t{i}", "target": "/"}}}
        sound = {"on": "a", "daemon": {"argv": ["/bin/x"]}}
        some = check({"b1": bad(1), "b2": bad(2), "good": sound})
        self.assert_says(some, 1, "'etc/1'", "'t1'", "'etc/2'", "'t2'", "services.b2.resources.t.path")
        self.assertIn("4 mistakes in 2 services; sound: 1 host classes, 1 hosts, 1 services", some.out)
        self.assertEqual(check({"b1": bad(1), "good": sound}, "--keep-going").status, 3)
        many = check({f"s{i:03}": bad(i) for i in range(300)})
        self.assert_says(many, 1, "'etc/0'", "… and 580 more", "check --json")
        self.assertLess(len(many.err.splitlines()), 100)
        self.assertIn("600 mistakes in 300 services", many.out)
        told = json.loads(check({f"s{i:03}": bad(i) for i in range(300)}, "--json").out)
        self.assertEqual((len(told["mistakes"]), len(told["broken"])), (600, 300))
        # What is wrong before the fleet is known, too.
        early = check({f"s{i:03}": {"on": "b", "neds": {}} for i in range(30)})
        self.assert_says(early, 1, "services.s000: unknown field 'neds'", "services.s019", "… and 10 more")
        self.assertIn("30 mistakes", early.out)

    def test_unreadable_artifacts(self):
        (self.folder / "dangling").symlink_to("/nowhere")
        os.mkfifo(self.folder / "pipe")
        self.addCleanup(os.unlink, self.folder / "pipe")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.folder / "socket"))
        for field in ("file", "archive"):
            for name, words in (("dangling", "dangling"), ("knobs", "directory"), ("pipe", "FIFO"), ("socket", "socket"), ("/dev/zero", "device")):
                with self.subTest(field=field, name=name):
                    outcome = self.check_service(artifacts={"app": {field: name}})
                    self.assert_says(outcome, 1, name, words, "services.s.artifacts.app")
        for name in ("dangling", "pipe", "/dev/zero"):
            self.assert_says(self.check_service(artifacts={"app": {"folder": name}}), 1, name, "services.s.artifacts.app")
        self.assert_says(self.check_service(hooks={"validate": {"path": "pipe"}}), 1, "pipe", "services.s.hooks.validate")
        (self.folder / "tree").mkdir()
        os.mkfifo(self.folder / "tree/pipe")
        self.assert_says(self.check_service(artifacts={"app": {"folder": "tree"}}), 1, "tree/pipe is a FIFO", "hint:")
        (self.folder / "junk.tar").write_bytes(os.urandom(4096))
        self.assert_says(self.check_service(artifacts={"app": {"archive": "junk.tar"}}), 1, "junk.tar", "is it a whole")

    def test_a_deploy_of_a_broken_site_changes_nothing(self):
        self.must_be_well()
        generation, mark = self.generation(), self.mark()
        (self.folder / "broken.jsonnet").write_text("{ name: }")
        self.assert_says(self.deploy(str(self.folder / "broken.jsonnet")), 1, "broken.jsonnet", "invalid_input")
        self.assertEqual((self.generation(), self.mark()), (generation, mark))
        self.must_be_well()


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
        for arguments in (["logs", "--host", "nobody"], ["logs", "--service", "nobody"], ["logs", "--rollout", "nobody"]):
            self.assert_says(self.consort(*arguments), 0, "nothing of that is remembered")
        self.assert_says(self.run_consort("lab", "kill", "--dir", str(self.lab), "nobody"), 1, "nobody")

    def test_a_controller_that_is_not_there(self):
        site = str(self.folder / "there.json")
        pathlib.Path(site).write_text(json.dumps({"name": "x", "hostClasses": HOST, "services": {"s": {"on": "a", "daemon": {"argv": ["/bin/x"]}}}}))
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
        data = next(self.lab.rglob("state.sqlite")).parent
        second = self.run_consort("controller", "--data", str(data), "--listen", "127.0.0.1:0", timeout=10)
        self.assert_says(second, 6, str(data), "in use", "hint:")
        self.must_be_well()


class Bodies(SharedScenario):
    """What may arrive at the API."""

    hosts = "h=1"
    zeros = "sha256:" + "0" * 64
    routes = [
        ("GET", "/v1/agents/{}/target"), ("POST", "/v1/agents/{}/reports"), ("GET", "/v1/objects/{}"), ("POST", "/v1/objects/missing"), ("PUT", "/v1/objects/{}"), ("GET", "/v1/uploads/{}"),
        ("POST", "/v1/plan"), ("POST", "/v1/deploy"), ("GET", "/v1/rollback"), ("GET", "/v1/rollouts"), ("GET", "/v1/rollouts/{}"), ("POST", "/v1/rollouts/{}/pause"), ("POST", "/v1/rollouts/{}/resume"),
        ("POST", "/v1/rollouts/{}/abort"), ("POST", "/v1/rollouts/{}/nonsense"), ("GET", "/v1/status"), ("GET", "/v1/generations"), ("GET", "/v1/generations/{}"), ("GET", "/v1/hosts"), ("GET", "/v1/hosts/{}"),
        ("DELETE", "/v1/hosts/{}"), ("GET", "/v1/registry"), ("GET", "/v1/log"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
    ]

    def open_lab(self):
        """A controller without TLS and one agent of it: bodies are the same, whoever carries them."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consort-scenario-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.make_tools()
        self.lab = self.folder / "plain"
        url_file = self.folder / "url"
        self.keep("controller", "--insecure", "--data", str(self.lab), "--listen", "127.0.0.1:0", "--url-file", str(url_file))
        self.wait_until("the controller listens", lambda: url_file.exists() and url_file.read_text().strip())
        self.environment["CONSORT_CONTROLLER"] = url_file.read_text().strip()
        root = self.folder / "root"
        (root / "etc").mkdir(parents=True)
        self.keep("agent", "--data", str(self.folder / "agent"), "--root", str(root), "--controller", self.environment["CONSORT_CONTROLLER"], "--name", "h1", "--address", "127.0.0.1", "--supervisor", "native")
        self.inventory = {"h1": "127.0.0.1"}
        self.wait_for_hosts()

    def keep(self, *arguments):
        process = subprocess.Popen([CONSORT, *arguments], stdout=subprocess.DEVNULL, stderr=open(self.folder / f"{arguments[0]}.log", "w"), env=self.environment, stdin=subprocess.DEVNULL)

        def end():
            process.terminate()
            process.wait(20)

        self.addCleanup(end)

    def consort(self, *arguments, timeout=120):
        return self.run_consort(*arguments, timeout=timeout)

    def consort_environment(self):
        return self.environment

    def ask(self, method, target, body=None, headers=None):
        connection = http.client.HTTPConnection(*self.controller_at, timeout=20)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, text, close=True):
        with socket.create_connection(self.controller_at, timeout=20) as wire:
            try:
                wire.sendall(text)
                if close:
                    wire.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was all sent
            out = b""
            try:
                while part := wire.recv(65536):
                    out += part
            except ConnectionResetError:
                pass
            return out

    def setUp(self):
        super().setUp()
        self.controller_at = self.controller()
        self.addCleanup(self.still_well)

    def still_well(self):
        self.assertEqual(self.ask("GET", "/healthz")[0], 200)
        self.assertEqual(self.ask("GET", "/readyz")[0], 200)

    def refused(self, method, target, body=None, headers=None, words=()):
        status, answer = self.ask(method, target, body, headers)
        self.assertIn(status, range(400, 500), f"{method} {target} {str(body)[:60]}: {status} {answer[:300]}")
        error = json.loads(answer)["error"]
        self.assertTrue(error["message"])
        for word in words:
            self.assertIn(word, json.dumps(error), f"{method} {target} {str(body)[:60]}")

    def test_every_route_with_every_wrong_body(self):
        bodies = [None, b"", b"{", b"nonsense", b"\xff\xfe\x00", b"[]", b"null", b"1", b'"x"', b'{"a":' * 5000, b"[" * 100_000, b'{"a":1e999}', b'{"a":"\\ud800"}', b'{"digests":1,"generation":1,"host":1}',
                  b'{"digests":[1],"generation":{},"host":"h1","instances":[]}', b'{"digests":["sha256:x"],"generation":{"site":1,"services":[],"hosts":7},"only":"x"}']
        for method, route in self.routes:
            for name in ("nobody", "%00", "..%2f..%2fetc%2fpasswd", "%zz", "a" * 5000, "%F0%9F%92%A9", self.zeros, "sha256:short"):
                if "{}" not in route and name != "nobody":
                    continue
                if route.endswith("/target") and name == "nobody":
                    continue  # a long-poll of a host that is new: allowed
                for body in bodies if method in ("POST", "PUT") and name in ("nobody", self.zeros) else [None]:
                    status, answer = self.ask(method, route.format(name), body)
                    label = f"{method} {route.format(name)[:100]} {str(body)[:60]}: {status} {answer[:200]}"
                    self.assertLess(status, 500, label)
                    if status >= 400:
                        self.assertTrue(json.loads(answer)["error"]["message"], label)
                    elif method in ("POST", "PUT"):
                        self.fail(label)

    def test_the_error_names_the_field(self):
        self.refused("POST", "/v1/plan", b"{}", words=["generation"])
        self.refused("POST", "/v1/deploy", b'{"generation": {"site": 1}}', words=["site"])
        self.refused("POST", "/v1/deploy", b'{"generation": 7}', words=["generation"])
        self.must_be_well()
        generation = json.loads(self.ask("GET", "/v1/generations/current")[1])
        self.refused("POST", "/v1/plan", json.dumps({"generation": generation, "only": "x"}).encode(), words=["only"])
        self.refused("POST", "/v1/plan", json.dumps({"generation": generation, "allowOutage": "yes"}).encode(), words=["allowOutage"])
        self.refused("POST", "/v1/deploy", json.dumps({"generation": generation, "expect": "x"}).encode(), words=["digest"])
        self.refused("POST", "/v1/objects/missing", b'{"digests": "x"}', words=["digests"])
        self.refused("POST", "/v1/objects/missing", b'{"digests": [{}]}', words=["digest"])
        self.refused("POST", "/v1/agents/h1/reports", b'{}', words=["host"])
        self.refused("POST", "/v1/agents/h1/reports", b'{"host": "h2"}')
        self.refused("GET", "/v1/agents/h1/target?epoch=-1", words=["epoch"])
        self.refused("GET", "/v1/agents/h1/target?seq=99999999999999999999", words=["seq"])
        self.refused("GET", "/v1/rollback?to=x", words=["x"])
        self.refused("GET", "/v1/rollback?to=4711", words=["4711"])
        self.refused("GET", "/v1/registry?selector=%3D%3D((", words=["selector"])
        self.refused("GET", "/v1/generations/99999999999999999999999")
        self.refused("PUT", f"/v1/objects/{self.zeros}?offset=-1", b"x", words=["offset"])
        self.refused("PUT", f"/v1/objects/{self.zeros}?offset=7", b"x")
        self.refused("PUT", f"/v1/objects/{self.zeros}", b"other bytes", words=["bytes"])
        status, _ = self.ask("PUT", f"/v1/objects/{self.zeros}?offset=0&last=0", b"half")
        self.assertEqual(status, 200)
        self.refused("PUT", f"/v1/objects/{self.zeros}?offset=4&last=1", b"other half", words=["again"])
        # Types deep inside what a deploy sends: every leaf of the true generation, replaced.
        for path in self.leaves(generation):
            for wrong in ({}, [], "\u0000", -1, 1e300, None, True):
                self.assertLess(self.ask("POST", "/v1/plan", json.dumps({"generation": self.with_leaf(generation, path, wrong)}).encode())[0], 500, f"{path} = {wrong}")

    def leaves(self, value, path=()):
        if isinstance(value, dict) and value:
            return [leaf for key in value for leaf in [path + (key,)] + self.leaves(value[key], path + (key,))]
        if isinstance(value, list) and value:
            return [path + (0,)] + self.leaves(value[0], path + (0,))
        return []

    def with_leaf(self, value, path, new):
        out = json.loads(json.dumps(value))
        at = out
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = new
        return out

    def test_ranges_of_objects(self):
        self.must_be_well()
        digest = json.loads(self.ask("GET", "/v1/generations/current")[1])["services"]["well"]["manifest"]
        status, whole = self.ask("GET", f"/v1/objects/{digest}")
        self.assertEqual(status, 200)
        for header in ("bytes=10-5", "bytes=-5", "bytes=5-", "bytes=0-0", "bytes=99999999999999-", "bytes=999999999999999999999-", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes="):
            status, part = self.ask("GET", f"/v1/objects/{digest}", headers={"Range": header})
            self.assertIn(status, (200, 206, 416), header)
            self.assertLessEqual(len(part), len(whole), header)
        self.assertEqual(self.ask("GET", f"/v1/objects/{digest}", headers={"Range": "bytes=10-5"})[1], whole)

    def test_a_body_of_100_megabytes_is_refused_before_it_is_read(self):
        for target in ("/v1/plan", "/v1/agents/h1/reports", f"/v1/objects/{self.zeros}", "/v1/rollouts/x/pause"):
            method = "PUT" if "objects" in target else "POST"
            head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n".encode()
            self.assertIn(b" 413 ", self.raw(head + b" " * (3 << 20), close=False).split(b"\r\n")[0])
            chunked = f"{method} {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + (b"100000\r\n" + b" " * (1 << 20) + b"\r\n") * 100
            answer = self.raw(chunked, close=False)
            self.assertTrue(b" 413 " in answer.split(b"\r\n")[0] or answer == b"", answer[:200])

    def test_wrong_methods(self):
        for method, route in self.routes:
            for other in ("PATCH", "DELETE", "TRACE", "BREW"):
                status, answer = self.ask(other, route.format("nobody"))
                if other == "DELETE" and "/hosts/" in route:
                    continue
                self.assertEqual(status, 405, f"{other} {route} {answer[:200]}")
                self.assertIn("answers to", json.dumps(json.loads(answer)["error"]))

    def test_broken_http(self):
        host = b"Host: x\r\n"
        cases = [
            (b"GET /healthz HTTP/1.1\r\n" + host + b"X: " + b"a" * 300_000 + b"\r\n\r\n", 431),
            (b"GET /healthz HTTP/1.1\r\n" + host + b"".join(b"X%d: y\r\n" % i for i in range(100_000)) + b"\r\n", 431),
            (b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n" + host + b"\r\n", 431),
            (b"nonsense\r\n\r\n", 400),
            (b"GET /healthz HTTP/9.9\r\n" + host + b"\r\n", (400, 505)),
            (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Content-Length: -5\r\n\r\n{}", 400),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Content-Length: 99999999999999999999999\r\n\r\n{}", (400, 413)),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Transfer-Encoding: gzip\r\n\r\n{}", (400, 501)),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
            (b"GET /v1/hosts/%zz HTTP/1.1\r\n" + host + b"\r\n", (400, 404)),
            (b"GET /v1/hosts/%00%ff%fe HTTP/1.1\r\n" + host + b"\r\n", (400, 404)),
            (b"GET /../../etc/passwd HTTP/1.1\r\n" + host + b"\r\n", (400, 404)),
            (b"GET http:// HTTP/1.1\r\n" + host + b"\r\n", (400, 404)),
        ]
        for text, expected in cases:
            answer = self.raw(text, close=text.count(b"HTTP/1.1\r\nHost: x\r\n\r\n") == 1 and text.startswith(b"GET"))
            status = int(answer.split()[1]) if answer else 0
            self.assertIn(status, expected if isinstance(expected, tuple) else (expected,), f"{text[:120]}: {answer[:300]}")
            self.assertTrue(json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["message"], answer[:300])

    def test_half_sent_and_pipelined_requests(self):
        for text in (b"GET /he", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", b"POST /v1/plan HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"):
            answer = self.raw(text)
            self.assertFalse(b" 500 " in answer or b" 200 " in answer, answer)
        # Half-sent requests that stay open take nothing from the others.
        open_wires = [socket.create_connection(self.controller_at) for _ in range(50)]
        for wire in open_wires:
            wire.sendall(b"POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        self.still_well()
        for wire in open_wires:
            wire.close()
        one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        self.assertEqual(self.raw(one * 200 + last, close=False).count(b"HTTP/1.1 200 "), 201)
        mixed = self.raw(b"POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" + b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + last, close=False)
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+) ", mixed), [b"400", b"405", b"200"])

    def test_z_a_deploy_works_after_all_of_it(self):
        # Hosts that only a hostile client has named are no obstacle.
        self.must_be_well()


class Stores(SharedScenario):
    """Damaged objects and full disks."""

    hosts = "h=2"

    def artifact_site(self, content, hosts=("h1",), name="artifact.json"):
        (self.folder / "payload").write_text(content)
        service = self.service("s", "a", version=hashlib.sha256(content.encode()).hexdigest()[:8], artifacts={"app": {"file": "payload"}})
        return self.site({"a": list(hosts)}, {"s": service}, name=name)

    def objects(self, where):
        return {path for path in where.rglob("objects/objects/*/*") if path.is_file()}

    def controller_data(self):
        return next(path for path in self.lab.rglob("state.sqlite") if "hosts" not in path.parts).parent

    def flip(self, path):
        mode = path.stat().st_mode
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        for at in range(len(data) // 2, min(len(data), len(data) // 2 + 8)):
            data[at] ^= 0xFF
        path.write_bytes(bytes(data))
        path.chmod(mode)

    def blob_of(self, content):
        """The path of the object below objects/objects."""
        digest = hashlib.sha256(content.encode()).hexdigest()
        return f"{digest[:2]}/{digest[2:]}"

    def installed(self, host, content):
        """Whether that very content is somewhere on the host, outside of its store."""
        for path in found(self.lab / "hosts" / host / "root", "*"):
            if path.is_file() and not path.is_symlink() and "objects" not in path.parts and path.stat().st_size == len(content):
                if path.read_bytes() == content.encode():
                    return True
        return False

    def test_a_damaged_object_in_the_controllers_store_is_never_installed(self):
        content = f"sound {time.monotonic_ns()} " + "content " * 2000
        self.must_be_well()
        self.must_deploy(self.artifact_site(content, ("h1",)), "--allow-shrink")
        self.assertTrue(self.installed("h1", content))
        self.flip(self.controller_data() / "objects/objects" / self.blob_of(content))
        # The second host gets the service now, and must fetch what is damaged.
        site = self.artifact_site(content, ("h1", "h2"), "both.json")
        outcome = self.deploy(site)
        self.assert_says(outcome, 4, "damaged", "sha256:" + hashlib.sha256(content.encode()).hexdigest(), "deploy again", '"step":"fetch"')
        self.assertNotIn("s@h2", self.instances())
        self.assertFalse(self.installed("h2", content))
        self.assertEqual(self.instances()["s@h1"]["health"], "healthy")
        # What is damaged is forgotten, so that the next deploy sends it anew.
        self.must_deploy(site)
        self.assertTrue(self.installed("h2", content))
        self.must_be_well()

    def test_a_damaged_manifest_in_the_controllers_store(self):
        content = f"manifest {time.monotonic_ns()}"
        site = self.artifact_site(content, ("h1",))
        self.must_deploy(site, "--allow-shrink")
        digest = self.instances()["s@h1"]["manifest"].removeprefix("sha256:")
        self.flip(self.controller_data() / "objects/objects" / digest[:2] / digest[2:])
        self.lab_verb("kill", "controller")
        self.lab_verb("start", "controller")
        self.wait_until("it answers", lambda: self.consort("status", "--json").status == 0)
        self.assertEqual(self.instances()["s@h1"]["health"], "healthy")
        first = self.plan(site)
        if first.status != 0:
            self.assert_says(first, 1, "damaged", digest)
        self.wait_until("the hosts are back", lambda: all(h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]))
        self.assertEqual(self.plan(site).status, 0)
        self.must_be_well()

    def test_a_damaged_object_in_an_agents_store(self):
        content = f"agent {time.monotonic_ns()} " + "content " * 2000
        site = self.artifact_site(content, ("h1",))
        self.must_deploy(site, "--allow-shrink")
        store = self.lab / "hosts/h1/root/var/lib/consort/objects/objects"
        self.flip(store / self.blob_of(content))
        self.must_deploy(self.artifact_site("other", ("h1",), "other.json"))
        # Back to what is damaged here: it is noticed and fetched anew.
        back = self.deploy(self.artifact_site(content, ("h1",)))
        if back.status != 0:
            self.assert_says(back, 4, "damaged")
            self.must_deploy(self.artifact_site(content, ("h1",)))
        self.assertTrue(self.installed("h1", content))
        self.assertEqual(self.instances()["s@h1"]["health"], "healthy")
        self.must_be_well()

    def on_small_disk(self, folder, size):
        """The folder, with what is in it, on a file system of its own. Its user must be down."""
        if os.geteuid() != 0:
            self.skipTest("mounting a small file system needs root")
        kept = self.folder / f"kept-{time.monotonic_ns()}"
        subprocess.run(["cp", "-a", str(folder), str(kept)], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
        self.keeper.addCleanup(subprocess.run, ["umount", "-l", str(folder)], check=False)
        subprocess.run(["cp", "-a", f"{kept}/.", str(folder)], check=True)

    def fill(self, folder):
        file = os.open(folder / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            size = 1 << 20
            while size:
                try:
                    os.write(file, b"x" * size)
                except OSError:
                    size //= 2
        finally:
            os.close(file)

    def test_y_the_controllers_disk_is_full(self):
        self.must_be_well()
        data = self.controller_data()
        self.lab_verb("kill", "controller")
        self.on_small_disk(data, "24m")
        self.lab_verb("start", "controller")
        self.must_be_well()
        generation = self.generation()
        self.fill(data)
        mark = self.mark()
        full = self.deploy(self.artifact_site("never " * 100_000, ("h1", "h2")))
        self.assertNotEqual(full.status, 0, str(full))
        self.assertRegex(full.out + full.err, "No space left|disk is full|full")
        self.assertIn("hint", full.out + full.err)
        self.assert_no_crash(full.out + full.err)
        self.assertEqual(self.story(mark), [])
        # It answers on, and knows what it knew.
        self.assertEqual(self.generation(), generation)
        self.assertEqual({row["health"] for row in self.instances().values()}, {"healthy"})
        # Also when it is killed and started on the full disk.
        self.lab_verb("kill", "controller")
        self.consort("status")
        os.unlink(data / "ballast")
        self.run_consort("lab", "start", "--dir", str(self.lab), "controller")
        self.wait_until("it answers", lambda: self.consort("status", "--json").status == 0)
        self.assertEqual(self.generation(), generation)
        self.wait_until("the hosts are back", lambda: all(h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]), 60)
        self.must_be_well()

    def test_z_a_hosts_disk_is_full(self):
        self.must_be_well()
        data = self.lab / "hosts/h2/root/var/lib/consort"
        self.lab_verb("kill", "h2")
        self.on_small_disk(data, "64m")
        self.lab_verb("start", "h2")
        self.wait_until("h2 is back", lambda: all(h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]), 60)
        self.must_be_well()
        self.must_deploy(self.artifact_site("small", ("h1", "h2")))
        self.fill(data)
        mark = self.mark()
        full = self.deploy(self.artifact_site("big " * 100_000, ("h2",), "big.json"), "--allow-shrink")
        self.assertIn(full.status, (3, 4), str(full))
        self.assertRegex(full.out, "No space left|free|space")
        self.assert_no_crash(full.out + full.err)
        self.assertEqual([line for line in self.story(mark) if line.endswith("h2") and line.startswith("stop")], [], "the old version was stopped for nothing")
        self.assertEqual(self.instances()["s@h2"]["health"], "healthy")
        os.unlink(data / "ballast")
        self.must_be_well()


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
