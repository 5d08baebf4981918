"""S37: the value of a secret is in the file that asks for it, and in no other place: a real controller with TLS and
real hosts, a poison string, and every file, answer, log and process looked through for it.
"""
import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import unittest

from secret_hosts import POISON, SecretHosts


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

    def test_of_a_revoked_host_it_is_said_that_it_was_revoked(self):
        """Given a service on two hosts, of which one is revoked: nothing is sealed for it, and nobody is sent in a circle."""
        both = self.site("web1", "web2")
        self.set_secret(POISON)
        self.consort("deploy", "--yes", "--site", both)
        self.consort("host", "revoke", "web2")
        for command in (["check"], ["plan"], ["deploy", "--yes"]):
            done = self.run_consort(*command, "--site", both)
            said = done.stdout + done.stderr
            self.assertNotEqual(done.returncode, 0, said)
            self.assertIn("web2, which was revoked", said)
            self.assertIn("take web2 out of the inventory", said)
            self.assertNotIn("secret reseal", said)
        said = self.run_consort("secret", "reseal", "db", "--site", both).stdout
        self.assertIn("not for web2, which was revoked", said)
        self.assertNotIn("not joined", said)
        again = self.consort("secret", "reseal", "db", "--site", both)
        self.assertEqual((again["missing"], again["revoked"]), ([], ["web2"]))
        # Both ways out are ways out.
        self.consort("host", "approve", "web2", "--key", self.consort("host", "show", "web2")["identity"]["key"])
        self.consort("secret", "reseal", "db", "--site", both)
        self.assertEqual(self.consort("plan", "--site", both)["exit"], 0)
        self.consort("host", "revoke", "web2")
        self.assertNotIn("revoked", self.refused("plan", "--site", self.site("web1")))

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

    def test_a_store_from_a_backup_gives_no_number_twice(self):
        """Given version 2 on the host, and a store that knows version 1: what is set now has another number, so it arrives."""
        site = self.site("web1")
        self.set_secret("first")
        self.consort("deploy", "--yes", "--site", site)
        self.end(self.controller, signal.SIGTERM)
        backup = self.folder / "backup"
        shutil.copytree(self.data, backup)
        self.start()
        self.wait_until("web1 is back", lambda: self.hosts()["web1"]["reachable"])
        self.assertEqual(self.set_secret("lost")["version"], 2)
        self.consort("deploy", "--yes", "--site", site)
        self.assertIn("password=lost\n", self.content("web1"))
        self.end(self.controller, signal.SIGTERM)
        self.data = backup
        self.start()
        facts = lambda: json.loads(self.ask("GET", "/v1/secrets/db", certificate=self.admin_file())[1])
        self.wait_until("web1 has shown that the store is behind", lambda: facts()["next"] > 2)
        self.assertEqual(facts()["last"], 1)
        adopted = lambda: self.consort("host", "show", "web1")["report"]["epoch"] * 1_000_000 >= facts()["next"] - 1
        self.wait_until("what web1 runs is taken over", adopted)
        # An older program asks for the next number, as it knows it.
        sealed = {**self.sealed_by_hand(), "version": 2}
        self.assertEqual(self.ask("PUT", "/v1/secrets/db", sealed, certificate=self.admin_file())[0], 409)
        self.assertEqual(self.set_secret("third")["version"], facts()["next"] - 1)
        self.consort("deploy", "--yes", "--site", site)
        self.assertIn("password=third\n", self.content("web1"))
        self.assertEqual(self.set_secret("fourth")["version"], facts()["next"] - 1)
        self.consort("deploy", "--yes", "--site", site)
        self.assertIn("password=fourth\n", self.content("web1"))

    def sealed_by_hand(self):
        """What the controller has as the newest version, as a program would send it."""
        newest = json.loads(self.ask("GET", "/v1/secrets/db/sealed", certificate=self.admin_file())[1])
        facts = json.loads(self.ask("GET", "/v1/secrets/db", certificate=self.admin_file())[1])
        hosts = {h: facts["hosts"][h] for h in facts["secret"]["hosts"]}
        return {"name": "db", "version": newest["version"], "services": facts["secret"]["services"], "hosts": hosts,
                "recovery": facts["secret"]["recovery"], "sealed": newest["sealed"], "signatures": {}}

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

    def test_a_secret_in_use_is_not_removed_until_the_site_does_without_it(self):
        site = self.site("web1")
        self.set_secret(POISON)
        self.consort("deploy", "--yes", "--site", site)
        said = self.refused("secret", "remove", "db")
        self.assertIn("the secret 'db' is in use by shop on web1 of host class all", said)
        self.assertIn("take ${secret.db} out of the site and deploy first: consort deploy", said)
        self.assertEqual(self.ask("DELETE", "/v1/secrets/db", certificate=self.admin_file())[0], 409)
        self.assertEqual([s["name"] for s in self.consort("secret", "list")["secrets"]], ["db"])
        # A site that says nothing of it any more is not enough: hosts must have it, too.
        without = self.site("web1", text="no password\n")
        self.assertIn("in use by shop", self.refused("secret", "remove", "db"))
        self.consort("deploy", "--yes", "--site", without)
        self.assertEqual(self.consort("secret", "remove", "db"), {"removed": "db"})

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
        theirs = {**self.sealed_by_hand(), "services": ["other"], "hosts": {}, "recovery": []}
        self.assertEqual(self.ask("PUT", "/v1/secrets/db", {**theirs, "version": 2}, token=tokens["other"])[0], 403)
        self.assertEqual(self.ask("DELETE", "/v1/secrets/db", token=tokens["mine"])[0], 200)
        # Its number is not used again, its name may be, by whoever comes first.
        self.assertEqual(self.ask("PUT", "/v1/secrets/db", {**theirs, "version": 2}, token=tokens["other"])[0], 200)
        self.assertEqual(self.ask("DELETE", "/v1/secrets/db", token=tokens["mine"])[0], 403)
        self.assertEqual(self.ask("DELETE", "/v1/secrets/db", token=tokens["other"])[0], 200)
        self.assertEqual(self.set_secret("another")["version"], 3)

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
