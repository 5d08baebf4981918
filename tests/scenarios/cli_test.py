"""What the command line shows of a real fleet: plans that need a word, rollouts and their reasons, records and completions."""
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import time

from harness import CONSORT, SharedScenario, run_tests

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDS = {name: record["fields"] for name, record in json.loads((ROOT / "docs/reference/json.json").read_text())["records"].items()}
PLAIN = {"string": str, "int": int, "bool": bool, "null": type(None)}


def problems_of(value, kind, path):
    """Where the value is not what docs/reference/json.md says."""
    if " or " in kind:
        return [] if any(not problems_of(value, k, path) for k in kind.split(" or ")) else [f"{path}: {value!r} is no {kind}"]
    if kind == "any":
        return []
    if kind in PLAIN:
        fits = isinstance(value, PLAIN[kind]) and not (kind == "int" and isinstance(value, bool))
        return [] if fits else [f"{path}: {value!r} is no {kind}"]
    if kind.startswith("list of "):
        if not isinstance(value, list):
            return [f"{path}: no list"]
        return [p for i, v in enumerate(value) for p in problems_of(v, kind[8:], f"{path}[{i}]")]
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no {kind}"]
    if kind.startswith("map of "):
        return [p for k, v in value.items() for p in problems_of(v, kind[7:], f"{path}.{k}")]
    fields = RECORDS[kind]
    out = [f"{path}.{name} is missing" for name in fields if name not in value]
    out += [f"{path}.{name} is not documented" for name in value if name not in fields]
    return out + [p for name, k in fields.items() if name in value for p in problems_of(value[name], k, f"{path}.{name}")]


