"""The scenarios of docs/testing.md with real processes, by their ids."""
import json
import os
import pathlib
import re
import subprocess
import unittest

from harness import CONSORT, PLATFORM, Scenario, run_tests

A_B = {"a": ["h1"], "b": ["h2"]}


class Chain(Scenario):
    def test_S01_chain_then_nothing(self):
        site = self.site(A_B, {"s1": self.service("s1", "a"), "s2": self.service("s2", "b", needs=["s1"]), "s3": self.service("s3", "b", needs=["s1", "s2"])})
        self.must_deploy(site)
        self.assertEqual(self.story(), ["start s1@h1", "start s2@h2", "start s3@h2"])
        before, generation = self.mark(), self.generation()
        again = self.must_deploy(site)
        self.assertEqual(again["summary"], "nothing to do")
        self.assertEqual(self.mark(), before)
        self.assertEqual(self.generation(), generation)
        self.assertEqual(self.plan(site).status, 0)

    def test_S02_move_one_and_back(self):
        services = lambda on: {"s1": self.service("s1", "a"), "s2": self.service("s2", on, needs=["s1"]), "s3": self.service("s3", "b", needs=["s1", "s2"])}
        home = self.site(A_B, services("b"), name="home.json")
        self.must_deploy(home)
        first = {k: v["manifest"] for k, v in self.instances().items()}
        mark = self.mark()
        self.must_deploy(self.site(A_B, services("a"), name="moved.json"))
        self.assertEqual(self.story(mark), ["stop s3@h2", "stop s2@h2", "start s2@h1", "start s3@h2"])
        self.must_deploy(home)
        self.assertEqual({k: v["manifest"] for k, v in self.instances().items()}, first)

    def test_S05_cycles(self):
        ring = ["n1", "n2", "n3", "n4"]
        follows = dict(zip(ring, ring[1:] + ring[:1]))
        hard = self.site(A_B, {n: self.service(n, "a", needs=[follows[n]]) for n in ring}, name="hard.json")
        refused = self.consort("check", "--site", hard)
        self.assertEqual(refused.status, 1)
        self.assertIn("n1 → n2 → n3 → n4 → n1", refused.err)
        soft = lambda v: self.site(A_B, {n: self.service(n, "a", uses=[follows[n]], version=v if n == "n2" else "v1") for n in ring}, name=f"soft-{v}.json")
        self.must_deploy(soft("v1"))
        mark = self.mark()
        self.must_deploy(soft("v2"))
        self.assertEqual(self.story(mark), ["stop n2@h1", "start n2@h1"])

    def test_labels_of_the_inventory_reach_the_host_and_their_change_is_planned(self):
        folder = "/var/tmp" if PLATFORM == "nspawn" else "/var/lib/consort"

        def site(rack):
            path = pathlib.Path(self.site({"a": ["h1", "h2"]}, {"s": self.service("s", "a", resources={
                "where": {"type": "file", "path": folder + "/where-${host.name}", "content": "${host.labels.rack} ${host.address}"},
                "only": {"type": "file", "path": folder + "/only-${host.name}", "content": "x", "when": "rack=r2"}})}, name=f"{rack}.json"))
            document = json.loads(path.read_text())
            hosts = document["hostClasses"]["a"]["inventory"]["hosts"]
            hosts["h1"]["labels"] = {"rack": rack}
            hosts["h2"]["labels"] = {"rack": "r9"}
            path.write_text(json.dumps(document))
            return str(path)

        read = lambda name, host: self.on_host(host, "/bin/cat", f"{folder}/{name}-{host}").out if PLATFORM == "nspawn" else (self.lab / f"hosts/{host}/root{folder}/{name}-{host}").read_text()
        self.must_deploy(site("r1"))
        self.assertEqual(read("where", "h1"), f"r1 {self.inventory['h1']}")
        self.assertEqual(read("where", "h2"), f"r9 {self.inventory['h2']}")
        self.assertEqual(self.plan(site("r1")).status, 0)
        planned = self.plan(site("r2"))
        self.assertEqual(planned.status, 2, str(planned))
        self.assertEqual([(s["host"], s["action"], s["reason"]) for s in planned.json["steps"]], [("h1", "reconfigure", "label rack of the host r1 → r2")])
        mark = self.mark()
        self.must_deploy(site("r2"))
        self.assertEqual(self.story(mark), ["stop s@h1", "start s@h1"])
        self.assertEqual(read("where", "h1"), f"r2 {self.inventory['h1']}")
        self.assertEqual(read("only", "h1"), "x")

    def test_S34_reflexive(self):
        site = self.site(A_B, {"s1": self.service("s1", "a")})
        self.assertEqual(self.plan(site).status, 2)
        self.must_deploy(site)
        self.assertEqual(self.plan(site).status, 0)
        changed = self.site(A_B, {"s1": self.service("s1", "a", version="v2")})
        self.assertEqual(self.plan(changed).status, 2)

    def test_S29_only_touches_what_is_asked_for(self):
        site = lambda v: self.site(A_B, {n: self.service(n, "a", version=v) for n in "xyz"})
        self.must_deploy(site("v1"))
        mark = self.mark()
        self.must_deploy(site("v2"), "--only", "y")
        self.assertEqual({e["service"] for e in self.journal()[mark:]}, {"y"})

    def test_S30_one_broken_service(self):
        good = self.service("good", "a")
        bad = self.service("bad", "a")
        bad["resources"] = {"r": {"type": "file", "path": "/tmp/x", "content": "${needs.nothing.port}"}}
        site = self.site(A_B, {"good": good, "bad": bad})
        refused = self.deploy(site)
        self.assertEqual(refused.status, 1, str(refused))
        self.assertEqual(self.journal(), [])
        partial = self.deploy(site, "--keep-going")
        self.assertEqual(partial.status, 3, str(partial))
        self.assertEqual(self.story(), ["start good@h1"])

    def test_S32_stale_plan(self):
        site = lambda v: self.site(A_B, {"s1": self.service("s1", "a", version=v)}, name=f"{v}.json")
        self.must_deploy(site("v1"))
        seen = self.plan(site("v2")).json["inputs"].split(":")[1][:12]
        self.must_deploy(site("v3"))
        mark = self.mark()
        stale = self.deploy(site("v2"), "--plan", seen)
        self.assertEqual(stale.status, 6, str(stale))
        self.assertEqual(stale.json["error"]["code"], "stale")
        self.assertEqual(self.mark(), mark)

    def test_S39_requisites_cross_hosts(self):
        site = self.site(A_B, {"db": self.service("db", "b"), "web": self.service("web", "a", needs=["db"])})
        self.must_deploy(site)
        listed = {r["service"]: r for r in self.consort("requisites", "web", "--site", site, "--json").json["requisites"]}
        self.assertEqual(listed["db"]["hosts"], ["h2"])
        status = self.instances()
        self.assertIn(status["db@h2"]["manifest"], listed["db"]["objects"])


