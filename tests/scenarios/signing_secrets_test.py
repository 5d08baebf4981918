"""Values of secrets that operators sign: nobody else puts one into their place, or brings back an older one."""
import contextlib
import json
import pathlib
import shutil
import signal
import sqlite3
import unittest

from signed_hosts import SignedHosts


class SignedSecrets(SignedHosts):
    def secret_site(self):
        path = self.folder / "secret.json"
        hosts = {"all": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}}
        services = {"web": {"on": "all", "resources": {"f": {"type": "file", "path": "/etc/web", "content": "password=${secret.db}"}}}}
        path.write_text(json.dumps({"name": "s", "hostClasses": hosts, "services": services}))
        return str(path)

    def knows_key(self):
        return "h1" in json.loads(self.ask("GET", "/v1/secrets/any", certificate=self.admin_file())[1])["hosts"]

    def another_operator(self, name):
        """The same rights; no key, no trust list, a recovery key of their own."""
        folder = self.folder / name
        shutil.copytree(self.folder / "config", folder)
        for kept in ("keys", "trust", "seen"):
            shutil.rmtree(folder / "consort" / kept, ignore_errors=True)
        (folder / "consort/recovery.pem").unlink(missing_ok=True)
        return {"environment": {**self.environment, "XDG_CONFIG_HOME": str(folder)}}

    def test_a_secret_is_an_operators_word_too(self):
        trust = self.trust("ann")
        self.host(trust)
        site = self.secret_site()
        told = lambda: "h1" in json.loads(self.ask("GET", "/v1/secrets/any", certificate=self.admin_file())[1])["hosts"]
        self.wait_until("the host has told its key", told)
        done = self.consort("secret", "set", "db", "--site", site, stdin="first")
        self.assertTrue(done["signed"])
        self.consort("deploy", "--yes", "--site", site)
        self.assertEqual(self.runs(), {"web": "password=first"})
        # The thief has the deploy signed that an operator wants, and puts a value of his own below it.
        stranger = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "stranger")}
        shutil.copytree(self.folder / "config/consort/contexts", self.folder / "stranger/consort/contexts")
        shutil.copy(self.folder / "config/consort/current", self.folder / "stranger/consort/current")
        done = self.consort("secret", "set", "db", "--site", site, stdin="evil", environment=stranger)
        self.assertFalse(done["signed"])
        done = self.run_consort("deploy", "--yes", "--site", site, "--json")
        self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
        self.assertIn("no key that this host trusts has signed", done.stdout + done.stderr)
        self.assertEqual(self.runs(), {"web": "password=first"})
        # Anybody can seal a value to an operator's recovery key: what no key of the list has signed is not signed by resealing it.
        recovery = self.consort("secret", "key")["key"]
        self.consort("secret", "set", "db", "--site", site, "--recipient", recovery, stdin="evil", environment=stranger)
        self.assertIn("may be anybody's", self.refused("secret", "reseal", "db", "--site", site))
        self.assertTrue(self.consort("secret", "set", "db", "--site", site, stdin="third")["signed"])
        self.consort("deploy", "--yes", "--site", site)
        self.assertEqual(self.runs(), {"web": "password=third"})

    def test_resealing_takes_no_signature_away(self):
        trust = self.trust("ann")
        self.host(trust)
        self.wait_until("the host has told its key", self.knows_key)
        site = self.secret_site()
        carl = self.another_operator("carl")
        his = self.consort("secret", "key", **carl)["key"]
        self.assertTrue(self.consort("secret", "set", "db", "--site", site, "--recipient", his, stdin="first")["signed"])
        sealed = lambda: json.loads(self.ask("GET", "/v1/secrets/db/sealed", certificate=self.admin_file())[1])
        before = sealed()
        self.assertTrue(before["signatures"])
        with self.subTest("without a trust list"):
            self.assertIn("no trust list", self.refused("secret", "reseal", "db", "--site", site, **carl))
        with self.subTest("with the list, and no key on it"):
            shutil.copytree(self.folder / "config/consort/trust", self.folder / "carl/consort/trust")
            self.assertIn("no key that the trust list", self.refused("secret", "reseal", "db", "--site", site, **carl))
        with self.subTest("a program that does not ask"):
            facts = json.loads(self.ask("GET", "/v1/secrets/db", certificate=self.admin_file())[1])
            body = {"name": "db", "version": 1, "services": ["web"], "hosts": facts["hosts"], "recovery": facts["secret"]["recovery"], "sealed": before["sealed"], "signatures": {}}
            status, text = self.ask("PUT", "/v1/secrets/db", body, certificate=self.admin_file())
            self.assertNotEqual(status, 200)
            self.assertIn("is signed", text)
        self.assertEqual(sealed(), before)
        self.consort("deploy", "--yes", "--site", site)
        self.assertEqual(self.runs(), {"web": "password=first"})
        self.assertTrue(self.consort("secret", "reseal", "db", "--site", site)["signed"])

    def test_sync_seals_nothing_anew_for_a_signature_that_it_cannot_give(self):
        self.trust("ann")
        self.host()
        self.wait_until("the host has told its key", self.knows_key)
        site = json.loads(pathlib.Path(self.secret_site()).read_text())
        site["secrets"] = {"db": {"exec": ["/bin/echo", "first"]}}
        file = self.folder / "sourced.json"
        file.write_text(json.dumps(site))
        carl = self.another_operator("carl")
        outcome = lambda **more: [s["outcome"] for s in self.consort("secret", "sync", "--site", str(file), **more)["secrets"]]
        self.assertEqual(outcome(**carl), ["set"])
        shutil.copytree(self.folder / "config/consort/trust", self.folder / "carl/consort/trust")
        self.assertEqual(outcome(**carl), ["unchanged"])
        self.assertEqual(outcome(**carl), ["unchanged"])

    def test_a_controller_that_forgets_a_rotation_is_told_apart(self):
        """What was leaked and rotated does not come back with an older store; setting the value again is enough."""
        trust = self.trust("ann")
        self.host(trust)
        self.wait_until("the host has told its key", self.knows_key)
        site = self.secret_site()
        self.consort("secret", "set", "db", "--site", site, stdin="leaked")
        self.consort("deploy", "--yes", "--site", site)

        def record(value=None):
            """The controller's record of the secret; a value takes its place."""
            with contextlib.closing(sqlite3.connect(self.data / "state.sqlite")) as store, store:
                table = self.table(store)
                if value is not None:
                    store.execute(f"update {table} set value=? where cast(key as text)='access/secrets/db'", (value,))
                return store.execute(f"select value from {table} where cast(key as text)='access/secrets/db'").fetchone()[0]

        older = record()
        # Signed, and not deployed yet.
        self.assertEqual(self.consort("secret", "rotate", "db", "--site", site)["version"], 2)
        self.end(self.controller, signal.SIGTERM)
        self.assertEqual(record(older), older)
        self.start()
        self.wait_until("h1 is back", lambda: self.hosts()["h1"]["reachable"])
        said = self.refused("deploy", "--yes", "--site", site)
        self.assertIn("you have signed for version 2", said)
        self.assertIn("consort secret set db", said)
        self.assertIn("you have signed for version 2", self.refused("secret", "reseal", "db", "--site", site))
        self.assertEqual(self.consort("secret", "set", "db", "--site", site, stdin="fresh")["version"], 3)
        self.consort("deploy", "--yes", "--site", site)
        self.assertEqual(self.runs(), {"web": "password=fresh"})

    def test_who_signs_a_site_with_secrets_needs_the_controller(self):
        trust = self.trust("ann", "ben", needed=2)
        for suffix in ("pem", "pub"):
            (self.folder / f"config/consort/keys/ben.{suffix}").rename(self.folder / f"ben.{suffix}")
        self.host(trust)
        self.wait_until("the host has told its key", self.knows_key)
        site = self.secret_site()
        self.consort("secret", "set", "db", "--site", site, stdin="first")
        proposal = str(self.folder / "proposal")
        self.consort("deploy", "--site", site, "--propose", proposal)
        ben = self.folder / "ben"
        shutil.copytree(self.folder / "config/consort/trust", ben / "consort/trust")
        (ben / "consort/keys").mkdir()
        for suffix in ("pem", "pub"):
            shutil.copy(self.folder / f"ben.{suffix}", ben / f"consort/keys/ben.{suffix}")
        alone = {**self.environment, "XDG_CONFIG_HOME": str(ben)}
        del alone["CONSORT_CONTROLLER"]
        said = self.refused("key", "sign", proposal, "--site", site, environment=alone)
        self.assertIn("only the controller knows its newest version", said)
        self.assertNotIn("sign nothing", said)
        for item in ("contexts", "current"):
            there = self.folder / "config/consort" / item
            shutil.copytree(there, ben / "consort" / item) if there.is_dir() else shutil.copy(there, ben / "consort" / item)
        self.assertEqual(self.consort("key", "sign", proposal, "--site", site, environment={**self.environment, "XDG_CONFIG_HOME": str(ben)})["signatures"], 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
