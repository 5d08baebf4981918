"""A stolen controller, with its authority's key, its registry and its store: hosts with a trust list run nothing that operators have not signed."""
import copy
import json
import os
import pathlib
import shutil
import signal
import unittest

from access_test import Controller


class Signing(Controller):
    def setUp(self):
        super().setUp()
        self.consort("key", "create", "ann")
        self.consort("key", "create", "ben")

    def trust(self, *keys, needed=1):
        """The operators' own list, and a file for the hosts."""
        file = self.folder / "trust.json"
        arguments = ["key", "trust", "--site-name", "s", "--needed", str(needed), *keys]
        self.consort(*arguments)
        self.consort(*arguments, "--out", str(file))
        return str(file)

    def host(self, trust=None):
        agent = self.agent("h1", self.token())
        self.wait_until("h1 is there", lambda: self.hosts()["h1"]["reachable"])
        if trust:
            self.end(agent)
            agent = self.start_host(trust)
        return agent

    def start_host(self, trust=None):
        data, root = self.folder / "agent-h1", self.folder / "root-h1"
        arguments = ["agent", "--data", str(data), "--root", str(root), "--controller", self.url, "--address", "127.0.0.1", "--supervisor", "native"]
        agent = self.spawn(*arguments, *(["--trust", trust] if trust else []))
        self.wait_until("the agent keeps its host", lambda: "keeps this host" in agent.log.read_text())
        self.wait_until("h1 is back", lambda: self.hosts()["h1"]["reachable"])
        return agent

    def site(self, name="site.json", **contents):
        services = {service: {"on": "all", "resources": {"f": {"type": "file", "path": f"/etc/{service}", "content": text}}} for service, text in contents.items()}
        path = self.folder / name
        hosts = {"all": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}}
        path.write_text(json.dumps({"name": "s", "hostClasses": hosts, "services": services}))
        return str(path)

    def deploy(self, *arguments, **contents):
        return self.consort("deploy", "--yes", "--site", self.site(**contents), *arguments)

    def runs(self):
        etc = self.folder / "root-h1/etc"
        return {p.name: p.read_text() for p in etc.iterdir()}

    def report(self):
        return self.consort("host", "show", "h1")["report"]

    def wait_for_refusal(self, word):
        self.wait_until(f"the host says '{word}'", lambda: any(word in (h["untrusted"] or "") for h in self.consort("status")["hosts"]))

    # --- the thief ---------------------------------------------------------------------------

    def steal(self):
        """A copy of the controller's folder, run in its place; the thief is an operator of it, and nobody's key is his."""
        self.end(self.controller, signal.SIGTERM)
        loot = self.folder / "loot"
        shutil.copytree(self.data, loot)
        self.data = loot
        self.start()
        thief = self.folder / "thief"
        thief.mkdir()
        # The admin's certificate as the authority issues it: whoever has the authority has the registry, too.
        shutil.copytree(self.folder / "config/consort/contexts", thief / "consort/contexts")
        shutil.copy(self.folder / "config/consort/current", thief / "consort/current")
        shutil.copytree(self.folder / "cache", self.folder / "thief-cache")
        self.thief = {**self.environment, "XDG_CONFIG_HOME": str(thief), "XDG_CACHE_HOME": str(self.folder / "thief-cache")}
        self.wait_until("h1 is back", lambda: self.hosts()["h1"]["reachable"])

    def as_thief(self, *arguments):
        return self.run_consort(*arguments, "--json", environment=self.thief)

    def test_a_stolen_controller_runs_nothing_of_its_own(self):
        trust = self.trust("ann")
        self.host(trust)
        self.deploy(web="one", db="one")
        self.deploy(web="two", db="one")
        self.assertEqual(self.runs(), {"web": "two", "db": "one"})
        self.assertEqual(self.report()["statement"], 2)
        self.steal()
        with self.subTest("another manifest, not signed"):
            self.assertEqual(self.as_thief("deploy", "--yes", "--site", self.site("evil.json", web="evil", db="one")).returncode, 6)
            done = self.as_thief("deploy", "--yes", "--unsigned", "--site", self.site("evil.json", web="evil", db="one"))
            self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
            self.assertIn("untrusted", done.stdout + done.stderr)
            self.assertEqual(self.runs(), {"web": "two", "db": "one"})
        with self.subTest("another manifest, signed by the thief"):
            self.as_thief("key", "create", "thief")
            self.as_thief("key", "trust", "--site-name", "s", "thief")
            done = self.as_thief("deploy", "--yes", "--site", self.site("evil.json", web="evil", db="one"))
            # Its own program refuses what others have signed before; so it forgets that there was anything.
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(self.runs(), {"web": "two", "db": "one"})
        with self.subTest("a service goes"):
            done = self.as_thief("deploy", "--yes", "--unsigned", "--site", self.site("less.json", web="two"))
            self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
            self.assertEqual(self.runs(), {"web": "two", "db": "one"})
        with self.subTest("a service comes"):
            done = self.as_thief("deploy", "--yes", "--unsigned", "--site", self.site("more.json", web="two", db="one", door="open"))
            self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
            self.assertNotIn("door", self.runs())
        with self.subTest("the operators still can"):
            self.deploy(web="three", db="one")
            self.assertEqual(self.runs(), {"web": "three", "db": "one"})
            self.assertEqual(self.report()["untrusted"], "")

    def test_targets_of_the_thiefs_own_making(self):
        """The store itself is written: what the host is told is whatever the thief likes."""
        import sqlite3
        trust = self.trust("ann")
        self.host(trust)
        targets = []

        def stored():
            with sqlite3.connect(self.data / "state.sqlite") as store:
                (value,) = store.execute("select value from " + self.table(store) + " where cast(key as text)='targets/h1'").fetchone()
            return json.loads(value.decode() if isinstance(value, bytes) else value)

        for version in ("one", "two", "three"):
            self.deploy(web=version, db="one")
            targets.append(stored())
        good = targets[-1]
        self.assertEqual(good["attestation"]["current"]["head"]["sequence"], 3)

        def refused(target, word, what):
            """The host gets exactly this, as from a controller."""
            self.end(self.controller)
            with sqlite3.connect(self.data / "state.sqlite") as store:
                table = self.table(store)
                newest = stored()
                target = {**target, "seq": newest["seq"] + 1}
                store.execute(f"update {table} set value=? where cast(key as text)='targets/h1'", (json.dumps(target).encode(),))
            self.start()
            self.wait_for_refusal(word)
            self.assertEqual(self.runs(), {"web": "three", "db": "one"}, what)

        def changed(**entry):
            out = copy.deepcopy(good)
            out["instances"]["web"].update(entry, attempt="stolen")
            return out

        first = targets[0]["instances"]["web"]["wanted"]
        refused(changed(wanted=first), "does not want", "an old version under the newest signature")
        replay = copy.deepcopy(targets[0])
        replay["instances"]["web"]["attempt"] = "replayed"
        refused(replay, "older", "an old generation with its signature")
        refused(changed(wanted=None), "does not say that web goes", "a removal")
        refused(changed(wanted={**good["instances"]["web"]["wanted"], "mode": "stopped"}), "does not want", "a stop")
        forged = changed(wanted=first)
        forged["attestation"]["current"]["share"]["web"]["manifest"] = first["manifest"]
        refused(forged, "not what was signed", "another share")
        bare = changed(wanted=first)
        bare["attestation"] = None
        refused(bare, "not signed", "no signature")
        text = self.run_consort("status").stdout
        self.assertIn("refuses what it is told", text)
        self.assertIn("untrusted", [e["kind"] for e in map(json.loads, self.run_consort("logs", "--json").stdout.splitlines())])

    def table(self, store):
        return next(t for (t,) in store.execute("select name from sqlite_master where type='table'") if {"key", "value"} <= {c[1] for c in store.execute(f"pragma table_info({t})")})

    # --- the operators ---------------------------------------------------------------------

    def test_two_of_two_sign_and_the_way_back_is_open(self):
        ann, ben = (self.consort("key", "show", name)["key"] for name in ("ann", "ben"))
        self.assertEqual((self.folder / "config/consort/keys/ann.pem").stat().st_mode & 0o777, 0o600)
        trust = self.trust(ann, ben, needed=2)
        # Ben has his key on his own machine.
        bens = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "ben")}
        shutil.copytree(self.folder / "config", self.folder / "ben")
        (self.folder / "ben/consort/keys/ann.pem").unlink()
        (self.folder / "ben/consort/keys/ann.pub").unlink()
        for suffix in ("pem", "pub"):
            (self.folder / f"config/consort/keys/ben.{suffix}").unlink()
        self.host(trust)
        site = self.site(web="one")
        self.assertIn("1 of 2 needed signatures", self.refused("deploy", "--yes", "--site", site))
        proposal = str(self.folder / "proposal")
        self.assertEqual(self.consort("deploy", "--site", site, "--propose", proposal)["signatures"], 1)
        # Ben's sources say something else: he does not sign.
        self.assertIn("neither what these sources make", self.refused("key", "sign", proposal, "--site", self.site("other.json", web="other"), environment=bens))
        self.assertEqual(self.consort("key", "sign", proposal, "--site", site, environment=bens)["signatures"], 2)
        self.consort("deploy", "--yes", "--site", site, "--signatures", proposal)
        self.assertEqual(self.runs(), {"web": "one"})
        # Signed twice over, a rollout that fails goes back by itself.
        broken = json.loads(pathlib.Path(self.site(web="two")).read_text())
        broken["services"]["web"]["resources"]["g"] = {"type": "command", "argv": ["/bin/false"]}
        file = self.folder / "broken.json"
        file.write_text(json.dumps(broken))
        self.consort("deploy", "--site", str(file), "--propose", proposal)
        self.consort("key", "sign", proposal, "--site", str(file), environment=bens)
        done = self.run_consort("deploy", "--yes", "--site", str(file), "--signatures", proposal, "--json")
        self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
        self.assertEqual(self.runs(), {"web": "one"})
        # Old signatures are good for nothing new.
        self.assertIn("another statement", self.refused("deploy", "--yes", "--site", self.site(web="three"), "--signatures", proposal))

    def test_a_rollback_brings_back_what_was_signed(self):
        trust = self.trust("ann")
        self.host(trust)
        self.deploy(web="one")
        self.deploy(web="two")
        self.consort("rollback", "--yes")
        self.assertEqual(self.runs(), {"web": "one"})
        self.assertEqual(self.report()["statement"], 3)

    def test_a_chain_ends_and_begins_anew(self):
        trust = self.trust("ann")
        agent = self.host()
        self.deploy(web="one", db="one")
        # On purpose without signatures: the hosts here have no list yet.
        self.deploy("--unsigned", web="two", db="one")
        self.assertIn("--new-chain", self.refused("deploy", "--yes", "--site", self.site(web="three", db="one")))
        self.deploy("--new-chain", web="three", db="one")
        self.end(agent)
        self.start_host(trust)
        self.deploy(web="four", db="one")
        self.assertEqual(self.report()["statement"], 3)
        # Two must sign from now on: the statement in force has one signature.
        self.trust("ann", "ben", needed=2)
        self.assertIn("--new-chain", self.refused("deploy", "--yes", "--site", self.site(web="five", db="one")))
        self.deploy("--new-chain", web="five", db="one")
        self.assertEqual(self.runs(), {"web": "five", "db": "one"})
        self.deploy(web="six", db="one")
        self.assertEqual(self.runs(), {"web": "six", "db": "one"})

    def test_the_first_signed_deploy_is_of_the_whole_site(self):
        self.host()
        self.deploy(web="one", db="one")
        self.trust("ann")
        self.assertIn("the whole site", self.refused("deploy", "--yes", "--only", "web", "--site", self.site(web="two", db="one", mail="one")))
        self.deploy(web="two", db="one")
        self.deploy("--only", "web", web="three", db="one", mail="one")

    def test_a_list_comes_to_a_host_that_has_been_there_for_long(self):
        agent = self.host()
        self.deploy(web="one")
        self.end(agent)
        trust = self.trust("ann")
        agent = self.start_host(trust)
        self.assertEqual(self.report()["untrusted"], "")
        # Its own list is there, so it is signed; what ran before may come back.
        self.deploy(web="two")
        self.end(agent)
        # The agent keeps its list, whatever it is started with.
        agent = self.start_host()
        done = self.run_consort("deploy", "--yes", "--unsigned", "--site", self.site(web="evil"), "--json")
        self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
        self.assertEqual(self.runs(), {"web": "two"})
        self.end(agent)
        # A damaged list believes nothing, and what runs is kept.
        list_file = self.folder / "agent-h1/trust.json"
        list_file.write_text("{")
        self.start_host()
        (self.folder / "root-h1/etc/web").write_text("spoilt")
        self.wait_until("drift is repaired", lambda: self.runs() == {"web": "two"})
        done = self.run_consort("deploy", "--yes", "--site", self.site(web="three"), "--json")
        self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
        self.assertEqual(self.runs(), {"web": "two"})

    def test_the_operators_program_signs_nothing_that_a_controller_makes_up(self):
        trust = self.trust("ann")
        self.host(trust)
        old = self.data.with_name("old")
        self.deploy(web="one", db="one")
        self.end(self.controller, signal.SIGTERM)
        shutil.copytree(self.data, old)
        self.start()
        self.deploy(web="two", db="two")
        # The thief shows an old store: what was signed then would be signed anew.
        self.end(self.controller, signal.SIGTERM)
        shutil.rmtree(self.data)
        shutil.copytree(old, self.data)
        self.start()
        self.assertIn("you have seen 2", self.refused("deploy", "--yes", "--only", "web", "--site", self.site(web="three", db="two")))

    def secret_site(self):
        path = self.folder / "secret.json"
        hosts = {"all": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}}
        services = {"web": {"on": "all", "resources": {"f": {"type": "file", "path": "/etc/web", "content": "password=${secret.db}"}}}}
        path.write_text(json.dumps({"name": "s", "hostClasses": hosts, "services": services}))
        return str(path)

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

    def test_keys_are_kept_well(self):
        passphrase = self.folder / "passphrase"
        passphrase.write_text("correct horse\n")
        self.consort("key", "create", "eve", "--passphrase-file", str(passphrase))
        self.assertIn("ENCRYPTED", (self.folder / "config/consort/keys/eve.pem").read_text())
        self.assertIn("already", self.refused("key", "create", "eve"))
        self.assertEqual([k["name"] for k in self.consort("key", "list")["keys"]], ["ann", "ben", "eve"])
        self.host()
        site = self.site(web="one")
        self.trust("ann")
        os.chmod(self.folder / "config/consort/keys/ann.pem", 0o644)
        self.assertIn("chmod 600", self.refused("deploy", "--yes", "--site", site))
        self.assertIn("does not name the key ben", self.refused("deploy", "--yes", "--site", site, "--key", "ben"))
        self.trust("eve")
        self.assertIn("passphrase", self.refused("deploy", "--yes", "--site", site, stdin=""))
        self.consort("deploy", "--yes", "--site", site, environment={**self.environment, "CONSORT_KEY_PASSPHRASE_FILE": str(passphrase)})


# The base's own cases are access_test.py's.
del Controller

if __name__ == "__main__":
    unittest.main(verbosity=2)
