"""Values of secrets that come from where the site says: a password store, files that are encrypted to operators."""
import json
import shutil
import unittest

from secret_hosts import POISON, SecretHosts


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
