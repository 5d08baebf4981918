"""Who gets in and who does not: a real controller with TLS, joining hosts, operators with roles, the audit log.

Certificates that no honest controller makes come from the openssl program, with the authority's own key.
"""
import contextlib
import http.client
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import termios
import time
import unittest

CONSORT = os.environ.get("CONSORT", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/src/cli/consort"))
REFERENCE = pathlib.Path(__file__).resolve().parents[2] / "docs/reference/access.md"


def openssl(*arguments, **more):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, **more).stdout


class Controller(unittest.TestCase):
    """A controller of the test's own, on a free port."""

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(CONSORT):
            raise AssertionError(f"{CONSORT} is not built: ./dev build")

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consort-access-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = self.folder / "controller"
        self.environment = {**{k: v for k, v in os.environ.items() if not k.startswith("CONSORT_")}, "XDG_CACHE_HOME": str(self.folder / "cache"),
                            "XDG_CONFIG_HOME": str(self.folder / "config"), "NO_COLOR": "1"}
        self.processes = []
        self.addCleanup(self.end_all)
        made = self.run_consort("controller", "init", "--data", str(self.data), "--json")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.start()

    def start(self):
        url_file = self.folder / "url"
        url_file.unlink(missing_ok=True)
        # The same port again after a restart.
        listen = getattr(self, "listen", "127.0.0.1:0")
        self.controller = self.spawn("controller", "--data", str(self.data), "--listen", listen, "--url-file", str(url_file))
        self.wait_until("the controller listens", lambda: url_file.exists() and url_file.read_text().strip())
        self.url = url_file.read_text().strip()
        self.listen = self.url.removeprefix("https://")
        self.port = int(self.url.rsplit(":", 1)[1])
        self.environment["CONSORT_CONTROLLER"] = self.url

    def spawn(self, *arguments):
        log = open(self.folder / f"log-{len(self.processes)}", "w+")
        process = subprocess.Popen([CONSORT, *arguments], stdout=log, stderr=subprocess.STDOUT, env=self.environment, stdin=subprocess.DEVNULL)
        process.log = self.folder / f"log-{len(self.processes)}"
        log.close()
        self.processes.append(process)
        return process

    def end(self, process, how=signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(how)
            process.wait(20)

    def end_all(self):
        for process in self.processes:
            self.end(process)

    def run_consort(self, *arguments, environment=None, stdin=None):
        return subprocess.run([CONSORT, *arguments], capture_output=True, text=True, timeout=60, env=environment or self.environment, input=stdin)

    def consort(self, *arguments, **more):
        """As the admin; the record that it prints."""
        done = self.run_consort(*arguments, "--json", **more)
        self.assertEqual(done.returncode, 0, f"{arguments}\n{done.stdout}{done.stderr}")
        lines = done.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    def refused(self, *arguments, **more):
        done = self.run_consort(*arguments, **more)
        self.assertNotEqual(done.returncode, 0, f"{arguments}\n{done.stdout}")
        return done.stderr

    def wait_until(self, what, condition, limit=30):
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            with contextlib.suppress(ValueError, KeyError, FileNotFoundError):
                value = condition()
                if value:
                    return value
            time.sleep(0.03)
        self.fail(f"did not happen within {limit} s: {what}\n" + "\n".join(p.log.read_text()[-2000:] for p in self.processes))

    # --- speaking HTTP ----------------------------------------------------------------------

    def authority(self):
        file = self.folder / "ca.pem"
        file.write_text((self.data / "authority/certificate.pem").read_text())
        return str(file)

    def tls(self, certificate=None):
        context = ssl.create_default_context(cafile=self.authority())
        if certificate:
            context.load_cert_chain(certificate)
        return context

    def ask(self, method, path, body=None, certificate=None, token=None):
        """(status, body); status None when TLS refused."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls(certificate), timeout=20)
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + token
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, text
        except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected) as error:
            return None, str(error)
        finally:
            connection.close()

    def admin_file(self):
        context = json.loads((self.folder / "config/consort/contexts/main.json").read_text())
        file = self.folder / "admin.pem"
        file.write_text(context["key"] + context["certificate"])
        return str(file)

    def forged(self, name, uri, days=1, authority=None, start=None, end=None):
        """A certificate of the controller's own authority (or of another folder's) for whatever URI."""
        base = self.folder / name
        key, request, certificate, extension = (str(base) + e for e in (".key", ".csr", ".crt", ".ext"))
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        pathlib.Path(extension).write_text(f"[v]\nsubjectAltName=URI:{uri}\nextendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n")
        if authority:
            issuer, issuer_key, secret = authority[0], authority[1], []
        else:
            issuer, issuer_key = str(self.data / "authority/certificate.pem"), str(self.data / "authority/key.pem")
            secret = ["-passin", "file:" + str(self.data / "authority/unlock")]
        if start:
            database = self.folder / f"{name}-ca"
            database.mkdir()
            (database / "index.txt").write_text("")
            (database / "serial").write_text("4711\n")
            (database / "ca.cnf").write_text(f"[ca]\ndefault_ca=c\n[c]\ndatabase={database}/index.txt\nserial={database}/serial\nnew_certs_dir={database}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
            openssl("ca", "-batch", "-config", str(database / "ca.cnf"), "-cert", issuer, "-keyfile", issuer_key, *secret, "-in", request, "-out", certificate, "-notext", "-startdate", start, "-enddate", end,
                    "-extfile", extension, "-extensions", "v")
        else:
            openssl("x509", "-req", "-in", request, "-CA", issuer, "-CAkey", issuer_key, *secret, "-set_serial", "0x1234567890", "-days", str(days), "-extfile", extension, "-extensions", "v", "-out", certificate)
        both = str(base) + ".pem"
        pathlib.Path(both).write_text(pathlib.Path(key).read_text() + pathlib.Path(certificate).read_text())
        return both

    # --- hosts ------------------------------------------------------------------------------

    def token(self, *arguments):
        return self.consort("token", "create", *arguments)["token"]

    def agent(self, name, token=None, data=None):
        data = data or self.folder / f"agent-{name}"
        root = self.folder / f"root-{name}"
        root.mkdir(exist_ok=True)
        (root / "etc").mkdir(exist_ok=True)
        arguments = ["agent", "--data", str(data), "--root", str(root), "--controller", self.url, "--address", "127.0.0.1", "--supervisor", "native"]
        if token:
            file = self.folder / f"token-{name}-{len(self.processes)}"
            file.write_text(token)
            arguments += ["--join-file", str(file), "--name", name]
        return self.spawn(*arguments)

    def hosts(self):
        return {h["name"]: h for h in self.consort("host", "list")["hosts"]}

    def host_file(self, name):
        return str(self.folder / f"agent-{name}/identity/host.pem")


class Certificates(Controller):
    def test_who_shows_what(self):
        admin = self.admin_file()
        self.assertEqual(self.ask("GET", "/v1/status", certificate=admin)[0], 200)
        with self.subTest("no certificate"):
            status, text = self.ask("GET", "/v1/status")
            self.assertEqual(status, 401)
            self.assertIn("hint", text)
        with self.subTest("expired"):
            old = self.forged("old", "consort://main/operator/admin", start="20200101000000Z", end="20200102000000Z")
            self.assertNotEqual(self.ask("GET", "/v1/status", certificate=old)[0], 200)
            self.wait_until("the log says why", lambda: "expired" in self.controller.log.read_text())
        with self.subTest("not yet valid"):
            early = self.forged("early", "consort://main/operator/admin", start="20990101000000Z", end="20990102000000Z")
            self.assertNotEqual(self.ask("GET", "/v1/status", certificate=early)[0], 200)
        with self.subTest("another authority"):
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(self.folder / "o.key"), "-out", str(self.folder / "o.crt"), "-days", "1", "-subj", "/CN=other")
            other = self.forged("other", "consort://main/operator/admin", authority=(str(self.folder / "o.crt"), str(self.folder / "o.key")))
            self.assertNotEqual(self.ask("GET", "/v1/status", certificate=other)[0], 200)
        with self.subTest("the right authority, but a serial that was never issued"):
            thief = self.forged("thief", "consort://main/operator/admin")
            self.assertEqual(self.ask("GET", "/v1/status", certificate=thief)[0], 401)
        with self.subTest("the right authority, a name that nobody has"):
            nobody = self.forged("nobody", "consort://main/host/nobody")
            self.assertEqual(self.ask("GET", "/v1/agents/nobody/target", certificate=nobody)[0], 401)
        with self.subTest("another partition"):
            elsewhere = self.forged("elsewhere", "consort://elsewhere/operator/admin")
            self.assertEqual(self.ask("GET", "/v1/status", certificate=elsewhere)[0], 401)
        with self.subTest("plain HTTP"):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", "/v1/status")
            answer = connection.getresponse()
            self.assertEqual(answer.status, 400)
            self.assertIn("TLS", answer.read().decode())
        with self.subTest("TLS 1.2"):
            old = self.tls()
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with self.assertRaises((ssl.SSLError, ConnectionError)), socket.create_connection(("127.0.0.1", self.port)) as raw:
                old.wrap_socket(raw, server_hostname="127.0.0.1")

    def test_the_authority_is_made_once_and_its_key_is_locked(self):
        self.assertIn("holds an authority already", self.refused("controller", "init", "--data", str(self.data)))
        key = (self.data / "authority/key.pem").read_text()
        self.assertIn("ENCRYPTED PRIVATE KEY", key)
        self.assertEqual((self.data / "authority/key.pem").stat().st_mode & 0o777, 0o600)
        self.end(self.controller)
        wrong = self.folder / "wrong"
        wrong.write_text("not the passphrase\n")
        done = self.run_consort("controller", "--data", str(self.data), "--listen", "127.0.0.1:0", "--unlock", str(wrong))
        self.assertEqual(done.returncode, 6)
        self.assertIn("passphrase", done.stderr)

    def test_init_names_the_address_to_listen_on(self):
        for i, (arguments, expected) in enumerate((([], "127.0.0.1:8440"), (["--url", "https://127.0.0.1:21440"], "127.0.0.1:21440"), (["--address", "10.0.0.1", "--url", "https://10.0.0.1:9"], "0.0.0.0:9"),
                                                   (["--address", "::1"], "[::1]:8440"))):
            with self.subTest(arguments):
                done = self.run_consort("controller", "init", "--data", str(self.folder / f"c{i}"), "--context-file", str(self.folder / f"c{i}.json"), *arguments)
                self.assertIn(f"--listen {expected}\n", done.stdout, done.stderr)

    def test_without_an_authority_only_insecure_and_only_on_loopback(self):
        empty = str(self.folder / "empty")
        said = self.refused("controller", "--data", empty, "--listen", "127.0.0.1:0")
        self.assertIn("consort controller init", said)
        said = self.refused("controller", "--data", empty, "--listen", "0.0.0.0:0", "--insecure")
        self.assertIn("not a loopback address", said)
        plain = self.spawn("controller", "--data", empty, "--listen", "127.0.0.1:0", "--insecure")
        self.wait_until("it says so", lambda: "no TLS" in plain.log.read_text())


class Joining(Controller):
    def test_a_host_joins_once_and_comes_back_by_itself(self):
        agent = self.agent("web1", self.token())
        self.wait_until("web1 is there", lambda: self.hosts()["web1"]["reachable"])
        self.end(agent)
        again = self.agent("web1")  # no token: it has a certificate
        self.wait_until("web1 is back", lambda: "agent web1" in again.log.read_text())
        self.assertEqual(pathlib.Path(self.host_file("web1")).stat().st_mode & 0o777, 0o600)

    def test_tokens_are_used_up_revoked_and_cannot_be_made_up(self):
        token = self.token("--uses", "1")
        self.agent("a", token)
        self.wait_until("a is there", lambda: self.hosts()["a"]["reachable"])
        for name, bad, word in (("b", token, "used up"), ("c", token.replace(".", ".x", 1), "token"), ("d", "nonsense", "token")):
            with self.subTest(name):
                late = self.agent(name, bad)
                self.assertEqual(late.wait(30), 1)
                self.assertIn(word, late.log.read_text())
        token = self.token("--uses", "5")
        self.consort("token", "revoke", token.split(".")[1])
        late = self.agent("e", token)
        self.assertEqual(late.wait(30), 1)
        self.assertNotIn("e", self.hosts())

    def test_a_token_of_another_authority_is_told_to_nobody(self):
        parts = self.token().split(".")
        parts[3] = "A" * 43  # well formed, and nobody's
        stranger = self.agent("x", ".".join(parts))
        self.wait_until("it says that this is not its controller", lambda: "authority" in stranger.log.read_text())
        self.assertNotIn("x", self.hosts())
        self.assertNotIn("joined", stranger.log.read_text())
        self.assertNotIn(parts[2], self.controller.log.read_text())

    def test_files_that_are_not_there_are_told_before_the_token_is_used(self):
        data = str(self.folder / "agent-web1")
        said = self.refused("agent", "--data", data, "--controller", self.url, "--join-file", str(self.folder / "nofile"))
        self.assertIn("nofile", said)
        token = self.folder / "join"
        token.write_text(self.token())
        said = self.refused("agent", "--data", data, "--controller", self.url, "--name", "web1", "--join-file", str(token), "--trust", str(self.folder / "nolist"))
        self.assertIn("nolist", said)
        self.assertNotIn("web1", self.hosts())
        self.assertEqual(self.consort("token", "list")["tokens"][0]["usesLeft"], 1)

    def test_a_name_is_the_first_machines(self):
        token = self.token("--uses", "9")
        self.agent("web1", token)
        self.wait_until("web1 is there", lambda: self.hosts()["web1"]["reachable"])
        rival = self.agent("web1", token, self.folder / "agent-rival")
        self.assertEqual(rival.wait(30), 1)
        self.assertIn("web1", rival.log.read_text())
        self.wait_until("the audit log tells it", lambda: any("web1" in e["subject"] and e["outcome"] == "refused" for e in self.audit()))
        self.assertTrue(self.hosts()["web1"]["reachable"])

    def test_by_hand(self):
        agent = self.agent("web1", self.token("--by-hand"))
        self.wait_until("it waits", lambda: "consort host approve web1" in agent.log.read_text())
        self.assertFalse(self.hosts().get("web1", {}).get("reachable", False))
        self.consort("host", "approve", "web1")
        self.wait_until("web1 is there", lambda: self.hosts()["web1"]["reachable"])

    def test_a_revoked_host_learns_nothing_more_within_one_poll(self):
        agent = self.agent("web1", self.token())
        self.wait_until("web1 is there", lambda: self.hosts()["web1"]["reachable"])
        self.consort("host", "revoke", "web1")
        self.assertEqual(self.ask("GET", "/v1/agents/web1/target", certificate=self.host_file("web1"))[0], 401)
        self.wait_until("the agent is told", lambda: re.search("revoked|not valid|no more", agent.log.read_text()))
        self.consort("host", "approve", "web1", "--key", self.consort("host", "show", "web1")["identity"]["key"])
        self.wait_until("it is let in again", lambda: self.hosts()["web1"]["reachable"])

    def test_hosts_see_only_themselves(self):
        token = self.token("--uses", "2")
        self.agent("web1", token)
        self.agent("web2", token)
        self.wait_until("both are there", lambda: all(self.hosts()[n]["reachable"] for n in ("web1", "web2")))
        mine = self.host_file("web1")
        self.assertIn(self.ask("GET", "/v1/agents/web1/target?epoch=0&seq=0", certificate=mine)[0], (200, 204))
        self.assertEqual(self.ask("GET", "/v1/agents/web2/target", certificate=mine)[0], 403)
        self.assertEqual(self.ask("POST", "/v1/agents/web2/reports", {}, certificate=mine)[0], 403)
        for method, path in (("GET", "/v1/status"), ("GET", "/v1/audit"), ("POST", "/v1/tokens"), ("POST", "/v1/deploy")):
            self.assertEqual(self.ask(method, path, {}, certificate=mine)[0], 403, path)

    def test_an_expired_certificate_is_renewed_by_the_hosts_key(self):
        agent = self.agent("web1", self.token())
        self.wait_until("web1 is there", lambda: self.hosts()["web1"]["reachable"])
        self.end(agent)
        # The same key, a certificate of long ago: as after a long absence.
        folder = self.folder / "agent-web1/identity"
        text = (folder / "host.pem").read_text()
        key = text[:text.index("-----BEGIN CERTIFICATE-----")]
        (self.folder / "web1old.keep").write_text(key)
        old = pathlib.Path(self.forged("web1old", "consort://main/host/web1", start="20200101000000Z", end="20200102000000Z")).read_text()
        # forged() makes a key of its own; the certificate must be of the host's.
        key_file = self.folder / "host.key"
        key_file.write_text(key)
        openssl("req", "-new", "-key", str(key_file), "-subj", "/CN=web1", "-out", str(self.folder / "web1old.csr"))
        ca = self.folder / "web1old-ca"
        (ca / "index.txt").write_text("")
        openssl("ca", "-batch", "-config", str(ca / "ca.cnf"), "-cert", str(self.data / "authority/certificate.pem"), "-keyfile", str(self.data / "authority/key.pem"), "-passin", "file:" + str(self.data / "authority/unlock"),
                "-in", str(self.folder / "web1old.csr"), "-out", str(self.folder / "host.crt"), "-notext", "-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-extfile", str(self.folder / "web1old.ext"), "-extensions", "v")
        self.assertIn("BEGIN", old)
        (folder / "host.pem").write_text(key + (self.folder / "host.crt").read_text())
        before = (folder / "host.pem").read_text()
        self.agent("web1")
        self.wait_until("it is renewed", lambda: (folder / "host.pem").read_text() != before)
        self.wait_until("web1 is there", lambda: self.hosts()["web1"]["reachable"])

    def audit(self):
        done = self.run_consort("audit", "--json")
        return [json.loads(line) | json.loads(line).get("note", {}) for line in done.stdout.splitlines()]


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
                elif method in changing and not open_to_all and pattern not in ("/v1/plan", "/v1/renew"):
                    self.assertEqual(statuses["viewer"], 403, statuses)
                else:
                    self.assertNotIn(statuses["admin"], (401, 403), statuses)
        self.assertGreater(served, 25)

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
        self.assertIn("written anew", self.refused("audit", "--head", "sha256:" + "0" * 64))
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


class Abuse(Controller):
    def test_many_connections_of_one_peer(self):
        """10 000 that say nothing: others are still answered, and the silent ones go."""
        sockets = []
        self.addCleanup(lambda: [s.close() for s in sockets])
        for _ in range(10_000):
            try:
                sockets.append(socket.create_connection(("127.0.0.1", self.port), timeout=5))
            except OSError:
                break
        self.assertGreater(len(sockets), 5_000)
        self.assertIn("services", self.consort("status"))
        self.wait_until("silent ones are cut", lambda: self.is_cut(sockets[0]), 40)

    @staticmethod
    def is_cut(connection):
        connection.setblocking(False)
        try:
            return connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def test_oversized_and_slow(self):
        admin = self.admin_file()
        self.assertEqual(self.ask("POST", "/v1/join", {"request": "x" * 200_000}, token=self.token())[0], 413)
        with socket.create_connection(("127.0.0.1", self.port)) as raw, self.tls(admin).wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n")
            self.assertIn(b" 431 ", connection.recv(4096))
        with socket.create_connection(("127.0.0.1", self.port)) as raw, self.tls(admin).wrap_socket(raw, server_hostname="127.0.0.1") as slow:
            slow.sendall(b"GET /v1/sta")
            slow.settimeout(40)
            answer = slow.recv(4096)
            self.assertTrue(answer == b"" or b" 408 " in answer, answer)
        self.assertIn("services", self.consort("status"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
