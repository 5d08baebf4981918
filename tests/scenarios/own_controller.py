"""A controller of a test's own, with TLS, and hosts that join it.

Certificates that no honest controller makes come from the openssl program, with the authority's own key.
"""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import unittest

CONSORT = os.environ.get("CONSORT", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/src/cli/consort"))


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
        # Daemons outlive their agents; they end with their shims.
        for state in self.folder.glob("*/daemons/*/state.json"):
            with contextlib.suppress(ValueError, KeyError, OSError):
                shim = json.loads(state.read_text())["shim"]
                if str(self.folder) in pathlib.Path(f"/proc/{shim}/cmdline").read_text():
                    os.kill(shim, signal.SIGKILL)

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
