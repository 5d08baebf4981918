#include "integration/agent_shell/fixture.h"

namespace consort::agent {

FakeController::FakeController(const fs::path& folder)
    : store(objects::ObjectStore::open(folder).value()) {
  loop.start();
}

FakeController::~FakeController() {
  down();
  loop.stop();
}

void FakeController::up() {
  on_loop([this] {
    auto made = http::Server::create(loop, {{address_.empty() ? "127.0.0.1:0" : address_}, {}});
    ASSERT_TRUE(made) << render_error(made.error());
    server_ = std::make_unique<http::Server>(std::move(*made));
    address_ = server_->addresses().front();
    server_->route("GET", "/healthz", [](const http::Request&, const http::Responder& r) {
      r.send(http::Response::text("ok"));
    });
    server_->route("GET", "/v1/agents/{name}/target",
                   [this](const http::Request& q, const http::Responder& r) { poll(q, r); });
    server_->route("POST", "/v1/agents/{name}/reports",
                   [this](const http::Request& q, const http::Responder& r) { report(q, r); });
    server_->route("GET", "/v1/objects/{digest}",
                   [this](const http::Request& q, const http::Responder& r) { object(q, r); });
    server_->start();
  });
}

void FakeController::down() {
  on_loop([this] {
    held_.clear();
    silenced_.clear();
    server_.reset();
  });
}

plan::Hook FakeController::script(const std::string& text) const {
  plan::Hook hook;
  hook.program = store.put("#!/bin/sh\n" + text + "\n").value();
  return hook;
}

void FakeController::want(const std::string& service, std::optional<plan::InstanceState> state,
                          const std::string& attempt, const std::optional<plan::Duty>& duty) {
  on_loop([&] {
    target_.instances[service] = {state, attempt, duty};
    send_target();
  });
}

void FakeController::admit(const plan::Admissions& admissions) {
  on_loop([&] {
    target_.admissions = admissions;
    send_target();
  });
}

void FakeController::admit_with(const plan::Admissions& admissions, const std::string& service,
                                const plan::InstanceState& state, const std::string& attempt) {
  on_loop([&] {
    target_.admissions = admissions;
    target_.instances[service] = {state, attempt, std::nullopt};
    send_target();
  });
}

std::optional<plan::HostReport> FakeController::wait(
    const std::function<bool(const plan::HostReport&)>& wanted, Duration limit) {
  std::unique_lock lock(mutex_);
  const bool found = changed_.wait_for(lock, limit, [&] { return last_ && wanted(*last_); });
  return found ? last_ : std::nullopt;
}

std::optional<plan::InstanceReport> FakeController::outcome(const std::string& service,
                                                            const std::string& attempt,
                                                            Duration limit) {
  const auto report = wait(
      [&](const plan::HostReport& r) {
        const auto it = r.instances.find(service);
        return it != r.instances.end() && it->second.outcome &&
               it->second.outcome->attempt == attempt &&
               it->second.outcome->result != plan::Outcome::Result::waiting;
      },
      limit);
  return report ? std::optional(report->instances.at(service)) : std::nullopt;
}

std::vector<Json> FakeController::events(const std::string& kind) {
  const std::lock_guard lock(mutex_);
  std::vector<Json> out;
  for (const Json& event : events_) {
    if (event.string_or("kind") == kind) out.push_back(event);
  }
  return out;
}

std::vector<std::string> FakeController::ranges() {
  const std::lock_guard lock(mutex_);
  return ranges_;
}

void FakeController::on_loop(const std::function<void()>& function) {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  loop.post([&] {
    function();
    const std::lock_guard lock(mutex);
    done = true;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done; });
}

void FakeController::send_target() {
  target_.epoch = 1;
  ++target_.seq;
  target_.attestation = attestation;
  auto held = std::exchange(held_, {});
  for (auto& [id, responder] : held)
    responder.send(http::Response::json(plan::target_to_json(target_)));
}

void FakeController::poll(const http::Request& request, const http::Responder& responder) {
  const auto text = [&](const char* key) { return request.query_value(key).value_or(""); };
  if (text("epoch") != std::to_string(target_.epoch) ||
      text("seq") != std::to_string(target_.seq)) {
    responder.send(http::Response::json(plan::target_to_json(target_)));
    return;
  }
  const int id = ++polls_;
  held_.emplace(id, responder);
  loop.after(seconds(3), [this, id] {
    const auto it = held_.find(id);
    if (it == held_.end()) return;
    it->second.send(http::Response::empty());
    held_.erase(it);
  });
}

void FakeController::report(const http::Request& request, const http::Responder& responder) {
  const auto report = plan::host_report_from_json(request.json().value());
  ASSERT_TRUE(report) << render_error(report.error());
  const std::lock_guard lock(mutex_);
  EXPECT_GT(report->number, number_) << "numbers of reports grow";
  number_ = report->number;
  last_ = *report;
  events_.insert(events_.end(), report->events.begin(), report->events.end());
  changed_.notify_all();
  responder.send(http::Response::json(Json::object()));
}

void FakeController::object(const http::Request& request, const http::Responder& responder) {
  const Digest digest = Digest::parse(request.param("digest")).value();
  if (!store.has(digest)) {
    responder.send(Error(fail(ErrorCode::not_found, "no such object")));
    return;
  }
  if (silent) {
    ++unanswered;
    silenced_.push_back(responder);
    return;
  }
  if (--pieces_left < 0) {
    responder.send(Error(fail(ErrorCode::unavailable, "not now")));
    return;
  }
  const std::string range(request.headers.get("Range").value_or("bytes=0-"));
  const std::uint64_t from = std::stoull(range.substr(6));
  const std::string bytes = store.slice(digest, from, piece_bytes).value();
  {
    const std::lock_guard lock(mutex_);
    ranges_.push_back(digest.brief() + "@" + std::to_string(from));
  }
  http::Response response;
  response.status = 206;
  const std::uint64_t beyond = digest == endless ? std::uint64_t{1} << 50U : 0;
  response.headers.set("Content-Range", "bytes " + std::to_string(from) + "-" +
                                            std::to_string(from + bytes.size() - 1) + "/" +
                                            std::to_string(store.size(digest).value() + beyond));
  response.body = bytes;
  responder.send(std::move(response));
}

AgentShellTest::~AgentShellTest() {
  kill_agent();
  const std::string log = text_of(folder.path() / "agent.log");
  for (const char* trouble : {"Sanitizer", "runtime error", "a bug"})
    EXPECT_EQ(log.find(trouble), std::string::npos) << log;
  // Daemons outlive their agent: they end with their shims, each in a session of its own.
  std::error_code ec;
  for (const auto& item : fs::directory_iterator(data() / "daemons", ec)) {
    const auto state = parse_json(text_of(item.path() / "state.json"));
    if (!state) continue;
    if (const auto shim = static_cast<pid_t>(state->int_or("shim")); shim > 1)
      ::kill(shim, SIGKILL);
  }
  if (HasFailure()) {
    for (const auto& item : fs::directory_iterator(data() / "services", ec)) {
      std::fprintf(stderr, "== %s\n%s\n", item.path().c_str(),
                   text_of(item.path() / "log").c_str());
    }
    std::fprintf(stderr, "== history\n%s\n== agent\n%s\n",
                 text_of(data() / "history.jsonl").c_str(),
                 text_of(folder.path() / "agent.log").c_str());
  }
}

void AgentShellTest::start_agent() {
  fs::create_directories(root() / "etc");
  const std::string log = (folder.path() / "agent.log").string();
  pid = ::fork();
  if (pid == 0) {
    ::freopen(log.c_str(), "a", stderr);
    ::setpgid(0, 0);
    ::syscall(SYS_close_range, 3U, ~0U, 0U);  // the controller's sockets are not the agent's
    ::execl(CONSORT_AGENT, CONSORT_AGENT, "web1", data().c_str(), root().c_str(),
            controller.url().c_str(), nullptr);
    ::_exit(127);
  }
}

void AgentShellTest::end_agent(int signal) {
  if (pid <= 0) return;
  ::kill(pid, signal);
  ::waitpid(pid, nullptr, 0);
  pid = -1;
}

plan::Manifest AgentShellTest::heart(const std::string& version, std::int64_t data_version) const {
  plan::Manifest out;
  out.service = "shop";
  out.host_class = "web";
  out.version = version;
  out.data_version = data_version;
  out.resources["config"] =
      Json::object({{"type", "file"},
                    {"path", "/etc/shop.conf"},
                    {"content", "version " + version + " on ${host.name} in ${host.labels.dc}\n"},
                    {"mode", "0644"}});
  out.resources["own"] = Json::object({{"type", "file"},
                                       {"path", "${service.dir}/own.conf"},
                                       {"content", version + "\n"},
                                       {"mode", "0644"}});
  out.daemon = Json::object({{"argv", Json::array_of(std::vector<std::string>{
                                          "/bin/sh", "-c",
                                          "while :; do cat ${service.dir}/own.conf >> "
                                          "${service.data}/beat; sleep 0.02; done"})},
                             {"stopTimeout", "5s"}});
  // The schema is what the data folder holds: written by setup, changed by migrations.
  out.hooks["setup"] =
      controller.script("echo " + std::to_string(data_version) + " > $CONSORT_DATA/schema");
  out.hooks["backup"] = controller.script("cp $CONSORT_DATA/schema $CONSORT_SNAPSHOT/");
  out.hooks["restore"] = controller.script("cp $CONSORT_SNAPSHOT/schema $CONSORT_DATA/schema");
  out.hooks["migrate"] = controller.script(
      "echo \"migrate $CONSORT_DIRECTION\" >> $CONSORT_DATA/trace; case $CONSORT_DIRECTION in "
      "up) echo " +
      std::to_string(data_version) + ";; down) echo " + std::to_string(data_version - 1) +
      ";; esac > $CONSORT_DATA/schema");
  out.hooks["validate"] =
      controller.script("test \"$(cat $CONSORT_DATA/schema)\" = " + std::to_string(data_version));
  return out;
}

Digest AgentShellTest::install(const plan::Manifest& manifest, const std::string& attempt) {
  const Digest digest = controller.publish(manifest);
  controller.want(manifest.service, plan::InstanceState{digest, plan::Mode::running}, attempt);
  return digest;
}

Digest AgentShellTest::given_version_1_runs() {
  start_agent();
  Digest one = install(heart("1"), "r1");
  EXPECT_TRUE(controller.outcome("shop", "r1")) << "version 1 was not installed";
  return one;
}

bool AgentShellTest::beats(const std::string& version) const {
  fs::remove(service() / "data/beat");
  return eventually([&] {
    const std::string beat = text_of(service() / "data/beat");
    return !beat.empty() && last_lines(beat, 1) == version;
  });
}

}  // namespace consort::agent
