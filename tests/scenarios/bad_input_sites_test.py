"""Sites, artifacts and resources that are broken, endless, huge or hostile: a clear error with its place and a remedy, nothing changed, no crash."""
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import unittest

from harness import CONSORT, ONE_HOST, SharedScenario, run_tests

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


class SiteFiles(SharedScenario):
    """`consort check` and `consort deploy` of sites that are none."""

    hosts = "h=1"

    def check(self, text, name="bad.jsonnet", timeout=60):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.consort("check", "--site", str(path), timeout=timeout)

    def check_service(self, **service):
        site = {"name": "x", "hostClasses": ONE_HOST, "services": {"s": {"on": "a", "daemon": {"argv": ["/bin/x"]}, **service}}}
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
        self.assert_says(self.run_consort("check", "--site", str(self.folder / "fifo"), timeout=10), 1, "fifo is a FIFO, not a file")
        # A folder stands for the site in it.
        self.assert_says(self.run_consort("check", "--site", str(self.folder / "knobs"), timeout=10), 1, "there is no site.jsonnet in", "knobs")
        os.mkdir(self.folder / "knobs" / "site.jsonnet")
        self.assert_says(self.run_consort("check", "--site", str(self.folder / "knobs"), timeout=10), 1, "site.jsonnet is a directory, not a file")
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
        top = lambda **fields: self.check(json.dumps({"name": "x", "hostClasses": ONE_HOST, "services": {}, **fields}), "bad.json")
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

    def test_a_snapshot_of_a_running_service_needs_a_fence(self):
        hooks = {"backup": {"argv": ["/bin/copy"], "backup": "running"}, "restore": {"argv": ["/bin/putback"]}}
        self.assert_says(self.check_service(hooks=hooks, dataVersion=1), 1, "backup: 'running' needs a drain hook",
                         "services.s.hooks.backup", "hint: write a drain hook that keeps all writes out")
        for command in ("plan", "deploy"):
            self.assert_says(self.consort(command, "--site", str(self.folder / "bad.json")), 1, "needs a drain hook")
        self.assertEqual(self.check_service(hooks=hooks).status, 0)  # without data it is never run
        self.assertEqual(self.check_service(hooks={**hooks, "drain": {"argv": ["/bin/fence"]}}, dataVersion=1).status, 0)

    def test_all_mistakes_are_told_and_many_of_them_stay_readable(self):
        def check(services, *flags):
            path = self.folder / "bad.json"
            path.write_text(json.dumps({"name": "x", "hostClasses": ONE_HOST, "services": services}))
            return self.consort("check", "--site", str(path), *flags)
        bad = lambda i: {"on": "a", "resources": {"r": {"type": "file", "path": f"etc/{i}"}, "t": {"type": "symlink", "path": f"t{i}", "target": "/"}}}
        sound = {"on": "a", "daemon": {"argv": ["/bin/x"]}}
        some = check({"b1": bad(1), "b2": bad(2), "good": sound})
        self.assert_says(some, 1, "'etc/1'", "'t1'", "'etc/2'", "'t2'", "services.b2.resources.t.path")
        self.assertIn("4 mistakes in 2 services; sound: 1 host class, 1 host, 1 service,", some.out)
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


if __name__ == "__main__":
    run_tests()