class Invalid(Scenario):
    hosts = "h=1"

    def refused(self, services, *words, classes=None):
        outcome = self.deploy(self.site(classes or {"a": ["h1"]}, services))
        self.assertEqual(outcome.status, 1, str(outcome))
        message = json.dumps(outcome.json["error"], ensure_ascii=False)
        for word in words:
            self.assertIn(word, message)
        self.assertEqual(self.journal(), [])

    def test_S04_invalid_models(self):
        s = lambda **extra: {**self.service("s", "a"), **extra}
        self.refused({"s": s(on="aa")}, "services.s.on", "did you mean 'a'")
        self.refused({"s": s(needs={"x": {"service": "nobody", "endpoint": "e"}})}, "services.s.needs.x", "nobody")
        self.refused({"s": s(), "t": {**self.service("t", "a"), "needs": {"x": {"service": "s", "endpoint": "f"}}}}, "services.t.needs.x")
        self.refused({"s": s(resources={"r": {"type": "file", "path": "/tmp/x", "content": "${needs.y.port}"}})}, "services.s", "declares no such need")
        self.refused({"s": s(resources={"r": {"type": "fiel", "path": "/tmp/x"}})}, "services.s.resources.r.type", "did you mean 'file'")
        self.refused({"s": s(provids={})}, "services.s", "did you mean 'provides'")
        ports = {n: {**self.service(n, "a"), "provides": {"e": {"port": 80}}} for n in "st"}
        self.refused(ports, "both claim port 80")


