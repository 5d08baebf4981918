"""Which certificates a controller takes, and how hosts join it and stay."""
import http.client
import json
import pathlib
import re
import socket
import ssl
import unittest

from own_controller import Controller, openssl


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

    def test_a_new_controller_says_that_nothing_is_deployed_yet(self):
        (self.folder / "site.json").write_text('{"name": "x", "hostClasses": {"a": {"min": 0, "inventory": {"type": "hosts", "hosts": {}}}}, "services": {}}')
        told = self.run_consort("diff", "--site", str(self.folder / "site.json"))
        self.assertEqual(told.returncode, 1, told.stderr)
        self.assertIn("nothing has been deployed yet", told.stderr)
        self.assertIn("consort deploy", told.stderr)

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

    def test_a_lost_file_is_named_with_its_cure_and_costs_no_key(self):
        self.end(self.controller)
        key = (self.data / "authority/key.pem").read_text()
        with self.subTest("names.json"):
            (self.data / "authority/names.json").unlink()
            said = self.refused("controller", "--data", str(self.data), "--listen", "127.0.0.1:0")
            self.assertIn("names.json is missing", said)
            self.assertIn(f"consort controller init --data {self.data} --address ADDRESS", said)
            self.consort("controller", "init", "--data", str(self.data), "--context-file", str(self.folder / "again.json"))
            self.assertEqual((self.data / "authority/key.pem").read_text(), key)
            self.start()
            self.assertEqual(self.ask("GET", "/v1/status", certificate=self.admin_file())[0], 200)
            self.end(self.controller)
        for how in ("deleted", "emptied"):
            with self.subTest(f"state.sqlite {how}"):
                for file in self.data.glob("state.sqlite*"):
                    file.unlink()
                if how == "emptied":
                    (self.data / "state.sqlite").touch()
                self.start()
                self.wait_until("it says so", lambda: "knows no operator and none of the hosts" in self.controller.log.read_text())
                self.assertIn("backup", self.controller.log.read_text())
                self.end(self.controller)
                # An initialisation would not cure it, and says what does.
                (self.data / "state.sqlite").unlink()
                self.assertIn("consort controller admin", self.refused("controller", "init", "--data", str(self.data)))
                self.consort("controller", "admin", "--data", str(self.data), "--url", self.url)
                self.start()
                self.assertNotIn("knows no operator", self.controller.log.read_text())
                self.assertEqual(self.ask("GET", "/v1/status", certificate=self.admin_file())[0], 200)
                self.end(self.controller)

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
        (self.folder / "nofolder").write_text("a file")
        for root in ("noroot", "nofolder"):
            said = self.refused("agent", "--data", data, "--controller", self.url, "--name", "web1", "--join-file", str(token), "--root", str(self.folder / root))
            self.assertIn("cannot use the root", said)
            self.assertIn(root, said)
        self.assertNotIn("web1", self.hosts())
        self.assertEqual(self.consort("token", "list")["tokens"][0]["usesLeft"], 1)

    def test_a_token_that_others_can_read_is_warned_of(self):
        token, said = self.folder / "join", {}
        token.write_text("no token at all")
        for mode in (0o644, 0o600):
            token.chmod(mode)
            said[mode] = self.refused("agent", "--data", str(self.folder / "agent-web1"), "--controller", self.url, "--name", "web1", "--join-file", str(token))
        self.assertIn("warning: ", said[0o644])
        self.assertIn(str(token), said[0o644])
        self.assertNotIn("warning", said[0o600])

    def test_no_agent_does_without_tls_what_it_has_a_token_for(self):
        data = str(self.folder / "agent-web1")
        token = self.folder / "join"
        token.write_text(self.token())
        plain = self.url.replace("https://", "http://")
        said = self.refused("agent", "--data", data, "--controller", plain, "--name", "web1", "--join-file", str(token))
        self.assertIn("a join token is for https://", said)
        said = self.refused("agent", "--data", data, "--controller", "http://192.0.2.1:8440", "--name", "web1")
        self.assertIn("on this machine", said)
        agent = self.agent("web1", token.read_text())
        self.wait_until("web1 is there", lambda: self.hosts()["web1"]["reachable"])
        self.end(agent)
        said = self.refused("agent", "--data", data, "--controller", plain, "--name", "web1")
        self.assertIn("has joined", said)

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
