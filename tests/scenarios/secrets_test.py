"""S37: the value of a secret is in the file that asks for it, and in no other place: a real controller with TLS and
real hosts, a poison string, and every file, answer, log and process looked through for it.
"""
import base64
import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import sqlite3
import subprocess
import unittest

from access_test import Controller

POISON = "Poison-5f2b9c-that-nobody-may-see"


def spellings(value):
    """The value as it may hide: in base64 at any offset, in hex, too."""
    raw = value.encode()
    out = {raw, raw.hex().encode(), raw[::-1]}
    for offset in range(3):
        text = base64.b64encode(b"x" * offset + raw)
        out |= {text[4:-4], text[4:-4].replace(b"+", b"-").replace(b"/", b"_")}
    return out


class SecretHosts(Controller):
    """Given two hosts that have joined, and a site whose service `shop` writes ${secret.db} into a file."""

    hosts_named = ("web1", "web2")

    def setUp(self):
        super().setUp()
        self.said = []
        token = self.token("--uses", "9")
        self.agents = {name: self.agent(name, token) for name in self.hosts_named}
        self.wait_until("all are there", lambda: all(self.hosts()[n]["reachable"] for n in self.hosts_named))
        self.wait_until("all have told their keys", lambda: all(self.knows_key(n) for n in self.hosts_named))

    def knows_key(self, host):
        return host in json.loads(self.ask("GET", "/v1/secrets/any", certificate=self.admin_file())[1])["hosts"]

    def run_consort(self, *arguments, **more):
        done = super().run_consort(*arguments, **more)
        if hasattr(self, "said"):
            self.said.append((arguments, done.stdout + done.stderr))
        return done

    def site(self, *hosts, text="user=app\npassword=${secret.db}\njson=${json:secret.db}\n", secrets=None, **more):
        services = {"shop": {"on": "all", "resources": {"conf": {"type": "file", "path": "${service.data}/app.conf", "content": text}}}, **more}
        path = self.folder / "site.json"
        path.write_text(json.dumps({"name": "s", "hostClasses": {"all": {"inventory": {"type": "hosts", "hosts": {h: {"address": "127.0.0.1"} for h in hosts or self.hosts_named}}}}, "services": services,
                                    **({"secrets": secrets} if secrets is not None else {})}))
        return str(path)

    def file(self, host):
        return self.folder / f"agent-{host}/services/shop/data/app.conf"

    def content(self, host):
        return self.file(host).read_text()

    def set_secret(self, value, *arguments):
        return self.consort("secret", "set", "db", "--site", str(self.folder / "site.json"), *arguments, stdin=value)

    def nowhere(self, *values, but=()):
        """No file below the folder of the test has it, nothing that was printed, no process of consort."""
        allowed = {self.file(h) for h in self.hosts_named} | set(but)
        words = set().union(*(spellings(v) for v in values))
        looked = 0
        for path in self.folder.rglob("*"):
            if not path.is_file() or path.is_symlink() or path in allowed:
                continue
            looked += 1
            content = path.read_bytes()
            for word in words:
                self.assertNotIn(word, content, f"{path} holds the secret")
        self.assertGreater(looked, 30)
        for arguments, text in self.said:
            for word in words:
                self.assertNotIn(word, text.encode(), arguments)
        for process in self.processes:
            for kind in ("environ", "cmdline"):
                for word in words:
                    self.assertNotIn(word, pathlib.Path(f"/proc/{process.pid}/{kind}").read_bytes() if process.poll() is None else b"", kind)