class Classes(Scenario):
    hosts = "h=3"

    def test_S06_class_cycle_is_no_cycle(self):
        self.must_deploy(self.site({"X": ["h1", "h2"], "Y": ["h3"]}, {"A": self.service("A", "X", needs=["B"]), "B": self.service("B", "Y", needs=["Z"]), "Z": self.service("Z", "X")}))
        story = self.story()
        self.assertEqual(sorted(story[:2]), ["start Z@h1", "start Z@h2"])
        self.assertEqual(story[2], "start B@h3")
        self.assertEqual(sorted(story[3:]), ["start A@h1", "start A@h2"])

    def test_S14_host_down(self):
        site = lambda v, failures: self.site({"w": ["h1", "h2", "h3"]}, {"s": self.service("s", "w", version=v)}, {"maxFailures": failures, "maxUnavailable": 3}, name=f"{v}-{failures}.json")
        self.must_deploy(site("v1", 1))
        self.lab_verb("kill", "h2")
        self.wait_until("h2 is seen to be down", lambda: any(not h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]), 40)
        self.assertIn("on h2: unreachable, was running", self.consort("explain", "h2").out)
        mark = self.mark()
        refused = self.deploy(site("v2", 0))
        self.assertEqual(refused.status, 6, str(refused))
        self.assertEqual(self.mark(), mark)
        partial = self.deploy(site("v2", 1))
        self.assertEqual(partial.status, 3, str(partial))
        self.assertEqual({e["host"] for e in self.journal()[mark:]}, {"h1", "h3"})
        self.lab_verb("start", "h2")
        self.wait_until("h2 converges when it returns", lambda: self.instances()["s@h2"]["current"], 60)


class Failing(Scenario):
    hosts = "h=2"

    def test_S10_failing_upgrade(self):
        site = lambda v: self.site(A_B, {"s": self.service("s", "a", version=v)}, name=f"{v}.json")
        self.must_deploy(site("v1"))
        generation = self.generation()
        self.knob("s", "v2", "start", 3)
        failed = self.deploy(site("v2"))
        self.assertEqual(failed.status, 4, str(failed))
        self.assertEqual(failed.json["result"], "reverted")
        step = [s for s in failed.json["steps"] if s["phase"] == "failed"][0]
        self.assertEqual((step["host"], step["service"], step["outcome"]["step"], step["outcome"]["exitStatus"]), ("h1", "s", "start", 3))
        self.assertEqual(self.generation(), generation)
        self.assertEqual(self.instances()["s@h1"]["health"], "healthy")
        self.assertEqual([e["version"] for e in self.journal() if e["verb"] == "start"][-1], "v1")

    def test_S10_fresh_install_variant(self):
        self.knob("s", "v1", "validate", 1)
        failed = self.deploy(self.site(A_B, {"s": self.service("s", "a")}))
        self.assertEqual(failed.status, 4, str(failed))
        self.assertIsNone(self.generation())
        self.assertEqual(self.instances(), {})

    def test_S18_schema_upgrade(self):
        site = lambda v, data: self.site(A_B, {"db": self.service("db", "b", version=v, data=data), "api": self.service("api", "a", needs=["db"], drains=True)}, {"allowOutage": True}, name=f"{v}.json")
        self.must_deploy(site("v1", 1))
        self.assertEqual(self.state_of("db", "h2"), "created by v1\n")
        self.knob("db", "v2", "validate", 1)
        mark = self.mark()
        failed = self.deploy(site("v2", 2))
        self.assertEqual(failed.status, 4, str(failed))
        story = self.story(mark, ("drain", "undrain", "start", "stop", "backup", "migrate", "restore"))
        self.assertEqual(story, ["drain api@h1", "stop db@h2", "backup db@h2", "migrate db@h2", "start db@h2", "stop db@h2", "restore db@h2", "start db@h2", "undrain api@h1"])
        self.assertEqual(self.state_of("db", "h2"), "created by v1\n")
        self.assertEqual({k: v["health"] for k, v in self.instances().items()}, {"api@h1": "healthy", "db@h2": "healthy"})
        # Good this time; days later a rollback uses v2's code for the way down.
        self.no_knobs()
        self.must_deploy(site("v2", 2))
        mark = self.mark()
        back = self.consort("rollback", "--yes", "--json")
        self.assertEqual(back.status, 0, str(back))
        migrations = [e for e in self.journal()[mark:] if e["verb"] == "migrate"]
        self.assertEqual([e["version"] for e in migrations], ["v2"])
        self.assertIn("migrated down by v2", self.state_of("db", "h2"))

    def test_a_hook_that_hangs_is_ended_and_the_upgrade_goes_back(self):
        def site(version):
            service = self.service("s", "a", version=version)
            service["hooks"]["start"]["timeout"] = "2s"
            return self.site(A_B, {"s": service}, name=f"{version}.json")
        self.must_deploy(site("v1"))
        self.knob("s", "v2", "start", "hang")
        failed = self.deploy(site("v2"))
        self.assertEqual(failed.status, 4, str(failed))
        self.assertEqual(self.instances()["s@h1"]["health"], "healthy")


