"""Operators: logging in, what each role may do, the audit log."""
import contextlib
import json
import os
import pathlib
import pty
import re
import signal
import sqlite3
import subprocess
import termios
import unittest

from own_controller import CONSORT, Controller

REFERENCE = pathlib.Path(__file__).resolve().parents[2] / "docs/reference/access.md"


class Operators(Controller):
    def operator(self, name, *grants):
        token = self.folder / f"{name}.token"
        self.consort("operator", "create", name, *grants, "--token-file", str(token))
        record = self.consort("operator", "token", name)
        token.write_text(record["token"])
        return record["token"]

    def test_login_and_contexts(self):
        token = self.operator("ann", "--role", "viewer")
        (self.folder / "t").write_text(token)
        environment = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "ann")}
        environment.pop("CONSORT_CONTROLLER")
        me = self.consort("login", self.url, "--token-file", str(self.folder / "t"), "--name", "prod", environment=environment)
        self.assertEqual(me["name"], "ann")
        listed = self.run_consort("context", "list", environment=environment).stdout
        self.assertIn(f" token {token.split('.')[1]} ", listed)
        self.assertNotIn(token.split(".")[2], listed)
        self.assertEqual((self.folder / "ann/consort/contexts/prod.json").stat().st_mode & 0o777, 0o600)
        self.assertIn("viewer", self.consort("context", "show", environment=environment)["may"])
        self.assertIn("services", self.consort("status", environment=environment))
        said = self.refused("token", "create", environment=environment)
        self.assertIn("admin", said)
        self.consort("operator", "revoke", "ann")
        self.assertIn("hint", self.refused("status", environment=environment))
        # Others may read it: it is not used.
        os.chmod(self.folder / "ann/consort/contexts/prod.json", 0o644)
        self.assertIn("chmod 600", self.refused("status", environment=environment))

    def test_a_certificate_in_place_of_a_token(self):
        token = self.operator("ann", "--role", "viewer")
        (self.folder / "t").write_text(token)
        environment = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "ann")}
        environment.pop("CONSORT_CONTROLLER")
        me = self.consort("login", self.url, "--token-file", str(self.folder / "t"), "--name", "prod", "--certificate", environment=environment)
        self.assertEqual((me["name"], me["how"].split()[0]), ("ann", "certificate"))
        context = self.folder / "ann/consort/contexts/prod.json"
        self.assertEqual(context.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(token, context.read_text())
        self.assertEqual([c["who"] for c in self.consort("context", "list", environment=environment)["contexts"]], ["ann"])
        before = context.read_text()
        self.consort("context", "renew", environment=environment)
        self.assertNotEqual(context.read_text(), before)
        self.assertEqual(self.consort("context", "show", environment=environment)["how"].split()[0], "certificate")
        # What ends makes nothing that ends later, not even by way of a certificate.
        short = self.consort("operator", "token", "ann", "--ttl", "2h")
        (self.folder / "t").write_text(short["token"])
        self.consort("login", self.url, "--token-file", str(self.folder / "t"), "--name", "short", "--certificate", environment=environment)
        ends = lambda: {c["name"]: c["expires"] for c in self.consort("context", "list", environment=environment)["contexts"]}
        first = ends()["short"]
        self.assertLessEqual(first, short["expires"])
        self.consort("context", "renew", "short", environment=environment)
        self.assertLessEqual(ends()["short"], short["expires"])
        said = self.run_consort("status", "--context", "short", environment=environment)
        self.assertIn("consort context renew short", said.stderr)
        # One that is lost is taken away alone, named as the list shows it.
        serial = lambda: {c["id"] for o in self.consort("operator", "list")["operators"] if o["name"] == "ann" for c in o["credentials"] if c["kind"] == "certificate"}
        others = serial()
        self.consort("login", self.url, "--token-file", str(self.folder / "t"), "--name", "lost", "--certificate", environment=environment)
        [lost] = serial() - others
        self.assertIn("no certificate", self.refused("operator", "revoke", "ann", "--certificate", "nonsense"))
        self.consort("operator", "revoke", "ann", "--certificate", lost[:16])
        self.assertEqual(serial(), others)
        self.assertIn("hint", self.refused("status", "--context", "lost", environment=environment))
        self.consort("status", "--context", "prod", environment=environment)
        # Revoked with everything she has.
        self.consort("operator", "revoke", "ann")
        self.assertIn("hint", self.refused("status", "--context", "prod", environment=environment))

    def test_what_the_environment_names_goes_before_a_login_and_that_is_said(self):
        # Given a shell that names the admin's context
        (self.folder / "t").write_text(self.operator("ann", "--role", "viewer"))
        admins = str(self.folder / "config/consort/contexts/main.json")
        environment = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "people")}
        login = ["login", self.url, "--token-file", str(self.folder / "t"), "--name", "ann"]
        set_there = {**environment, "CONSORT_CONTEXT": admins}
        # When ann logs in there, or chooses hers, then she is told that it is without effect
        for command in (login, ["context", "use", "ann"]):
            done = self.run_consort(*command, environment=set_there)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("unset CONSORT_CONTEXT", done.stderr)
            self.assertNotIn("unset", self.run_consort(*command, environment=environment).stderr)
        # And the list marks the one that commands use
        in_force = lambda env: [c["name"] for c in self.consort("context", "list", environment=env)["contexts"] if c["current"]]
        self.assertEqual(in_force(set_there), [admins])
        self.assertEqual(in_force(environment), ["ann"])

    def test_a_credential_is_not_overwritten_by_somebody_elses(self):
        main = self.folder / "config/consort/contexts/main.json"
        admins = main.read_text()
        second = str(self.folder / "second")
        self.assertIn("--context-name", self.refused("controller", "init", "--data", second))
        self.assertFalse(os.path.exists(second + "/authority"))
        self.consort("controller", "init", "--data", second, "--context-name", "second")
        self.consort("context", "use", "main")
        self.assertEqual(main.read_text(), admins)
        self.assertIn("for admin at", self.refused("controller", "admin", "--data", second, "--admin", "dora", "--context-name", "main"))
        file = self.folder / "t"
        environment = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "people")}
        environment.pop("CONSORT_CONTROLLER")
        login = ["login", self.url, "--token-file", str(file)]
        file.write_text(self.operator("ann", "--role", "viewer"))
        self.consort(*login, environment=environment)
        self.consort(*login, environment=environment)  # her own may be replaced
        self.consort("operator", "create", "ben")
        self.assertIn("is there already", self.refused("operator", "token", "ben", "--token-file", str(file)))
        file.write_text(self.consort("operator", "token", "ben")["token"])
        said = self.refused(*login, environment=environment)
        self.assertIn("for ann at", said)
        self.assertIn("--name NAME", said)
        self.assertEqual(self.consort("context", "show", environment=environment)["name"], "ann")
        # What lets nobody in any more may go.
        self.consort("operator", "revoke", "ann")
        self.assertEqual(self.consort(*login, environment=environment)["name"], "ben")

    def test_a_site_is_checked_without_the_controller(self):
        site = self.folder / "site.json"
        site.write_text(json.dumps({"name": "s", "hostClasses": {"all": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}},
                                    "services": {"web": {"on": "all", "resources": {"f": {"type": "file", "path": "/f", "content": "${secret.db}"}}}}}))
        said = self.refused("check", "--site", str(site))
        self.assertIn("db", said)  # which is not set
        self.end(self.controller)
        nobody = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "nobody")}
        for environment in (self.environment, nobody):
            done = self.run_consort("check", "--site", str(site), environment=environment)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("checked without the controller", done.stderr)

    def key_create_on_a_terminal(self, *typed):
        """(exit status, what it said)."""
        terminal, its = pty.openpty()
        self.addCleanup(os.close, terminal)
        process = subprocess.Popen([CONSORT, "key", "create", "ann", "--passphrase"], stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        os.close(its)
        said = b""
        for line in typed:
            prompt = b""
            while not prompt.endswith(b": "):
                byte = process.stderr.read(1)
                self.assertTrue(byte, said + prompt)
                prompt += byte
            said += prompt
            self.wait_until("it shows nothing", lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO)
            os.write(terminal, line.encode() + b"\n")
        said += process.communicate(timeout=20)[1]
        return process.returncode, said.decode()

    def test_a_new_passphrase_is_asked_twice_and_not_in_vain(self):
        status, said = self.key_create_on_a_terminal("correct horse", "correct hoarse")
        self.assertEqual(status, 64)
        self.assertIn("differ", said)
        self.assertEqual(self.key_create_on_a_terminal("correct horse", "correct horse")[0], 0)
        status, said = self.key_create_on_a_terminal()
        self.assertEqual(status, 1)
        self.assertIn("already", said)

    def test_a_token_for_another_controller_is_not_sent(self):
        token = self.operator("ann", "--role", "viewer")
        parts = token.split(".")
        parts[3] = "A" * 43
        said = self.refused("login", self.url, "--token-file", "/dev/stdin", stdin=".".join(parts))
        self.assertNotIn(parts[2], said)

    def test_every_route_with_every_role(self):
        table = [line for line in REFERENCE.read_text().splitlines() if "`" in line and "/v1/" in line or "/metrics" in line]
        routes = [(m, p) for line in table for m, p in re.findall(r"\b(GET|POST|PUT|DELETE) (/[^\s,`|]+)", line)]
        self.assertGreater(len(routes), 30, "the reference names the routes")
        served = 0
        tokens = {role: self.operator("a-" + role, "--role", role, *(["--service", "mine"] if role == "deployer" else [])) for role in ("viewer", "deployer", "admin")}
        changing = {"POST", "PUT", "DELETE"}
        for method, pattern in routes:
            path = re.sub(r"\{digest\}", "sha256:" + "0" * 64, pattern)
            path = re.sub(r"\{verb\}", "pause", path)
            path = re.sub(r"\{number\}", "1", path)
            path = re.sub(r"\{[a-z*]+\}", "nobody", path)
            if path.startswith("/v1/events"):
                continue  # never ends
            with self.subTest(f"{method} {pattern}"):
                statuses = {who: self.ask(method, path, {} if method in changing else None, token=token)[0] for who, token in [("nobody", None), *tokens.items()]}
                served += 1
                open_to_all = pattern in ("/healthz", "/readyz", "/v1/ca", "/v1/rejoin")
                self.assertEqual(statuses["nobody"] == 401, not open_to_all, statuses)
                admins_only = re.search(r"/v1/(tokens|operators)|/approve|/revoke", pattern) or (method == "DELETE" and pattern.startswith("/v1/hosts"))
                if admins_only:
                    self.assertEqual((statuses["viewer"], statuses["deployer"]), (403, 403), statuses)
                if pattern.startswith("/v1/agents") or pattern == "/v1/join":
                    self.assertEqual(statuses["admin"], 403, "agents' routes are the agents': " + str(statuses))
                elif method in changing and not open_to_all and pattern not in ("/v1/plan", "/v1/objects/missing", "/v1/renew"):
                    self.assertEqual(statuses["viewer"], 403, statuses)
                else:
                    self.assertNotIn(statuses["admin"], (401, 403), statuses)
                if pattern in ("/v1/plan", "/v1/objects/missing"):
                    self.assertNotEqual(statuses["viewer"], 403, "viewers plan")
        self.assertGreater(served, 25)

    def test_when_a_certificate_was_used_is_known(self):
        used = lambda: [c["lastUsed"] for o in self.consort("operator", "list")["operators"] for c in o["credentials"] if c["kind"] == "certificate"]
        self.consort("status")
        self.assertTrue(used() and used()[0], "the admin's own, in constant use")

    def test_what_is_said_of_small_mistakes_is_true_and_helps(self):
        said = self.refused("operator", "create", "dan", "--role", "deployer")
        self.assertIn("--service", said)
        self.assertIn("--owner", said)
        made = self.run_consort("controller", "init", "--data", str(self.folder / "other"), "--partition", "spare")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("if it was not revoked", self.run_consort("context", "remove", "spare").stdout)

    def test_a_viewer_plans_what_the_controller_has(self):
        (self.folder / "t").write_text(self.operator("eve", "--role", "viewer"))
        eve = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "eve"), "XDG_CACHE_HOME": str(self.folder / "eve-cache")}
        self.consort("login", self.url, "--token-file", str(self.folder / "t"), environment=eve)
        self.agent("h1", self.token())
        self.wait_until("h1 is there", lambda: self.hosts()["h1"]["reachable"])

        def site(**contents):
            services = {name: {"on": "all", "resources": {"f": {"type": "file", "path": "${service.data}/f", "content": text}}} for name, text in contents.items()}
            path = self.folder / "site.json"
            path.write_text(json.dumps({"name": "s", "hostClasses": {"all": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}}, "services": services}))
            return str(path)

        self.consort("deploy", "--yes", "--site", site(web="1", db="1"))
        self.assertEqual(self.consort("plan", "--site", site(web="1", db="1"), environment=eve)["exit"], 0)
        said = self.refused("plan", "--site", site(web="2", db="2"), environment=eve)
        self.assertIn("the controller does not have 2 objects of this site", said)
        self.assertIn("sending objects needs the role deployer; you are viewer", said)

    def test_developers_deploy_their_own_services_and_nothing_else(self):
        token = self.operator("dev", "--role", "deployer", "--service", "shop-*")
        (self.folder / "t").write_text(token)
        environment = {**self.environment, "XDG_CONFIG_HOME": str(self.folder / "dev")}
        environment.pop("CONSORT_CONTROLLER")
        self.consort("login", self.url, "--token-file", str(self.folder / "t"), environment=environment)
        self.agent("h1", self.token())
        self.wait_until("h1 is there", lambda: self.hosts()["h1"]["reachable"])

        def site(**contents):
            services = {name: {"on": "all", "resources": {"f": {"type": "file", "path": "${service.data}/f", "content": text}}} for name, text in contents.items()}
            path = self.folder / "site.json"
            path.write_text(json.dumps({"name": "s", "hostClasses": {"all": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}}, "services": {k.replace("_", "-"): v for k, v in services.items()}}))
            return str(path)

        self.consort("deploy", "--yes", "--site", site(shop_web="1", db="1"))
        said = self.refused("deploy", "--yes", "--site", site(shop_web="2", db="2"), environment=environment)
        self.assertIn("db", said)
        self.assertEqual(self.consort("status")["generation"], 1)
        self.consort("deploy", "--yes", "--site", site(shop_web="2", db="1"), environment=environment)
        self.assertEqual(self.consort("status")["by"], "dev")

    def test_the_audit_log_tells_who_and_shows_tampering(self):
        self.operator("ann", "--role", "viewer")
        checked = self.consort("audit", "--verify")
        self.assertGreater(checked["entries"], 2)
        self.consort("audit", "--head", checked["head"])
        said = self.refused("audit", "--head", "sha256:" + "0" * 64)
        self.assertIn("mistyped", said)
        self.assertIn("written anew", said)
        self.assertIn("this is no hash", self.refused("audit", "--verify", "--head", checked["head"][:-1]))
        lines = self.run_consort("audit", "--json").stdout
        self.assertIn("create_operator", lines)
        self.assertIn("operator admin", lines)
        self.end(self.controller, signal.SIGTERM)
        with contextlib.closing(sqlite3.connect(self.data / "state.sqlite")) as store:
            table = next(t for (t,) in store.execute("select name from sqlite_master where type='table'") if {"key", "value"} <= {c[1] for c in store.execute(f"pragma table_info({t})")})
            key, value = store.execute(f"select key, value from {table} where cast(key as text) like 'audit/%' order by key limit 1").fetchone()
            text = value.decode() if isinstance(value, bytes) else value
            changed = text.replace("admin", "nimda")
            self.assertNotEqual(text, changed)
            store.execute(f"update {table} set value=? where key=?", (changed.encode() if isinstance(value, bytes) else changed, key))
            store.commit()
        self.start()
        self.assertIn("broken at entry 1", self.refused("audit", "--verify"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