class Secrets(SecretHosts):
    def test_S37_a_value_is_in_its_file_and_nowhere_else(self):
        site = self.site()
        said = self.refused("plan", "--site", site)
        self.assertIn("consort secret set db", said)
        answer = self.set_secret(POISON + "\n")
        self.assertEqual((answer["version"], answer["hosts"], answer["services"], answer["missing"]), (1, ["web1", "web2"], ["shop"], []))
        self.consort("deploy", "--yes", "--site", site)
        for host in self.hosts_named:
            self.assertEqual(self.content(host), f'user=app\npassword={POISON}\njson="{POISON}"\n')
            self.assertEqual(self.file(host).stat().st_mode & 0o777, 0o600)
        self.nowhere(POISON)

        # A new version is planned as a reconfiguration and brought to the hosts.
        second = POISON[::-1] + "-second"
        self.assertEqual(self.set_secret(second)["version"], 2)
        plan = self.run_consort("plan", "--site", site, "--json")
        self.assertEqual(plan.returncode, 2, plan.stderr)
        steps = json.loads(plan.stdout.strip().splitlines()[-1])["steps"]
        self.assertEqual({s["action"] for s in steps}, {"reconfigure"})
        self.assertIn("secret db", plan.stdout)
        self.consort("deploy", "--yes", "--site", site)
        self.assertIn(second, self.content("web2"))
        self.assertNotIn(POISON, self.content("web2"))
        self.nowhere(POISON, second)

        # Drift in the file is repaired, and nothing keeps what was there.
        self.file("web1").write_text(self.content("web1") + "changed by hand: " + POISON)
        self.wait_until("it is repaired", lambda: "by hand" not in self.content("web1"))
        self.run_consort("logs", "--json")
        self.run_consort("status", "shop")
        self.run_consort("diff", "--site", site)
        self.run_consort("history", "--json")
        self.run_consort("secret", "list")
        self.nowhere(POISON, second)

        # Back to the first version: it is still sealed on the hosts.
        self.consort("rollback", "--yes")
        self.assertIn(f"password={POISON}\n", self.content("web1"))
        self.nowhere(POISON, second)

        # A file without the secret takes the place of one with it: no copy of that stays.
        self.consort("deploy", "--yes", "--site", self.site(text="no password\n"))
        self.assertEqual(self.content("web1"), "no password\n")
        self.nowhere(POISON, second)
        notes = [json.loads(line) for line in self.run_consort("audit", "--json").stdout.splitlines()]
        self.assertIn("set_secret", json.dumps(notes))

    def test_an_agent_without_a_controller_restarts_and_repairs(self):
        site = self.site()
        self.set_secret(POISON)
        self.consort("deploy", "--yes", "--site", site)
        right = self.content("web1")
        self.end(self.controller)
        self.end(self.agents["web1"])
        self.file("web1").write_text("broken while nobody looked")
        self.agent("web1")
        self.wait_until("it is repaired", lambda: self.content("web1") == right)
        self.nowhere(POISON)

    def test_a_host_that_comes_later_is_served_by_resealing(self):
        self.site("web1")
        self.set_secret(POISON)
        self.consort("deploy", "--yes", "--site", self.site("web1"))
        sealed = json.loads(self.ask("GET", "/v1/agents/web1/secrets?secret=db&version=1", certificate=self.host_file("web1"))[1])["sealed"]
        self.assertTrue(sealed.startswith("sealed.v1."))
        # web2 is no recipient: it is not given the sealed text, and could not open it.
        self.assertEqual(self.ask("GET", "/v1/agents/web2/secrets?secret=db&version=1", certificate=self.host_file("web2"))[0], 404)
        self.assertEqual(self.ask("GET", "/v1/agents/web1/secrets?secret=db&version=1", certificate=self.host_file("web2"))[0], 403)
        said = self.refused("deploy", "--yes", "--site", self.site("web1", "web2"))
        self.assertIn("consort secret reseal db", said)
        self.assertIn("web2", said)
        again = self.consort("secret", "reseal", "db", "--site", self.site("web1", "web2"))
        self.assertEqual((again["version"], again["hosts"]), (1, ["web1", "web2"]))
        self.consort("deploy", "--yes", "--site", self.site("web1", "web2"))
        self.assertEqual(self.content("web2"), self.content("web1"))
        self.nowhere(POISON)

    def test_a_rollback_to_a_value_that_is_gone_is_refused_before_any_step(self):
        site = self.site("web1")
        for value in ("first", "second", "third", "fourth", "fifth"):
            self.set_secret(value)
            self.consort("deploy", "--yes", "--site", site)
        rollouts = json.loads(self.ask("GET", "/v1/rollouts", certificate=self.admin_file())[1])["rollouts"]
        done = self.run_consort("rollback", "--to", "1", "--yes")
        self.assertEqual(done.returncode, 6, done.stdout + done.stderr)
        self.assertIn("version 1 of the secret 'db', which is no longer kept", done.stderr)
        self.assertEqual(len(json.loads(self.ask("GET", "/v1/rollouts", certificate=self.admin_file())[1])["rollouts"]), len(rollouts))
        self.consort("rollback", "--to", "3", "--yes")
        self.assertIn("password=third\n", self.content("web1"))

    def test_all_that_nobody_has_set_is_told_at_once(self):
        said = self.refused("plan", "--site", self.site("web1", text="${secret.db} ${secret.tls-key}\n"))
        self.assertIn("'db', 'tls-key'", said)
        self.assertIn("consort secret set db; consort secret set tls-key", said)
        other = {"other": {"on": "all", "resources": {"f": {"type": "file", "path": "${service.data}/f", "content": "${secret.mail}"}}}}
        self.assertIn("nobody has set: db, mail", self.refused("plan", "--site", self.site("web1", **other)))

    def test_a_stolen_sealed_text_is_worth_nothing_on_another_host(self):
        self.site("web1")
        self.set_secret(POISON)
        self.consort("deploy", "--yes", "--site", self.site("web1"))
        stolen = self.folder / "agent-web1/secrets/db.1.json"
        self.assertEqual(stolen.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(POISON, stolen.read_text())
        # web2 may have it too, and shop runs there.
        both = self.site("web1", "web2")
        self.consort("secret", "reseal", "db", "--site", both)
        self.consort("deploy", "--yes", "--site", both)
        self.assertEqual(self.content("web2"), self.content("web1"))
        # Then the text that was sealed for web1 alone comes in the place of its own, and nobody is there to ask for another.
        self.end(self.controller)
        self.end(self.agents["web2"])
        target = self.folder / "agent-web2/secrets/db.1.json"
        self.assertNotEqual(target.read_text(), stolen.read_text())
        right = target.read_text()
        target.write_text(stolen.read_text())
        self.file("web2").unlink()
        agent = self.agent("web2")
        self.wait_until("it is refused", lambda: "is not sealed for this host" in agent.log.read_text() + self.history("web2"))
        self.assertFalse(self.file("web2").exists())
        # With its own text it is repaired: it was that which failed.
        target.write_text(right)
        self.end(agent)
        self.agent("web2")
        self.wait_until("it is repaired", lambda: self.content("web2") == self.content("web1"))
        self.nowhere(POISON)

    def history(self, host):
        return (self.folder / f"agent-{host}/history.jsonl").read_text()

    def test_a_host_tells_its_key_to_a_controller_whose_store_is_older(self):
        """Given a store from before the hosts had told their keys, under agents that go on."""
        self.end(self.controller)
        with contextlib.closing(sqlite3.connect(self.data / "state.sqlite")) as store:
            table = next(t for (t,) in store.execute("select name from sqlite_master where type='table'") if {"key", "value"} <= {c[1] for c in store.execute(f"pragma table_info({t})")})
            rows = store.execute(f"select key, value from {table} where cast(key as text) like 'access/hosts/%'").fetchall()
            self.assertEqual(len(rows), len(self.hosts_named))
            for key, value in rows:
                record = json.loads(value)
                self.assertTrue(record.pop("sealKey"))
                text = json.dumps(record, separators=(",", ":"))
                store.execute(f"update {table} set value=? where key=?", (text.encode() if isinstance(value, bytes) else text, key))
            store.commit()
        self.start()
        self.wait_until("all have told their keys again", lambda: all(self.knows_key(n) for n in self.hosts_named))

    def test_the_services_of_a_version_stay_its_own(self):
        """For the way back: version 1 was for another service, too, and version 2 is not."""
        ask = lambda version: json.loads(self.ask("GET", f"/v1/agents/web1/secrets?secret=db&version={version}", certificate=self.host_file("web1"))[1])["services"]
        self.site("web1")
        self.set_secret(POISON, "--service", "cron", "--host", "web1")
        self.set_secret(POISON + "2")
        self.assertEqual((ask(1), ask(2)), (["cron", "shop"], ["shop"]))

    def test_another_service_may_not_use_it(self):
        self.site("web1")
        self.set_secret(POISON)
        thief = {"thief": {"on": "all", "resources": {"f": {"type": "file", "path": "${service.data}/f", "content": "${secret.db}"}}}}
        said = self.refused("deploy", "--yes", "--site", self.site("web1", **thief))
        self.assertIn("not for thief", said)

    def test_only_a_files_content_may_hold_it(self):
        places = {"argv": {"daemon": {"argv": ["/bin/sleep", "${secret.db}"]}},
                  "environment": {"daemon": {"argv": ["/bin/sleep", "1"], "environment": {"PASSWORD": "${secret.db}"}}},
                  "path": {"resources": {"f": {"type": "file", "path": "/etc/${secret.db}", "content": ""}}}}
        for name, service in places.items():
            with self.subTest(name):
                said = self.refused("check", "--site", self.site("web1", leaky={"on": "all", **service}))
                self.assertIn("content of a file", said)

    def test_roles(self):
        self.site("web1")
        self.set_secret(POISON)
        tokens = {}
        for who, grants in (("viewer", ["--role", "viewer"]), ("mine", ["--role", "deployer", "--service", "shop"]), ("other", ["--role", "deployer", "--service", "other"])):
            tokens[who] = self.run_consort("operator", "create", who, *grants).stdout.strip().splitlines()[0]
        self.assertEqual(self.ask("GET", "/v1/secrets", token=tokens["viewer"])[0], 200)
        for who, status in (("viewer", 403), ("other", 403), ("mine", 200)):
            self.assertEqual(self.ask("GET", "/v1/secrets/db/sealed", token=tokens[who])[0], status, who)
        self.assertEqual(self.ask("DELETE", "/v1/secrets/db", token=tokens["other"])[0], 403)
        self.assertEqual(self.ask("DELETE", "/v1/secrets/db", token=tokens["mine"])[0], 200)
        # Its number is not used again.
        self.assertEqual(self.set_secret("another")["version"], 2)

    def test_values_come_from_stdin_or_a_file_and_may_be_made(self):
        self.site("web1")
        file = self.folder / "value"
        file.write_text("from a file\n")
        self.consort("secret", "set", "db", "--site", str(self.folder / "site.json"), "--file", str(file))
        self.consort("deploy", "--yes", "--site", self.site("web1"))
        self.assertIn("password=from a file\n", self.content("web1"))
        self.assertEqual(self.consort("secret", "rotate", "db", "--site", self.site("web1"))["version"], 2)
        self.consort("deploy", "--yes", "--site", self.site("web1"))
        self.assertRegex(self.content("web1"), r"password=[A-Za-z0-9_-]{43}\n")
        self.assertIn("empty", self.refused("secret", "set", "db", "--site", self.site("web1"), stdin=""))
        self.assertIn("65536", self.refused("secret", "set", "db", "--site", self.site("web1"), stdin="x" * 70_000))
        self.assertIn("there is no secret", self.refused("secret", "rotate", "nope", "--service", "shop"))

    def test_no_core_dumps(self):
        """The kernel says whether a process that is ended by SIGABRT left one (WCOREDUMP), if this machine lets processes."""
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        plain = subprocess.Popen(["sleep", "60"], cwd=self.folder)
        plain.send_signal(signal.SIGABRT)
        if not os.WCOREDUMP(os.waitpid(plain.pid, 0)[1]):
            self.skipTest("this machine writes no core dumps")
        for process in (self.agents["web2"], self.controller):
            # Other programs must not lose theirs by it.
            resource.prlimit(process.pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            process.send_signal(signal.SIGABRT)
            self.assertFalse(os.WCOREDUMP(os.waitpid(process.pid, 0)[1]))
            process.returncode = -signal.SIGABRT


class Sources(SecretHosts):
    """Given a site that says where values come from: a password store, and files that are encrypted to operators."""

    def setUp(self):
        super().setUp()
        self.vault = self.folder / "values"
        self.vault.mkdir()
        program = self.folder / "vault"
        program.write_text('#!/bin/sh\necho "asked for $1" >&2\nexec cat "values/$1"\n')
        program.chmod(0o755)

    def keep(self, name, value):
        (self.vault / name).write_text(value)

    def sync(self, *arguments, status=0, **more):
        """name → its record; the whole answer under ""."""
        done = self.run_consort("secret", "sync", "--site", str(self.folder / "site.json"), "--json", *arguments, **more)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        answer = json.loads(done.stdout)
        return {"": answer, **{s["name"]: s for s in answer["secrets"]}}

    def outcomes(self, *arguments, **more):
        return {name: (s["outcome"], s["version"]) for name, s in self.sync(*arguments, **more).items() if name}

    def newest(self, name="db"):
        return next(s for s in self.consort("secret", "list")["secrets"] if s["name"] == name)

    def assert_nowhere(self, *values):
        self.nowhere(*values, but=self.vault.iterdir())

    def colleague(self):
        """Another operator: the same rights, an own recovery key."""
        config = self.folder / "config-of-ben"
        shutil.copytree(self.folder / "config", config)
        (config / "consort/recovery.pem").unlink(missing_ok=True)
        return {"environment": {**self.environment, "XDG_CONFIG_HOME": str(config)}}

    def test_a_program_gives_values_and_only_a_changed_one_makes_a_version(self):
        self.keep("db", POISON + "\n")
        self.keep("spare", "nobody asks for this")
        site = self.site("web1", secrets={"db": {"exec": ["./vault", "db"]}, "spare": {"exec": ["./vault", "spare"]}})
        self.assertIn("consort secret sync db", self.refused("plan", "--site", site))
        # A rehearsal sends nothing.
        self.assertEqual(self.outcomes("--dry-run"), {"db": ("set", 1), "spare": ("unused", None)})
        done = self.run_consort("secret", "sync", "--site", site, "--dry-run")
        self.assertEqual(done.stdout.splitlines()[-1], "1 would be set, 1 unused; nothing was changed", done.stderr)
        self.assertEqual(self.consort("secret", "list")["secrets"], [])
        self.assertEqual(self.outcomes(), {"db": ("set", 1), "spare": ("unused", None)})
        self.consort("deploy", "--yes", "--site", site)
        self.assertIn(f"password={POISON}\n", self.content("web1"))

        # Again there is nothing to do; text for people says it, too.
        before = self.newest()
        self.assertEqual(self.outcomes("db"), {"db": ("unchanged", 1)})
        self.assertEqual(self.newest(), before)
        done = self.run_consort("secret", "sync", "--site", site)
        self.assertEqual((done.returncode, done.stdout), (0, "db: unchanged, version 1\nspare: no service uses it\n1 unchanged, 1 unused\n"))

        # Another host: the same version, sealed for it, too.
        site = self.site("web1", "web2", secrets={"db": {"exec": ["./vault", "db"]}})
        self.assertIn("consort secret sync db", self.refused("plan", "--site", site))
        self.assertEqual(self.outcomes(), {"db": ("resealed", 1)})
        self.assertEqual(self.newest()["hosts"], ["web1", "web2"])

        # Another value: another version.
        second = POISON[::-1] + "-second"
        self.keep("db", second + "\n")
        self.assertEqual(self.outcomes(), {"db": ("set", 2)})
        self.consort("deploy", "--yes", "--site", site)
        self.assertIn(f"password={second}\n", self.content("web2"))
        self.assertIn("did you mean 'db'", self.refused("secret", "sync", "--site", site, "dbb"))
        self.assert_nowhere(POISON, second)

    def test_what_fails_is_told_without_a_word_of_it_and_stops_no_other(self):
        self.keep("db", POISON)
        self.keep("large", POISON * 3000)
        text = "".join(f"{n}=${{secret.{n}}}\n" for n in ("db", "bad", "large", "none"))
        self.site(text=text, secrets={"db": {"exec": ["./vault", "db"]}, "bad": {"exec": ["sh", "-c", "cat values/db; cat values/db >&2; exit 3"]},
                                      "large": {"exec": ["./vault", "large"]}, "none": {"exec": ["./no-such-program"]}})
        told = self.sync(status=1)
        self.assertEqual({n: s["outcome"] for n, s in told.items() if n}, {"db": "set", "bad": "failed", "large": "failed", "none": "failed"})
        self.assertEqual((told[""]["set"], told[""]["failed"]), (1, 3))
        self.assertIn("exit status 3", told["bad"]["error"]["message"])
        self.assertIn("65536", told["large"]["error"]["message"])
        self.assertIn("no-such-program", told["none"]["error"]["message"])
        done = self.run_consort("secret", "sync", "--site", str(self.folder / "site.json"))
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (1, "1 unchanged, 3 failed"))
        self.assertIn("run it by hand", done.stderr)
        self.assert_nowhere(POISON)

    def test_encrypted_files_are_kept_with_the_site(self):
        (self.folder / "secrets").mkdir()
        file = self.folder / "secrets/db.sealed"
        source = {"db": {"file": "secrets/db.sealed"}}
        self.assertIn("consort secret encrypt db", self.refused("check", "--site", self.site(secrets=source)))
        self.consort("secret", "encrypt", "db", "--out", str(file), stdin=POISON + "\n")
        self.assertEqual(file.stat().st_mode & 0o777, 0o644)
        self.assertEqual(self.outcomes(), {"db": ("set", 1)})
        self.assertEqual(self.outcomes(), {"db": ("unchanged", 1)})
        self.consort("deploy", "--yes", "--site", self.site(secrets=source))
        self.assertIn(f"password={POISON}\n", self.content("web2"))

        # It is no other secret's value, and nobody's who is no recipient.
        self.site(text="${secret.other}", secrets={"other": source["db"]})
        self.assertIn("under the name 'other'", self.sync(status=1)["other"]["error"]["hint"])
        self.site(secrets=source)
        ben = self.colleague()
        key = self.consort("secret", "key", **ben)["key"]
        refused = self.sync(status=1, **ben)["db"]
        self.assertIn("not encrypted to your recovery key", refused["error"]["message"])
        self.assertIn("--recipient " + key, refused["error"]["hint"])
        # On standard output it is the same text.
        done = self.run_consort("secret", "encrypt", "db", "--recipient", key, stdin=POISON)
        self.assertTrue(done.stdout.startswith("sealed.v1."), done.stderr)
        file.write_text(done.stdout)
        told = self.sync(**ben)["db"]
        self.assertEqual((told["outcome"], told["version"]), ("set", 2))
        self.assertIn("not sealed for your recovery key", told["reason"])
        # Both operators can open that version.
        self.assertEqual(len(self.newest()["recovery"]), 2)
        self.assertEqual(self.outcomes(), {"db": ("unchanged", 2)})
        self.assertEqual(self.outcomes(**ben), {"db": ("unchanged", 2)})
        file.write_text(POISON)
        self.assertIn("no sealed text", self.refused("check", "--site", self.site(secrets=source)))
        file.unlink()
        self.assert_nowhere(POISON)

    def test_operators_share_recovery_keys(self):
        self.site("web1")
        self.set_secret(POISON)
        ben = self.colleague()
        mine, his = self.consort("secret", "key")["key"], self.consort("secret", "key", **ben)["key"]
        self.assertNotEqual(mine, his)
        self.assertEqual(self.run_consort("secret", "key").stdout, mine + "\n")
        site = self.site("web1", "web2")
        said = self.refused("secret", "reseal", "db", "--site", site, **ben)
        self.assertIn("--recipient " + his, said)
        self.assertEqual(self.consort("secret", "reseal", "db", "--site", self.site("web1"), "--recipient", his)["recovery"], [mine, his])
        # Now he serves a host that came later, and whoever could open it still can.
        again = self.consort("secret", "reseal", "db", "--site", self.site("web1", "web2"), **ben)
        self.assertEqual((again["version"], again["hosts"], sorted(again["recovery"])), (1, ["web1", "web2"], sorted([mine, his])))
        self.consort("deploy", "--yes", "--site", site)
        self.assertIn(f"password={POISON}\n", self.content("web2"))
        # A new value is for both, too, unless it is said otherwise.
        self.assertEqual(sorted(self.consort("secret", "rotate", "db", "--site", site)["recovery"]), sorted([mine, his]))
        self.assertEqual(self.consort("secret", "rotate", "db", "--site", site, "--drop-recipients")["recovery"], [mine])
        self.assertIn("not the recovery key", self.refused("secret", "set", "db", "--site", site, "--recipient", "ed25519:x", stdin="x"))
        many = [self.consort("secret", "key", environment={**self.environment, "XDG_CONFIG_HOME": str(self.folder / f"c{i}")})["key"] for i in range(16)]
        self.assertIn("16 is the most", self.refused("secret", "set", "db", "--site", site, *(w for k in many for w in ("--recipient", k)), stdin="x"))
        self.assert_nowhere(POISON)


if __name__ == "__main__":
    unittest.main(verbosity=2)