class Keeping(Scenario):
    hosts = "h=1"

    seconds = 86400 + os.getpid()

    def daemon_site(self, content="one"):
        path = "/var/tmp/watched" if PLATFORM == "nspawn" else "/var/lib/consort/watched"
        return path, self.site({"a": ["h1"]}, {"s": {"on": "a", "daemon": {"argv": ["/bin/sleep", str(self.seconds)]}, "resources": {
            "file": {"type": "file", "path": path, "content": content, "mode": "0640"},
            "link": {"type": "symlink", "path": path + ".link", "target": path}}}})

    def host_path(self, path):
        return path if PLATFORM == "nspawn" else str(self.lab / "hosts/h1/root") + path

    def shell(self, script):
        if PLATFORM == "nspawn":
            return self.on_host("h1", "/bin/sh", "-c", script).out
        return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True).stdout

    def test_S35_drift(self):
        path, site = self.daemon_site()
        self.must_deploy(site)
        real = self.host_path(path)
        self.assertEqual(self.shell(f"cat {real}"), "one")
        self.shell(f"echo spoiled > {real}; rm {real}.link")
        self.wait_until("the file is repaired", lambda: self.shell(f"cat {real}") == "one", 10)
        self.wait_until("the link is repaired", lambda: self.shell(f"readlink {real}.link") != "", 10)
        self.wait_until("explain tells it", lambda: "spoiled" in self.consort("explain", "h1", "s").out or "file" in self.consort("explain", "h1", "s").out, 10)
        pid = self.shell(f"pgrep -f '^/bin/sleep {self.seconds}' | head -1").strip()
        self.assertTrue(pid)
        self.shell(f"kill -9 {pid}")
        self.wait_until("the daemon runs again", lambda: self.shell(f"pgrep -f '^/bin/sleep {self.seconds}' | head -1").strip() not in ("", pid), 20)
        self.assertEqual(self.plan(site).status, 0)

    def test_the_agent_repairs_while_the_controller_is_dead(self):
        path, site = self.daemon_site()
        self.must_deploy(site)
        real = self.host_path(path)
        self.lab_verb("kill", "controller")
        self.shell(f"echo spoiled > {real}")
        self.wait_until("the file is repaired", lambda: self.shell(f"cat {real}") == "one", 10)
        self.lab_verb("start", "controller")
        # One repair of the file at the installation, one after the damage.
        repairs = lambda: [line for line in self.consort("logs", "--host", "h1", "--json").out.splitlines() if json.loads(line)["kind"] == "repaired" and "file" in line]
        self.wait_until("the controller knows", lambda: "spoiled" in " ".join(repairs()), 40)

    def test_a_daemon_gets_credentials(self):
        def site(password):
            script = f'cat "$CREDENTIALS_DIRECTORY/db" > ${{service.data}}/seen; stat -c %a "$CREDENTIALS_DIRECTORY/db" >> ${{service.data}}/seen; exec /bin/sleep {self.seconds}'
            daemon = {"argv": ["/bin/sh", "-c", script], "credentials": {"db": "${service.data}/password"}}
            return self.site({"a": ["h1"]}, {"s": {"on": "a", "daemon": daemon, "resources": {
                "password": {"type": "file", "path": "${service.data}/password", "content": password}}}}, name="credentials.json")

        folder = "/var/lib/consort" if PLATFORM == "nspawn" else str(self.lab / "hosts/h1")
        seen = lambda: self.shell(f"find {folder} -path '*/services/s/data/seen' -exec cat {{}} +").split()
        self.must_deploy(site("first\n"))
        self.wait_until("it has read it", lambda: seen() == ["first", "400"], 10)
        self.must_deploy(site("second\n"))
        self.wait_until("it has read the new one", lambda: seen() == ["second", "400"], 10)

    def test_S13_the_controller_is_killed_during_a_rollout(self):
        site = lambda v: self.site({"a": ["h1"]}, {f"s{i}": self.service(f"s{i}", "a", version=v, needs=[f"s{i-1}"] if i else []) for i in range(4)}, {"allowOutage": True}, name=f"{v}.json")
        self.must_deploy(site("v1"))
        started = self.consort("deploy", "--site", site("v2"), "--yes", "--json", "--detach")
        self.assertEqual(started.status, 0, str(started))
        for _ in range(4):
            self.lab_verb("kill", "controller")
            self.lab_verb("start", "controller")
            self.wait_until("it answers", lambda: self.consort("status", "--json").status == 0)
        self.wait_until("the rollout ends", lambda: self.consort("history", "--json").json["rollouts"][-1]["result"] == "done", 90)
        self.assertEqual(self.plan(site("v2")).status, 0)
        starts = [e["token"] for e in self.journal() if e["verb"] == "start" and e["version"] == "v2"]
        self.assertEqual(len(set(starts)), 4)


