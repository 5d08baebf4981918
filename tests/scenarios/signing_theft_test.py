"""A stolen controller, with its authority's key, its registry and its store: hosts with a trust list run nothing that operators have not signed."""
import copy
import json
import pathlib
import shutil
import signal
import sqlite3
import unittest

from signed_hosts import SignedHosts


class StolenController(SignedHosts):
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

    def store_is_put_back(self, old):
        self.end(self.controller, signal.SIGTERM)
        shutil.rmtree(self.data)
        shutil.copytree(old, self.data)
        self.start()
        self.wait_until("h1 is back", lambda: self.hosts()["h1"]["reachable"])
        self.wait_until("h1 has told its statement", lambda: self.report()["statement"] == 2)

    def test_what_an_operator_leaves_out_is_not_signed_as_of_a_statement_that_hides_a_newer_one(self):
        """Ann does not know that Ben has mended db; the thief shows her the statement before it as the one in force."""
        self.host(self.trust("ann", "ben"))
        ben = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "ben"), "XDG_CACHE_HOME": str(self.folder / "ben-cache")}
        shutil.copytree(self.folder / "config", self.folder / "ben")
        self.deploy(web="one", db="old")
        old = self.data.with_name("old")
        self.end(self.controller, signal.SIGTERM)
        shutil.copytree(self.data, old)
        self.start()
        self.wait_until("h1 is back", lambda: self.hosts()["h1"]["reachable"])
        self.consort("deploy", "--yes", "--site", self.site(web="one", db="mended"), environment=ben)
        self.store_is_put_back(old)
        part = ["deploy", "--yes", "--only", "web", "--site", self.site(web="two", db="mended")]
        said = self.refused(*part)
        self.assertRegex(said, "statement 3 would follow statement 1, as of which would stay: db [0-9a-f]+")
        self.assertIn("--as-of 1", said)
        self.assertIn("would follow", self.refused(*part, "--as-of", "2"))
        self.assertEqual(self.runs(), {"web": "one", "db": "mended"})
        # All of her sources, or her word that the older one may stay.
        with self.subTest("the whole site from its newest sources"):
            self.deploy(web="two", db="mended")
            self.assertEqual(self.runs(), {"web": "two", "db": "mended"})

    def test_after_a_rollout_that_went_back_a_part_is_deployed_with_a_word(self):
        """Its number is used up, and is not in force: the operator, who knows, says so."""
        self.host(self.trust("ann"))
        self.deploy(web="one", db="one")
        broken = json.loads(pathlib.Path(self.site(web="two", db="one")).read_text())
        broken["services"]["web"]["resources"]["g"] = {"type": "command", "argv": ["/bin/false"]}
        file = self.folder / "broken.json"
        file.write_text(json.dumps(broken))
        self.assertEqual(self.run_consort("deploy", "--yes", "--site", str(file)).returncode, 4)
        part = ["deploy", "--yes", "--only", "web", "--site", self.site(web="three", db="two")]
        self.assertIn("--as-of 1", self.refused(*part))
        self.consort(*part, "--as-of", "1")
        self.assertEqual(self.runs(), {"web": "three", "db": "one"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
