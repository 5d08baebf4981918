"""Requests to the API that are broken, huge or hostile: a clear error, nothing changed, no crash."""
import http.client
import json
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

from harness import CONSORT, SharedScenario, run_tests


class Bodies(SharedScenario):
    """What may arrive at the API."""

    hosts = "h=1"
    zeros = "sha256:" + "0" * 64
    routes = [
        ("GET", "/v1/agents/{}/target"), ("POST", "/v1/agents/{}/reports"), ("GET", "/v1/objects/{}"), ("POST", "/v1/objects/missing"), ("PUT", "/v1/objects/{}"), ("GET", "/v1/uploads/{}"),
        ("POST", "/v1/plan"), ("POST", "/v1/deploy"), ("GET", "/v1/rollback"), ("GET", "/v1/rollouts"), ("GET", "/v1/rollouts/{}"), ("POST", "/v1/rollouts/{}/pause"), ("POST", "/v1/rollouts/{}/resume"),
        ("POST", "/v1/rollouts/{}/abort"), ("POST", "/v1/rollouts/{}/nonsense"), ("GET", "/v1/status"), ("GET", "/v1/generations"), ("GET", "/v1/generations/{}"), ("GET", "/v1/hosts"), ("GET", "/v1/hosts/{}"),
        ("DELETE", "/v1/hosts/{}"), ("GET", "/v1/registry"), ("GET", "/v1/log"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
    ]

    def open_lab(self):
        """A controller without TLS and one agent of it: bodies are the same, whoever carries them."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consort-scenario-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.make_tools()
        self.lab = self.folder / "plain"
        url_file = self.folder / "url"
        self.keep("controller", "--insecure", "--data", str(self.lab), "--listen", "127.0.0.1:0", "--url-file", str(url_file))
        self.wait_until("the controller listens", lambda: url_file.exists() and url_file.read_text().strip())
        self.environment["CONSORT_CONTROLLER"] = url_file.read_text().strip()
        root = self.folder / "root"
        (root / "etc").mkdir(parents=True)
        self.keep("agent", "--data", str(self.folder / "agent"), "--root", str(root), "--controller", self.environment["CONSORT_CONTROLLER"], "--name", "h1", "--address", "127.0.0.1", "--supervisor", "native")
        self.inventory = {"h1": "127.0.0.1"}
        self.wait_for_hosts()

    def keep(self, *arguments):
        process = subprocess.Popen([CONSORT, *arguments], stdout=subprocess.DEVNULL, stderr=open(self.folder / f"{arguments[0]}.log", "w"), env=self.environment, stdin=subprocess.DEVNULL)

        def end():
            process.terminate()
            process.wait(20)

        self.addCleanup(end)

    def consort(self, *arguments, timeout=120):
        return self.run_consort(*arguments, timeout=timeout)

    def consort_environment(self):
        return self.environment

    def ask(self, method, target, body=None, headers=None):
        connection = http.client.HTTPConnection(*self.controller_at, timeout=20)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, text, close=True):
        with socket.create_connection(self.controller_at, timeout=20) as wire:
            try:
                wire.sendall(text)
                if close:
                    wire.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before it was all sent
            out = b""
            try:
                while part := wire.recv(65536):
                    out += part
            except ConnectionResetError:
                pass
            return out

    def setUp(self):
        super().setUp()
        self.controller_at = self.controller()
        self.addCleanup(self.still_well)

    def still_well(self):
        self.assertEqual(self.ask("GET", "/healthz")[0], 200)
        self.assertEqual(self.ask("GET", "/readyz")[0], 200)

    def refused(self, method, target, body=None, headers=None, words=()):
        status, answer = self.ask(method, target, body, headers)
        self.assertIn(status, range(400, 500), f"{method} {target} {str(body)[:60]}: {status} {answer[:300]}")
        error = json.loads(answer)["error"]
        self.assertTrue(error["message"])
        for word in words:
            self.assertIn(word, json.dumps(error), f"{method} {target} {str(body)[:60]}")

    def test_every_route_with_every_wrong_body(self):
        bodies = [None, b"", b"{", b"nonsense", b"\xff\xfe\x00", b"[]", b"null", b"1", b'"x"', b'{"a":' * 5000, b"[" * 100_000, b'{"a":1e999}', b'{"a":"\\ud800"}', b'{"digests":1,"generation":1,"host":1}',
                  b'{"digests":[1],"generation":{},"host":"h1","instances":[]}', b'{"digests":["sha256:x"],"generation":{"site":1,"services":[],"hosts":7},"only":"x"}']
        for method, route in self.routes:
            for name in ("nobody", "%00", "..%2f..%2fetc%2fpasswd", "%zz", "a" * 5000, "%F0%9F%92%A9", self.zeros, "sha256:short"):
                if "{}" not in route and name != "nobody":
                    continue
                if route.endswith("/target") and name == "nobody":
                    continue  # a long-poll of a host that is new: allowed
                for body in bodies if method in ("POST", "PUT") and name in ("nobody", self.zeros) else [None]:
                    status, answer = self.ask(method, route.format(name), body)
                    label = f"{method} {route.format(name)[:100]} {str(body)[:60]}: {status} {answer[:200]}"
                    self.assertLess(status, 500, label)
                    if status >= 400:
                        self.assertTrue(json.loads(answer)["error"]["message"], label)
                    elif method in ("POST", "PUT"):
                        self.fail(label)

    def test_the_error_names_the_field(self):
        self.refused("POST", "/v1/plan", b"{}", words=["generation"])
        self.refused("POST", "/v1/deploy", b'{"generation": {"site": 1}}', words=["site"])
        self.refused("POST", "/v1/deploy", b'{"generation": 7}', words=["generation"])
        self.must_be_well()
        generation = json.loads(self.ask("GET", "/v1/generations/current")[1])
        self.refused("POST", "/v1/plan", json.dumps({"generation": generation, "only": "x"}).encode(), words=["only"])
        self.refused("POST", "/v1/plan", json.dumps({"generation": generation, "allowOutage": "yes"}).encode(), words=["allowOutage"])
        self.refused("POST", "/v1/deploy", json.dumps({"generation": generation, "expect": "x"}).encode(), words=["digest"])
        self.refused("POST", "/v1/objects/missing", b'{"digests": "x"}', words=["digests"])
        self.refused("POST", "/v1/objects/missing", b'{"digests": [{}]}', words=["digest"])
        self.refused("POST", "/v1/agents/h1/reports", b'{}', words=["host"])
        self.refused("POST", "/v1/agents/h1/reports", b'{"host": "h2"}')
        self.refused("GET", "/v1/agents/h1/target?epoch=-1", words=["epoch"])
        self.refused("GET", "/v1/agents/h1/target?seq=99999999999999999999", words=["seq"])
        self.refused("GET", "/v1/rollback?to=x", words=["x"])
        self.refused("GET", "/v1/rollback?to=4711", words=["4711"])
        self.refused("GET", "/v1/registry?selector=%3D%3D((", words=["selector"])
        self.refused("GET", "/v1/generations/99999999999999999999999")
        self.refused("PUT", f"/v1/objects/{self.zeros}?offset=-1", b"x", words=["offset"])
        self.refused("PUT", f"/v1/objects/{self.zeros}?offset=7", b"x")
        self.refused("PUT", f"/v1/objects/{self.zeros}", b"other bytes", words=["bytes"])
        status, _ = self.ask("PUT", f"/v1/objects/{self.zeros}?offset=0&last=0", b"half")
        self.assertEqual(status, 200)
        self.refused("PUT", f"/v1/objects/{self.zeros}?offset=4&last=1", b"other half", words=["again"])
        # Types deep inside what a deploy sends: every leaf of the true generation, replaced.
        for path in self.leaves(generation):
            for wrong in ({}, [], "\u0000", -1, 1e300, None, True):
                self.assertLess(self.ask("POST", "/v1/plan", json.dumps({"generation": self.with_leaf(generation, path, wrong)}).encode())[0], 500, f"{path} = {wrong}")

    def leaves(self, value, path=()):
        if isinstance(value, dict) and value:
            return [leaf for key in value for leaf in [path + (key,)] + self.leaves(value[key], path + (key,))]
        if isinstance(value, list) and value:
            return [path + (0,)] + self.leaves(value[0], path + (0,))
        return []

    def with_leaf(self, value, path, new):
        out = json.loads(json.dumps(value))
        at = out
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = new
        return out

    def test_ranges_of_objects(self):
        self.must_be_well()
        digest = json.loads(self.ask("GET", "/v1/generations/current")[1])["services"]["well"]["manifest"]
        status, whole = self.ask("GET", f"/v1/objects/{digest}")
        self.assertEqual(status, 200)
        for header in ("bytes=10-5", "bytes=-5", "bytes=5-", "bytes=0-0", "bytes=99999999999999-", "bytes=999999999999999999999-", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes="):
            status, part = self.ask("GET", f"/v1/objects/{digest}", headers={"Range": header})
            self.assertIn(status, (200, 206, 416), header)
            self.assertLessEqual(len(part), len(whole), header)
        self.assertEqual(self.ask("GET", f"/v1/objects/{digest}", headers={"Range": "bytes=10-5"})[1], whole)

    def test_a_body_of_100_megabytes_is_refused_before_it_is_read(self):
        for target in ("/v1/plan", "/v1/agents/h1/reports", f"/v1/objects/{self.zeros}", "/v1/rollouts/x/pause"):
            method = "PUT" if "objects" in target else "POST"
            head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n".encode()
            self.assertIn(b" 413 ", self.raw(head + b" " * (3 << 20), close=False).split(b"\r\n")[0])
            chunked = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + (b"100000\r\n" + b" " * (1 << 20) + b"\r\n") * 100
            answer = self.raw(chunked, close=False)
            self.assertTrue(b" 413 " in answer.split(b"\r\n")[0] or answer == b"", answer[:200])

    def test_wrong_methods(self):
        for method, route in self.routes:
            for other in ("PATCH", "DELETE", "TRACE", "BREW"):
                status, answer = self.ask(other, route.format("nobody"))
                if other == "DELETE" and "/hosts/" in route:
                    continue
                self.assertEqual(status, 405, f"{other} {route} {answer[:200]}")
                self.assertIn("answers to", json.dumps(json.loads(answer)["error"]))

    def test_broken_http(self):
        host = b"Host: localhost\r\n"
        cases = [
            (b"GET /healthz HTTP/1.1\r\n" + host + b"X: " + b"a" * 300_000 + b"\r\n\r\n", 431),
            (b"GET /healthz HTTP/1.1\r\n" + host + b"".join(b"X%d: y\r\n" % i for i in range(100_000)) + b"\r\n", 431),
            (b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n" + host + b"\r\n", 431),
            (b"nonsense\r\n\r\n", 400),
            (b"GET /healthz HTTP/9.9\r\n" + host + b"\r\n", (400, 505)),
            (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Content-Length: -5\r\n\r\n{}", 400),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Content-Length: 99999999999999999999999\r\n\r\n{}", (400, 413)),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Transfer-Encoding: gzip\r\n\r\n{}", (400, 501)),
            (b"POST /v1/plan HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
            (b"GET /v1/hosts/%zz HTTP/1.1\r\n" + host + b"\r\n", (400, 404)),
            (b"GET /v1/hosts/%00%ff%fe HTTP/1.1\r\n" + host + b"\r\n", (400, 404)),
            (b"GET /../../etc/passwd HTTP/1.1\r\n" + host + b"\r\n", (400, 404)),
            (b"GET http:// HTTP/1.1\r\n" + host + b"\r\n", (400, 404)),
        ]
        for text, expected in cases:
            answer = self.raw(text, close=text.count(b"HTTP/1.1\r\nHost: localhost\r\n\r\n") == 1 and text.startswith(b"GET"))
            status = int(answer.split()[1]) if answer else 0
            self.assertIn(status, expected if isinstance(expected, tuple) else (expected,), f"{text[:120]}: {answer[:300]}")
            self.assertTrue(json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["message"], answer[:300])

    def test_half_sent_and_pipelined_requests(self):
        for text in (b"GET /he", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"):
            answer = self.raw(text)
            self.assertFalse(b" 500 " in answer or b" 200 " in answer, answer)
        # Half-sent requests that stay open take nothing from the others.
        open_wires = [socket.create_connection(self.controller_at) for _ in range(50)]
        for wire in open_wires:
            wire.sendall(b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{")
        self.still_well()
        for wire in open_wires:
            wire.close()
        one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        self.assertEqual(self.raw(one * 200 + last, close=False).count(b"HTTP/1.1 200 "), 201)
        mixed = self.raw(b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}" + b"BREW /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + last, close=False)
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+) ", mixed), [b"400", b"405", b"200"])

    def test_z_a_deploy_works_after_all_of_it(self):
        # Hosts that only a hostile client has named are no obstacle.
        self.must_be_well()


if __name__ == "__main__":
    run_tests()