class OnSystemd(Scenario):
    """The tests of the supervisor that want systemd as process 1 (tests/integration/agent), where it is."""

    hosts = "h=1"

    @unittest.skipUnless(PLATFORM == "nspawn", "only a host that boots has systemd")
    def test_the_supervisor(self):
        program = pathlib.Path(os.environ["CONSORT_SYSTEMD_TEST"])
        used = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        # The host has a C library of its own, of the same release.
        libraries = [word for line in used.splitlines() for word in line.split() if word.startswith("/") and not re.search(r"/(ld-linux|lib[cm]\.so)", word)]
        pack = subprocess.run(["tar", "-chf", "-", "--transform", "s|.*/||", program, *libraries], capture_output=True, check=True).stdout
        argv = [CONSORT, "lab", "exec", "--dir", str(self.lab), "h1", "--", "/bin/sh", "-c",
                f"mkdir /root/t && tar -C /root/t -xf - && cd /root/t && LD_LIBRARY_PATH=. ./{program.name}"]
        ran = subprocess.run(argv, input=pack, capture_output=True, timeout=120, cwd=self.folder, env=self.environment)
        said = ran.stdout.decode(errors="replace") + ran.stderr.decode(errors="replace")
        self.assertEqual(ran.returncode, 0, said)
        self.assertNotIn("[  SKIPPED ]", said)
        self.assertRegex(said, r"\[  PASSED  \] \d+ tests")


class DifferencesOfAccess(Scenario):
    """h1 offers a port, h2 declares it."""

    hosts = "h=2"

    def shop(self, name, mode, broken=False, **extra):
        web = self.service("web", "web", needs=["db"])
        if broken:
            web["resources"] = {"r": {"type": "file", "path": "/tmp/x", "content": "${needs.nothing.port}"}}
        db = self.service("db", "db", provides={"e": {"port": 5432}}, access={"mode": mode}, **extra)
        return self.site({"db": ["h1"], "web": ["h2"]}, {"db": db, "web": web}, name=name)

    def test_diff_tells_of_access_what_a_deploy_would_do(self):
        diff = lambda *arguments: self.consort("diff", "--json", *arguments)
        self.must_deploy(self.shop("one.json", "off"))
        same = diff("--site", self.shop("one.json", "off"))
        self.assertEqual((same.status, same.json["services"], same.json["access"]), (0, [], []), str(same))
        # Given a site that guards the port,
        guarded = self.shop("two.json", "audit")
        told = diff("--site", guarded)
        self.assertEqual(told.status, 2, str(told))
        self.assertEqual([(a["service"], a["port"], a["before"], a["after"], a["gained"]) for a in told.json["access"]],
                         [("db", 5432, "off", "audit", [{"host": "h2", "address": self.inventory["h2"]}])])
        self.assertIn(f"access db/e (port 5432), open to all → audited: from h2 ({self.inventory['h2']})", self.consort("diff", "--site", guarded).out)
        # when web is broken, then nobody is told that h2 will reach it no longer,
        self.must_deploy(guarded)
        broken = self.shop("three.json", "audit", broken=True)
        kept = diff("--site", broken, "--keep-going")
        self.assertEqual((kept.status, kept.json["services"], kept.json["access"]), (0, [], []), str(kept))
        # and between two generations it is the same.
        between = diff("1", "2")
        self.assertEqual((between.status, between.json["services"], [a["after"] for a in between.json["access"]]), (2, [], ["audit"]), str(between))


