// A controller of a few lines (plain JSON over a real server) and agents as real processes.
#pragma once

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/process.h"
#include "base/text.h"
#include "fixtures/eventually.h"
#include "http/server.h"
#include "objects/tree.h"
#include "plan/manifest.h"
#include "plan/target.h"

namespace consort::agent {

using ::testing::HasSubstr;
using tests::eventually;

inline constexpr Duration kPatience = seconds(30);

inline std::string text_of(const fs::path& path) { return read_file(path).value_or(""); }

class FakeController {
 public:
  explicit FakeController(const fs::path& folder);
  ~FakeController();

  // Listens; again at the same address when it was up before.
  void up();
  void down();
  [[nodiscard]] std::string url() const { return "http://" + address_; }

  Digest publish(const plan::Manifest& manifest) const {
    return plan::put_manifest(store, manifest).value();
  }
  plan::Hook script(const std::string& text) const;

  void want(const std::string& service, std::optional<plan::InstanceState> state,
            const std::string& attempt, const std::optional<plan::Duty>& duty = std::nullopt);
  // Who may reach the host's ports from now on.
  void admit(const plan::Admissions& admissions);
  // Both in one target.
  void admit_with(const plan::Admissions& admissions, const std::string& service,
                  const plan::InstanceState& state, const std::string& attempt);

  // The newest report that satisfies this, or nullopt when the deadline has passed first.
  std::optional<plan::HostReport> wait(const std::function<bool(const plan::HostReport&)>& wanted,
                                       Duration limit = kPatience);
  // How this attempt ended.
  std::optional<plan::InstanceReport> outcome(const std::string& service,
                                              const std::string& attempt,
                                              Duration limit = kPatience);
  std::vector<Json> events(const std::string& kind);
  std::vector<std::string> ranges();

  objects::ObjectStore store;
  http::EventLoop loop;
  std::optional<plan::Attestation> attestation;  // of the next target
  std::atomic<int> pieces_left = 1'000'000;      // then objects are answered with 503
  std::atomic<std::size_t> piece_bytes = 4U << 20U;
  std::optional<Digest> endless;     // this object is said to be larger than any disk
  std::atomic<bool> silent = false;  // objects are never answered, as if packets were lost
  std::atomic<int> unanswered = 0;

 private:
  void on_loop(const std::function<void()>& function);

  void send_target();

  void poll(const http::Request& request, const http::Responder& responder);

  void report(const http::Request& request, const http::Responder& responder);

  void object(const http::Request& request, const http::Responder& responder);

  // The loop's only:
  std::string address_;
  std::unique_ptr<http::Server> server_;
  plan::Target target_;
  std::map<int, http::Responder> held_;
  std::vector<http::Responder> silenced_;
  int polls_ = 0;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::optional<plan::HostReport> last_;
  std::uint64_t number_ = 0;
  std::vector<Json> events_;
  std::vector<std::string> ranges_;
};

class AgentShellTest : public ::testing::Test {
 protected:
  AgentShellTest() { controller.up(); }
  ~AgentShellTest() override;

  [[nodiscard]] fs::path data() const { return folder.path() / "data"; }
  [[nodiscard]] fs::path root() const { return folder.path() / "root"; }
  [[nodiscard]] fs::path service(const std::string& name = "shop") const {
    return data() / "services" / name;
  }

  void start_agent();
  void end_agent(int signal);
  void kill_agent() { end_agent(SIGKILL); }

  // A service that writes its version into its data folder, again and again.
  [[nodiscard]] plan::Manifest heart(const std::string& version,
                                     std::int64_t data_version = 1) const;
  [[nodiscard]] Digest install(const plan::Manifest& manifest, const std::string& attempt);
  // The agent is up and has installed heart("1") as attempt r1.
  Digest given_version_1_runs();
  // Its daemon writes this version now.
  [[nodiscard]] bool beats(const std::string& version) const;
  [[nodiscard]] std::string schema() const {
    return std::string(trim(text_of(service() / "data/schema")));
  }

  TempFolder folder = TempFolder::create("consort-agent-").value();
  FakeController controller{folder.path() / "controller"};
  pid_t pid = -1;
};

}  // namespace consort::agent