class CommandLine(SharedScenario):
    hosts = "h=2"

    def pair(self, version, **extra):
        """web needs db, the only one."""
        db = self.service("db", "d", version=version)
        web = self.service("web", "w", version="v1", needs=["db"])
        web.update(extra)
        return self.site({"d": ["h1"], "w": ["h2"]}, {"db": db, "web": web})

    def assert_record(self, kind, outcome):
        record = outcome.json
        self.assertEqual(problems_of(record, kind, kind), [], str(outcome))
        return record

    def test_a_plan_that_needs_a_word_is_shown_and_only_deploy_refuses(self):
        self.must_deploy(self.pair("v1"), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        site = self.pair("v2")
        planned = self.plan(site)
        self.assertEqual(planned.status, 2, str(planned))
        record = self.assert_record("plan", planned)
        self.assertEqual([n["option"] for n in record["needs"]], ["--allow-outage"])
        self.assertIn("upgrade", [s["action"] for s in record["steps"]])
        text = self.consort("plan", "--site", site)
        self.assertIn("needs --allow-outage: ", text.out)
        command = text.out.strip().splitlines()[-1].split(": ", 1)[1]
        refused = self.deploy(site)
        self.assertEqual(refused.status, 6, str(refused))
        self.assertEqual(refused.json["error"]["code"], "refused")
        self.assert_record("failure", refused)
        done = self.consort(*command.split()[1:], "--yes")
        self.assertEqual(done.status, 0, str(done))

    def test_a_failed_rollout_tells_its_reason_everywhere(self):
        self.must_deploy(self.pair("v1"), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        self.knob("db", "v3", "validate", 7)
        failed = self.deploy(self.pair("v3"), "--allow-outage")
        self.assertEqual(failed.status, 4, str(failed))
        record = self.assert_record("end of a rollout", failed)
        self.assertIn("db@h1", record["reason"])
        for line in failed.err.splitlines():
            self.assertEqual(problems_of(json.loads(line), "event", "event"), [])
        shown = self.assert_record("rollout", self.consort("rollout", "show", "--json"))
        step = [s for s in shown["steps"] if s["phase"] == "failed"][0]
        self.assertEqual((step["service"], step["host"], step["outcome"]["exitStatus"]), ("db", "h1", 7))
        self.assertLessEqual(step["began"], step["since"])
        for command in (["status"], ["history"], ["rollout", "list"], ["rollout", "show"]):
            told = [line for line in self.consort(*command).out.splitlines() if record["rollout"] in line or "status 7" in line]
            self.assertIn("status 7", " ".join(told), command)
            self.assertNotRegex(" ".join(told), "status 7.*exit status 7")
        self.wait_until("the hook's last words are where the hint leads", lambda: "db v3 validates: 7" in self.consort("explain", "h1", "db").out)
        self.no_knobs()
        self.must_deploy(self.pair("v4"), "--allow-outage")
        self.assertIsNone(self.consort("status", "--json").json["lastFailure"])

    def test_a_person_is_asked_also_when_the_output_goes_into_a_pipe(self):
        """Given `consort deploy | tee log` at a terminal: a no changes nothing."""
        self.must_deploy(self.pair("v1"), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        before = self.generation()
        command = [CONSORT, "lab", "run", "--dir", str(self.lab), "--", CONSORT, "deploy", "--site", self.pair("v2"), "--allow-outage"]
        ours, theirs = pty.openpty()
        process = None
        try:
            # What was typed before the question is no answer to it, and is not shown as one.
            os.write(ours, b"y\n")
            process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=self.folder, env=self.environment)
            shown, asked_after = b"", b""
            os.set_blocking(process.stdout.fileno(), False)
            deadline = time.monotonic() + 60
            while b"[y/N]" not in shown and time.monotonic() < deadline:
                ready, _, _ = select.select([ours, process.stdout], [], [], 1)
                # As a pipe's reader that shows what it gets at once.
                if process.stdout in ready:
                    asked_after += process.stdout.read() or b""
                if ours in ready:
                    shown += os.read(ours, 65536)
            self.assertIn(b"[y/N]", shown)
            self.assertIn(b"wave 1", asked_after, "the plan comes before the question")
            os.write(ours, b"n\n")
            self.assertEqual(process.wait(60), 1, shown)
            os.set_blocking(process.stdout.fileno(), True)
            self.assertIn(b"nothing was changed", asked_after + process.stdout.read())
        finally:
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.stdout.close()
            os.close(ours)
            os.close(theirs)
        self.assertEqual(self.generation(), before)

    def drained(self, version, **drain):
        """web, with a drain hook of its own."""
        web = self.service("web", "w", version=version, drains=True)
        web["hooks"]["drain"].update(drain)
        return self.site({"w": ["h2"]}, {"web": web})

    def test_a_version_whose_drain_hook_is_broken_can_be_left(self):
        self.must_deploy(self.drained("v1"), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        self.knob("web", "v1", "drain", 7)
        failed = self.deploy(self.drained("v2"))
        self.assertEqual(failed.status, 4, str(failed))
        self.assertIn("a hook of the version that is here", failed.json["reason"])
        # As the hint says.
        self.assertIn("onFailure: 'continue'", failed.json["reason"])
        done = self.deploy(self.drained("v2", onFailure="continue"))
        self.assertEqual(done.status, 0, str(done))
        told = [json.loads(line)["text"] for line in done.err.splitlines() if json.loads(line)["kind"] == "step-done"]
        self.assertIn("drain failed and was passed over", told[-1])
        self.assertEqual(self.instances()["web@h2"]["version"], "v2")

    def test_who_stops_to_watch_is_told_how_to_stop_the_rollout(self):
        self.must_deploy(self.pair("v1"), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        web = self.service("web", "w", version="v8", needs=["db"])
        site = self.site({"d": ["h1"], "w": ["h2"]}, {"db": self.service("db", "d", version="v1"), "web": web}, {"soak": "100s"})
        command = [CONSORT, "lab", "run", "--dir", str(self.lab), "--", CONSORT, "deploy", "--site", site, "--yes"]
        told = self.folder / "told"
        with told.open("w") as err:
            watching = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, cwd=self.folder, env=self.environment)
        try:
            self.wait_until("it is under way", lambda: self.consort("status", "--json").json["rollouts"])
            [rollout] = [r["id"] for r in self.consort("status", "--json").json["rollouts"]]
            self.wait_until("it follows", lambda: "web@h2" in told.read_text())
            watching.send_signal(signal.SIGINT)
            watching.wait(30)
        finally:
            watching.kill()
            watching.wait()
        err = told.read_text()
        self.assertEqual(watching.returncode, 130, err)
        self.assertIn(f"stop it with: consort rollout abort {rollout}", err)
        self.assertEqual([r["id"] for r in self.consort("status", "--json").json["rollouts"]], [rollout], "it goes on")
        self.assertEqual(self.consort("rollout", "abort", rollout).status, 4)

    def test_logs_begin_where_they_are_asked_to_and_follow_over_a_restart(self):
        self.must_deploy(self.pair("v1"), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        kinds = lambda *options: [json.loads(line)["kind"] for line in self.consort("logs", "--json", *options).out.splitlines()]
        everything = kinds()
        self.assertEqual(kinds("--lines", "3"), everything[-3:])
        self.assertEqual(kinds("--since", "1h", "-n", "100000"), everything)
        self.assertEqual(kinds("--since", "2100-01-01T00:00:00Z"), [])
        self.assert_says(self.consort("logs", "--since", "yesterday"), 64, "--since yesterday", "--since 10m")
        self.assert_says(self.consort("logs", "--lines", "-1"), 64, "--lines -1")
        self.assert_says(self.consort("logs", "--service", "nope"), 1, "there is no service 'nope'", "consort status")
        command = [CONSORT, "lab", "run", "--dir", str(self.lab), "--", CONSORT, "logs", "--follow", "--lines", "1", "--json"]
        shown = self.folder / "followed"
        with shown.open("w") as out:
            following = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=self.folder, env=self.environment)
        try:
            self.wait_until("it has begun", lambda: json.loads(shown.read_text().splitlines()[0])["kind"])
            self.lab_verb("kill", "controller")
            self.assert_says(self.consort("status"), 1, "consort lab start")
            self.lab_verb("start", "controller")
            self.wait_for_hosts()
            self.must_deploy(self.pair("v6"), "--allow-outage")
            self.wait_until("what happens after the restart is shown", lambda: '"ended"' in "".join(shown.read_text().splitlines()[1:]))
        finally:
            following.kill()
            following.wait()

    def test_a_host_that_is_cut_off_is_shown_so(self):
        shown = lambda: [line for line in self.run_consort("lab", "status", "--dir", str(self.lab)).out.splitlines() if line.startswith("h2 ")][0]
        self.assertTrue(shown().endswith("running"), shown())
        self.lab_verb("cut", "h2")
        self.wait_until("it is cut off", lambda: shown().endswith("cut off"))
        self.lab_verb("heal", "h2")
        self.wait_until("it is back", lambda: shown().endswith("running"))
        self.wait_for_hosts()

    def test_every_record_is_what_the_reference_says(self):
        site = self.pair("v1")
        self.must_deploy(site, "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        other = self.pair("v5")
        for kind, argv in (
            ("status", ["status"]),
            ("history", ["history"]),
            ("rollouts", ["rollout", "list"]),
            ("explanation", ["explain", "h1"]),
            ("explanation", ["explain", "web"]),
            ("hosts", ["host", "list"]),
            ("host", ["host", "show", "h1"]),
            ("check", ["check", "--site", other]),
            ("graph", ["graph", "--site", other]),
            ("requisites", ["requisites", "web", "--site", other]),
            ("diff", ["diff", "--site", other]),
            ("lab", ["lab", "status", "--dir", str(self.lab)]),
            ("version", ["version"]),
            ("failure", ["host", "show", "nobody"]),
        ):
            with self.subTest(argv=argv):
                self.assert_record(kind, self.consort(*argv, "--json"))
        for line in self.consort("logs", "--json").out.splitlines():
            self.assertEqual(problems_of(json.loads(line), "event", "event"), [])
        (self.folder / "file.json").write_text(json.dumps({"resources": {"f": {"type": "file", "path": "/f", "content": "x"}}}))
        self.assert_record("apply", self.run_consort("apply", "file.json", "--root", str(self.folder / "root"), "--dry-run", "--json"))

    def test_what_a_rollout_brings_is_changed_and_what_somebody_spoils_is_repaired(self):
        page = lambda text: {"resources": {"page": {"type": "file", "path": "${service.data}/page", "content": text}}}
        self.must_deploy(self.pair("v1", **page("one")), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        events = lambda: [e["kind"] for e in self.consort("explain", "h2", "web", "--json").json["events"] if e["text"].startswith("page")]
        self.wait_until("the change is told", lambda: "changed" in events(), 20)
        before = events().count("repaired")
        [path] = list(self.lab.rglob("services/web/data/page"))
        path.write_text("spoilt")
        self.wait_until("the repair is told", lambda: events().count("repaired") == before + 1, 20)

    def test_what_somebody_does_to_an_artifact_is_put_back(self):
        app = self.folder / "app"
        (app / "bin").mkdir(parents=True, exist_ok=True)
        (app / "bin" / "shop").write_text("#!/bin/sh\n")
        (app / "bin" / "shop").chmod(0o755)
        (app / "read.me").write_text("hello\n")
        brings = {"artifacts": {"app": {"folder": "app"}}}
        self.must_deploy(self.pair("v1", **brings), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        [folder] = [path for path in (self.lab / "hosts" / "h2").rglob("services/web/artifacts/*") if path.is_dir()]
        repairs = lambda: [e["text"] for e in self.consort("explain", "h2", "web", "--json").json["events"] if e["kind"] == "repaired" and e["text"].startswith("artifact:app: ")]
        (folder / "bin" / "shop").write_text("#!/bin/sh\n# evil\n")
        (folder / "cache").write_text("of the program")
        self.wait_until("the change is undone", lambda: repairs() and (folder / "bin" / "shop").read_text() == "#!/bin/sh\n")
        self.assertIn("bin/shop: changed", repairs()[-1])
        folder.rename(self.folder / "away")
        self.wait_until("what is gone comes back", lambda: (folder / "read.me").exists() and (folder / "bin" / "shop").stat().st_mode & 0o777 == 0o755)
        # What was done while no agent looked on is found at its start.
        self.lab_verb("kill", "h2")
        (folder / "read.me").write_text("bye\n")
        self.lab_verb("start", "h2")
        self.wait_for_hosts()
        self.wait_until("it is found", lambda: (folder / "read.me").read_text() == "hello\n")
        # What an earlier version has left is looked at before it is used again.
        self.must_deploy(self.pair("v2"), "--allow-outage")
        if folder.exists():
            (folder / "read.me").write_text("bye\n")
        self.must_deploy(self.pair("v3", **brings), "--allow-outage")
        self.assertEqual((folder / "read.me").read_text(), "hello\n")

    def test_what_others_wrote_steers_nobodys_terminal(self):
        """Not their words are lost, only what a terminal would take for an order; programs get it as it is."""
        why = "why \x1b[2J\x1b]0;mine\x07\nforged"
        self.must_deploy(self.pair("v7"), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal", "-m", why)
        for command in (["history"], ["rollout", "show"], ["rollout", "list"]):
            with self.subTest(command=command):
                shown = self.consort(*command)
                self.assertNotRegex(shown.out + shown.err, r"[\x00-\x08\x0b-\x1f\x7f]")
        self.assertIn("why ?[2J?]0;mine? forged", self.consort("history").out)
        self.assertEqual(max(self.consort("history", "--json").json["generations"], key=lambda g: g["number"])["message"], why)

    def test_shells_complete_names_and_never_wait_or_complain(self):
        self.must_deploy(self.pair("v1"), "--allow-outage", "--allow-shrink", "--allow-unsafe-removal")
        script = self.consort("completions", "bash").out
        ask = script + 'compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _consort; printf "%s\\n" "${COMPREPLY[@]}"'
        complete = lambda *words: subprocess.run(
            ["bash", "-c", ask, "-", CONSORT, *words], capture_output=True, text=True, timeout=5, env={**self.environment, "CONSORT_CONTROLLER": self.url(), "CONSORT_CONTEXT": str(self.lab / "admin.json")})
        self.assertEqual(complete("explain", "h").stdout.split(), ["h1", "h2"])
        self.assertIn("db", complete("deploy", "--only", "").stdout.split())
        self.environment["CONSORT_CONTROLLER"] = "http://127.0.0.1:1"
        try:
            silent = self.run_consort("__complete", "--", "explain", "", timeout=3)
        finally:
            del self.environment["CONSORT_CONTROLLER"]
        self.assertEqual((silent.status, silent.out, silent.err), (0, "", ""))

    def url(self):
        return self.consort_environment()["CONSORT_CONTROLLER"]


if __name__ == "__main__":
    run_tests()
