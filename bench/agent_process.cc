#include "bench/agent_process.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>

#include "agent/shell.h"
#include "agent/supervisors/shim.h"
#include "bench/measure.h"
#include "http/server.h"
#include "plan/target.h"

namespace consort::bench {
namespace {

int run_daemon(const char* path) {
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::strncpy(to.sun_path, path, sizeof to.sun_path - 1);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return 1;
  const pid_t self = ::getpid();
  if (::write(socket.get(), &self, sizeof self) != sizeof self) return 1;
  while (true) ::pause();
}

int run_agent_part(char** argv) {
  agent::AgentOptions options;
  options.name = "host1";
  options.data = argv[2];
  options.root = argv[3];
  options.controller_url = argv[4];
  options.address = "127.0.0.1";
  options.supervisor = agent::SupervisorChoice::native;
  const Status status = agent::run_agent(options);
  if (!status) std::fputs(render_error(status.error()).c_str(), stderr);
  return status ? 0 : 1;
}

}  // namespace

std::optional<int> run_as_part(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "daemon-shim") == 0)
    return agent::daemon_shim_main(argc - 1, argv + 1);
  if (argc == 3 && std::strcmp(argv[1], "daemon") == 0) return run_daemon(argv[2]);
  if (argc == 5 && std::strcmp(argv[1], "agent") == 0) return run_agent_part(argv);
  return std::nullopt;
}

std::vector<std::string> telling_daemon(const fs::path& socket) {
  return {fs::read_symlink("/proc/self/exe").string(), "daemon", socket.string()};
}

struct AgentProcess::Impl {
  objects::ObjectStore store;
  fs::path data;
  plan::Target target;
  http::EventLoop loop;
  std::optional<http::Server> server;
  std::vector<http::Responder> held;
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<plan::HostReport> last;
  pid_t pid = -1;

  explicit Impl(objects::ObjectStore objects) : store(std::move(objects)) {}

  void routes() {
    server->route("GET", "/healthz", [](const http::Request&, const http::Responder& answer) {
      answer.send(http::Response::text("ok"));
    });
    server->route("GET", "/v1/agents/{name}/target",
                  [this](const http::Request& request, const http::Responder& answer) {
                    if (request.query_value("seq") == std::to_string(target.seq)) {
                      held.push_back(answer);
                    } else {
                      answer.send(http::Response::json(plan::target_to_json(target)));
                    }
                  });
    server->route("POST", "/v1/agents/{name}/reports",
                  [this](const http::Request& request, const http::Responder& answer) {
                    auto report = must(plan::host_report_from_json(must(request.json())));
                    const std::lock_guard lock(mutex);
                    last = std::move(report);
                    changed.notify_all();
                    answer.send(http::Response::json(Json::object()));
                  });
    server->route("GET", "/v1/objects/{digest}",
                  [this](const http::Request& request, const http::Responder& answer) {
                    const Digest digest = must(Digest::parse(request.param("digest")));
                    const std::string range(request.headers.get("Range").value_or("bytes=0-"));
                    const std::uint64_t from = std::stoull(range.substr(6));
                    http::Response response;
                    response.status = 206;
                    response.body = must(store.slice(digest, from, 4U << 20U));
                    response.headers.set(
                        "Content-Range",
                        fmt::format("bytes {}-{}/{}", from, from + response.body.size() - 1,
                                    must(store.size(digest))));
                    answer.send(std::move(response));
                  });
  }

  // Every instance has ended its attempt and is healthy.
  [[nodiscard]] bool settled() const {
    if (!last) return false;
    for (const auto& [service, entry] : target.instances) {
      const auto it = last->instances.find(service);
      if (it == last->instances.end() || !it->second.outcome) return false;
      if (it->second.outcome->result != plan::Outcome::Result::done)
        give_up("the agent could not apply the manifest: " + it->second.outcome->message);
      if (it->second.health != plan::Health::healthy) return false;
    }
    return true;
  }
};

AgentProcess::AgentProcess(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<AgentProcess> AgentProcess::start(const fs::path& folder,
                                                  const std::vector<plan::Manifest>& manifests) {
  auto impl = std::make_unique<Impl>(must(objects::ObjectStore::open(folder / "controller")));
  impl->data = folder / "data";
  must(make_folders(folder / "root/etc"));
  impl->target.epoch = 1;
  impl->target.seq = 1;
  for (const plan::Manifest& manifest : manifests) {
    plan::TargetEntry entry;
    entry.wanted =
        plan::InstanceState{must(plan::put_manifest(impl->store, manifest)), plan::Mode::running};
    entry.attempt = "1";
    impl->target.instances[manifest.service] = entry;
  }
  impl->server.emplace(must(http::Server::create(impl->loop, {{"127.0.0.1:0"}, {}})));
  impl->routes();
  impl->server->start();
  const std::string url = impl->server->url();
  impl->loop.start();
  const std::string data = impl->data.string();
  const std::string root = (folder / "root").string();
  impl->pid = ::fork();
  if (impl->pid == 0) {
    ::execl("/proc/self/exe", "bench_agent", "agent", data.c_str(), root.c_str(), url.c_str(),
            nullptr);
    ::_exit(127);
  }
  {
    std::unique_lock lock(impl->mutex);
    if (!impl->changed.wait_for(lock, seconds(120), [&] { return impl->settled(); }))
      give_up("the agent has not applied its target in two minutes");
  }
  return std::unique_ptr<AgentProcess>(new AgentProcess(std::move(impl)));
}

AgentProcess::~AgentProcess() {
  ::kill(impl_->pid, SIGTERM);
  ::waitpid(impl_->pid, nullptr, 0);
  std::error_code ec;
  for (const auto& item : fs::directory_iterator(impl_->data / "daemons", ec)) {
    const auto text = read_file(item.path() / "state.json");
    const auto state = text ? parse_json(*text) : Result<Json>(Json());
    // The shim ends its daemon on SIGTERM.
    if (const auto shim = state ? static_cast<pid_t>(state->int_or("shim")) : 0; shim > 1)
      ::kill(shim, SIGTERM);
  }
  impl_->loop.stop();
}

pid_t AgentProcess::pid() const { return impl_->pid; }

}  // namespace consort::bench
