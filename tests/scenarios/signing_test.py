"""How operators sign what their hosts run: keys, lists, proposals, the way back, chains that end."""
import json
import os
import pathlib
import re
import shlex
import shutil
import unittest

from signed_hosts import SignedHosts


class Signing(SignedHosts):
    def test_an_outage_that_has_to_be_signed_is_asked_for_with_the_plan(self):
        """Given a site whose policy allows outages: a rollback has no sources that say so, and tells its word before it signs."""
        self.host(self.trust("ann"))

        def deploy(version):
            service = lambda run, **more: {"on": "all", "daemon": {"argv": ["/bin/sleep", run]}, **more}
            path = self.folder / "outage.json"
            path.write_text(json.dumps({
                "name": "s", "policy": {"allowOutage": True}, "hostClasses": {"all": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}},
                "services": {"db": service(version, provides={"sql": {"port": 5432}}), "web": service("1000", needs={"db": {"service": "db", "endpoint": "sql"}})}}))
            return self.run_consort("deploy", "--yes", "--site", str(path))

        for version in ("1001", "1002"):
            done = deploy(version)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("may be stopped for a while: web", done.stdout)
        done = self.run_consort("rollback", "--yes")
        self.assertEqual(done.returncode, 6, done.stdout + done.stderr)
        self.assertIn("needs --allow-outage: it would be signed that web may be stopped for a while", done.stdout)
        self.assertIn("hint: allow it with --allow-outage", done.stderr)
        self.assertNotIn("allowOutage", done.stderr)
        done = self.run_consort("rollback", "--yes", "--allow-outage")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_nothing_is_signed_for_another_partition_than_the_controllers(self):
        """Given a list for production: a site that is rehearsed elsewhere leaves no signature that production would take."""
        self.host()
        site = self.site(web="one")
        own = self.folder / "config/consort/trust/s.json"
        self.consort("key", "trust", "--site-name", "s", "--partition", "production", "ann")
        for words in (["plan"], ["deploy", "--yes"], ["deploy", "--propose", str(self.folder / "proposal")]):
            said = self.refused(*words, "--site", site)
            self.assertIn("is for the partition production, and this controller is of main", said)
            self.assertIn("consort key trust --site-name s --partition main", said)
            self.assertIn("--context NAME", said)
        self.assertFalse((self.folder / "proposal").exists())
        self.assertEqual([p for p in (self.data / "objects").rglob("*") if p.is_file() and len(p.name) > 40], [], "nothing was sent")
        said = self.refused("secret", "set", "db", "--service", "web", "--site", site, stdin="first")
        self.assertIn("--partition main", said)
        # Without a word about it, a list is for the controller of the context.
        said = self.run_consort("key", "trust", "--site-name", "s", "ann").stdout
        self.assertIn("the partition is main, as of your context main", said)
        self.deploy(web="one")
        made = self.run_consort("controller", "init", "--data", str(self.folder / "other"), "--partition", "lab", "--json")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(self.consort("key", "trust", "--site-name", "s", "ann", "--context", "lab")["partition"], "lab")
        self.assertEqual(json.loads(own.read_text())["partition"], "lab")

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

    def test_the_history_says_whose_signatures_a_generation_came_with(self):
        self.host()
        self.deploy(web="one")
        self.assertNotIn("SIGNED", self.run_consort("history").stdout)
        self.trust("ann", "ben")
        self.deploy("--key", "ann", web="two")
        self.deploy(web="three")
        ann, ben = (self.consort("key", "show", name)["key"] for name in ("ann", "ben"))
        generations = self.consort("history")["generations"]
        self.assertEqual([g["statement"] for g in generations], [None, 1, 2])
        self.assertEqual([g["signedBy"] for g in generations], [[], [ann], sorted([ann, ben])])
        first, second, third = self.run_consort("history").stdout.splitlines()[1:4]
        self.assertIn(" nobody", first)
        self.assertIn(" ann", second)
        self.assertNotIn("ben", second)
        self.assertIn(" " + ", ".join(name for _, name in sorted([(ann, "ann"), (ben, "ben")])), third)

    def proposed(self, *arguments):
        """The commands that are told: for the others, and then for whoever proposes."""
        told = self.run_consort(*arguments)
        self.assertEqual(told.returncode, 0, told.stdout + told.stderr)
        others, own = re.search(r"others add theirs: consort (.*); then: consort (.*)", told.stdout).groups()
        return shlex.split(others), shlex.split(own)

    def test_the_commands_that_a_proposal_tells_are_enough(self):
        trust = self.trust("ann", "ben", needed=2)
        self.host(trust)
        self.deploy(web="one", db="one")
        proposal = str(self.folder / "a proposal")
        with self.subTest("of a part of the site"):
            site = self.site(web="two", db="two")
            others, own = self.proposed("deploy", "--site", site, "--only", "web", "--key", "ann", "--propose", proposal)
            self.assertEqual(self.consort(*others, "--key", "ben")["signatures"], 2)
            self.consort(*own, "--key", "ann")
            self.assertEqual(self.runs(), {"web": "two", "db": "one"})
        with self.subTest("of a rollback, with a list that is named"):
            (self.folder / "config/consort/trust/s.json").unlink()
            others, own = self.proposed("rollback", "--to", "1", "--trust", trust, "--key", "ann", "--propose", proposal)
            self.assertEqual(self.consort(*others, "--key", "ben")["signatures"], 2)
            self.consort(*own, "--key", "ann")
            self.assertEqual(self.runs(), {"web": "one", "db": "one"})

    def test_programs_of_a_site_run_beside_the_keys_of_who_signs_only_when_that_one_says_so(self):
        """Given a site whose hosts a program prints: Ben, who adds his signature, is told what it would run."""
        self.host(self.trust("ann", "ben", needed=2))
        program, ran = self.folder / "hosts", self.folder / "ran"
        program.write_text(f"#!/bin/sh\ntouch {ran}\n" + """echo '{"hosts": {"h1": {"address": "127.0.0.1"}}}'\n""")
        program.chmod(0o755)
        site = json.loads(pathlib.Path(self.site(web="one")).read_text())
        site["hostClasses"]["all"]["inventory"] = {"type": "exec", "argv": ["./hosts", "--list"]}
        file = self.folder / "program.json"
        file.write_text(json.dumps(site))
        proposal = str(self.folder / "proposal")
        self.consort("deploy", "--site", str(file), "--key", "ann", "--propose", proposal)
        ran.unlink()
        sign = ["key", "sign", proposal, "--site", str(file), "--key", "ben"]
        with self.subTest("where nobody can be asked"):
            said = self.refused(*sign)
            self.assertIn(f"{program} --list", said)
            self.assertIn("--exec", said)
            self.assertIn("--no-exec is given", self.refused(*sign, "--no-exec"))
        with self.subTest("others evaluate it without"):
            for command in ("plan", "graph"):
                self.assertIn(f"{program} --list", self.refused(command, "--site", str(file), "--no-exec"))
            done = self.run_consort("check", "--site", str(file), "--no-exec")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("warning: checked without the inventory of host class all", done.stderr)
        self.assertFalse(ran.exists())
        with self.subTest("when he says so"):
            done = self.run_consort(*sign, "--exec")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f"runs: {program} --list", done.stderr)
            self.assertTrue(ran.exists())
            self.consort("deploy", "--yes", "--site", str(file), "--key", "ann", "--signatures", proposal)

    def test_past_a_change_of_keys_the_sources_are_deployed(self):
        self.host()
        self.trust("ann")
        self.deploy(web="one")
        self.trust("ben")
        self.deploy("--new-chain", web="two")
        for more in ([], ["--new-chain"]):
            self.assertIn("but its sources: consort deploy", self.refused("rollback", "--yes", *more))
        self.deploy(web="one")
        self.assertEqual(self.runs(), {"web": "one"})

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
        planned = self.run_consort("plan", "--unsigned", "--site", self.site(web="evil"))
        self.assertIn("h1 took signed statements before; with a trust list it refuses unsigned deploys", planned.stderr)
        self.assertNotIn("warning", self.run_consort("plan", "--site", self.site(web="evil")).stderr)
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
