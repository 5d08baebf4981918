"""Who only wants to keep a controller busy: too many connections, too long and too slow requests."""
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