class DeclaredAccess(Scenario):
    """h1 offers a port, h2 declares it, h3 may join; nobody else gets through."""

    hosts = "h=4"
    port = 5432

    def shop(self, web, mode, name):
        serve = {"argv": ["/usr/bin/python3", "-m", "http.server", str(self.port), "--directory", "/etc"], "readiness": {"type": "tcp", "port": self.port}}
        db = {"on": "db", "provides": {"e": {"port": self.port}}, "access": {"mode": mode}, "daemon": serve}
        if PLATFORM != "nspawn":
            db = self.service("db", "db", provides={"e": {"port": self.port}}, access={"mode": mode})
        services = {"db": db, "web": self.service("web", "web", needs=["db"])}
        return self.site({"db": ["h1"], "web": web, "rest": ["h4"]}, services, name=name)

    def reaches(self, host):
        script = f"exec 3<>/dev/tcp/{self.inventory['h1']}/{self.port}"
        return self.on_host(host, "/bin/bash", "-c", script).status == 0

    def test_a_host_that_joins_gets_through_and_the_database_is_not_touched(self):
        mode = "enforce" if PLATFORM == "nspawn" else "audit"
        self.must_deploy(self.shop(["h2"], mode, "one.json"))
        before = self.instances()["db@h1"]
        grown = self.shop(["h2", "h3"], mode, "two.json")
        if PLATFORM == "nspawn":
            self.assertEqual([h for h in ("h1", "h2", "h3", "h4") if self.reaches(h)], ["h1", "h2"])
        planned = self.plan(grown).json
        self.assertEqual([(s["action"], s["service"], s["host"]) for s in planned["steps"]], [("install", "web", "h3")])
        self.assertEqual([(a["service"], a["gained"], a["lost"]) for a in planned["access"]], [("db", [{"host": "h3", "address": self.inventory["h3"]}], [])])
        self.must_deploy(grown)
        self.assertEqual(self.instances()["db@h1"], before)
        told = self.consort("explain", "db").out
        self.assertIn(f"h3 ({self.inventory['h3']})", told)
        self.assertIn("declared by web", told)
        if PLATFORM != "nspawn":
            return
        self.wait_until("h3 gets through", lambda: self.reaches("h3"))
        self.assertFalse(self.reaches("h4"))
        self.on_host("h1", "/usr/sbin/nft", "flush", "ruleset")
        self.wait_until("the rules are repaired", lambda: not self.reaches("h4"))
        self.lab_verb("reboot", "h1")
        self.wait_until("h1 is back", lambda: self.reaches("h2"), 90)
        self.assertFalse(self.reaches("h4"))

    @unittest.skipUnless(PLATFORM == "nspawn", "only a host that boots has a boot")
    def test_a_boot_opens_no_port_also_where_the_agent_does_not_come_up(self):
        self.must_deploy(self.shop(["h2"], "enforce", "boot.json"))
        self.assertEqual(self.on_host("h1", "/usr/bin/stat", "-c", "%a", "/var/lib/consort/access.nft").out.strip(), "600")
        self.assertFalse(self.reaches("h4"))
        self.on_host("h1", "/usr/bin/systemctl", "disable", "consort-agent.service")
        stranger = self.tries_from("h4")
        # `lab reboot` would wait for the agent.
        self.on_host("h1", "/bin/sh", "-c", "touch /run/before && systemctl reboot --no-block")
        self.wait_until("h1 boots", lambda: self.has_booted("h1"), 90)
        self.wait_until("the database is back, without an agent", lambda: self.reaches("h2"), 90)
        self.assertNotEqual(self.on_host("h1", "/usr/bin/systemctl", "is-active", "--quiet", "consort-agent.service").status, 0)
        self.assertEqual(stranger(), {"nothing", "refused"})
        # What the agent takes over when it comes at last is not open for a moment either.
        self.wait_until("h1 is missed", lambda: not self.is_reachable("h1"), 90)
        stranger = self.tries_from("h4")
        self.on_host("h1", "/usr/bin/systemctl", "enable", "--now", "consort-agent.service")
        self.wait_until("the agent reports", lambda: self.is_reachable("h1"))
        self.assertNotIn("OPEN", stranger())
        self.assertTrue(self.reaches("h2"))
        # A damaged file closes the port until the agent has written it anew.
        self.on_host("h1", "/bin/sh", "-c", "echo junk > /var/lib/consort/access.nft")
        stranger = self.tries_from("h4")
        self.lab_verb("reboot", "h1")
        self.wait_until("the agent has made the database come back", lambda: self.reaches("h2"), 90)
        self.assertNotIn("OPEN", stranger())
        # Where nothing is guarded nothing waits for anything.
        self.must_deploy(self.shop(["h2"], "off", "open.json"))
        left = "ls /etc/systemd/system /etc/systemd/system/*.d /etc/systemd/system/*.wants /var/lib/consort | grep access"
        self.wait_until("nothing is left", lambda: self.on_host("h1", "/bin/sh", "-c", left).out == "")
        self.assertTrue(self.reaches("h4"))

    def is_reachable(self, host):
        return {h["name"]: h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]}[host]

    def has_booted(self, host):
        """Since its /run/before was made. Whoever enters a machine that is going down may not come back."""
        try:
            argv = ("/bin/sh", "-c", "test -e /run/before || echo anew")
            return self.run_consort("lab", "exec", "--dir", str(self.lab), host, "--", *argv, timeout=5).out.strip() == "anew"
        except subprocess.TimeoutExpired:
            return False

    def tries_from(self, host):
        """Somebody there tries the port of h1 again and again, until the function that this returns is called; it tells
        what has come of it: "OPEN" where it once got through, "refused", "nothing"."""
        script = (
            "import os, socket, sys, time\n"
            "print('begun', flush=True)\n"
            "end = time.time() + 200\n"
            "seen = set()\n"
            "while time.time() < end and not os.path.exists(sys.argv[3]):\n"
            "    try:\n"
            "        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.4).close()\n"
            "        seen.add('OPEN')\n"
            "    except ConnectionRefusedError:\n"
            "        seen.add('refused')\n"
            "    except OSError:\n"
            "        seen.add('nothing')\n"
            "    time.sleep(0.002)\n"
            "print(*seen)\n"
        )
        self.strangers = getattr(self, "strangers", 0) + 1
        enough = f"/run/enough-{self.strangers}"
        argv = [CONSORT, "lab", "exec", "--dir", str(self.lab), host, "--", "/usr/bin/python3", "-c", script, self.inventory["h1"], str(self.port), enough]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.assertEqual(process.stdout.readline(), "begun\n")

        def outcome():
            self.on_host(host, "/bin/touch", enough)
            return set(process.communicate(timeout=30)[0].split())

        return outcome

    def test_access_alone_is_planned_without_steps_and_only_where_it_can_be_kept(self):
        self.must_deploy(self.shop(["h2"], "off", "off.json"))
        mark, generation = self.mark(), self.generation()
        audit = self.shop(["h2"], "audit", "audit.json")
        planned = self.plan(audit)
        self.assertEqual(planned.status, 2, str(planned))
        self.assertEqual(planned.json["steps"], [])
        self.must_deploy(audit)
        self.assertEqual((self.mark(), self.generation()), (mark, generation + 1))
        self.assertEqual(self.plan(audit).status, 0)
        enforce = self.shop(["h2"], "enforce", "enforce.json")
        shown = self.plan(enforce)
        self.assertEqual(shown.status, 2, str(shown))
        if PLATFORM == "nspawn":
            self.assertEqual(shown.json["needs"], [])
            return
        self.assertEqual([need["option"] for need in shown.json["needs"]], [None])
        refused = self.deploy(enforce)
        self.assertEqual(refused.status, 6, str(refused))
        self.assertIn("host h1 cannot", refused.out + refused.err)
        self.assertIn("--root", refused.out + refused.err)
        self.assertEqual(self.generation(), generation + 1)


if __name__ == "__main__":
    run_tests()
