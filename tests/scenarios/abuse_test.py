"""Who only wants to keep a controller busy: too many connections, too long and too slow requests."""
import json
import os
import resource
import socket
import unittest

from own_controller import Controller


class Abuse(Controller):
    def test_many_connections_of_one_peer(self):
        """10 000 that say nothing: others are still answered, and the silent ones go."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
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

    # --- root on one host -------------------------------------------------------------------

    def site(self, text, hosts=("h1", "h2")):
        """web, with an artifact, runs on h1 and other on h2."""
        app = self.folder / "app"
        app.write_text("#!/bin/sh\nexit 0\n")
        os.chmod(app, 0o755)

        def host_class(*names):
            return {"min": 0, "inventory": {"type": "hosts", "hosts": {n: {"address": "127.0.0.1"} for n in names if n in hosts}}}

        def service(on, name, content, **more):
            return {"on": on, "resources": {"f": {"type": "file", "path": f"/etc/{name}", "content": content}}, **more}
        path = self.folder / "site.json"
        path.write_text(json.dumps({"name": "s", "hostClasses": {"a": host_class("h1"), "b": host_class("h2")},
                                    "services": {"web": service("a", "web", "1", artifacts={"app": {"file": "app"}}), "other": service("b", "other", text)}}))
        return str(path)

    def test_a_host_that_names_an_artifact_as_its_manifest_is_in_nobodys_way(self):
        token = self.token("--uses", "2")
        stolen, _ = [self.agent(name, token) for name in ("h1", "h2")]
        self.wait_until("both are there", lambda: all(self.hosts()[n]["reachable"] for n in ("h1", "h2")))
        self.consort("deploy", "--yes", "--site", self.site("one"))
        # Whoever is root on h1 speaks in its place.
        self.end(stolen)
        target = json.loads(self.ask("GET", "/v1/agents/h1/target?epoch=0&seq=0", certificate=self.host_file("h1"))[1])
        manifest = json.loads(self.ask("GET", "/v1/objects/" + target["instances"]["web"]["wanted"]["manifest"], certificate=self.host_file("h1"))[1])
        blob = manifest["artifacts"]["app"]["digest"]
        report = {"host": "h1", "bootId": "x", "epoch": target["epoch"], "seq": target["seq"], "number": 1, "facts": {"address": "127.0.0.1"},
                  "instances": {"zzz": {"applied": {"manifest": blob, "mode": "running"}, "health": "healthy"}}}
        self.assertEqual(self.ask("POST", "/v1/agents/h1/reports", report, certificate=self.host_file("h1"))[0], 200)
        with self.subTest("others are planned and deployed"):
            self.assertIn(self.run_consort("plan", "--site", self.site("two")).returncode, (0, 2))
            self.consort("deploy", "--yes", "--only", "other", "--site", self.site("two"))
            self.assertEqual((self.folder / "root-h2/etc/other").read_text(), "two")
        with self.subTest("its log names who says so, once, and not what is in the object"):
            log = self.controller.log.read_text()
            self.assertEqual(log.count(f"{blob} cannot be read as a manifest"), 1)
            self.assertIn("h1 says that it runs it as zzz", log)
            self.assertNotIn("exit 0", log)
        with self.subTest("it is locked out and forgotten"):
            self.consort("host", "revoke", "h1")
            self.wait_until("it counts as away", lambda: not self.hosts()["h1"]["reachable"], 60)
            self.assertIn("take it out of the inventory", self.refused("host", "remove", "h1"))
            self.consort("deploy", "--yes", "--allow-shrink", "--site", self.site("two", hosts=("h2",)))
            self.consort("host", "remove", "h1")
            self.assertNotIn("h1", self.hosts())


if __name__ == "__main__":
    unittest.main(verbosity=2)
