// A whole fleet in one process and in virtual time: the real controller core, the real agent cores,
// and a model of machines and of a network that loses, delays and doubles messages. Everything
// follows from the seed; a failing seed replays.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "agent/core.h"
#include "controller/core.h"
#include "sim/random.h"

namespace consort::sim {

struct Faults {
  double lose_message = 0;  // percent of messages
  double double_message = 0;
  Duration longest_delay = Duration{200};
  double crash_controller = 0;  // percent of journal writes after or before which it dies
  double crash_agent = 0;
  double stall_controller = 0;  // percent of its ticks at which it stands still for a while
  Duration longest_outage = seconds(30);  // until a crashed process is started again
  double ask_again = 0;                   // percent of hook runs that answer 75
  // (service, version, step) whose hook always fails, with this exit status.
  std::map<std::tuple<std::string, std::string, std::string>, int> broken_hooks;
};

// What really is on a host, as opposed to what anybody believes.
struct Machine {
  std::optional<Digest> running;   // the manifest whose process runs
  std::optional<Digest> switched;  // the manifest whose files are in place
  bool serving = false;            // running and not drained
  std::string data = "empty";      // grows with every migration; restored from snapshots
  std::map<std::string, std::string> snapshots;
};

struct Violation {
  std::string invariant;
  std::string text;
};

class World {
 public:
  World(std::uint64_t seed, Faults faults);

  void add_host(const std::string& name);
  // Publishes a manifest: agents can load it from now on.
  Digest publish(const plan::Manifest& manifest);

  // Deploys the candidate; returns the rollout's id, "" when there is nothing to do, or the
  // refusal.
  [[nodiscard]] Result<std::string> deploy(plan::Generation candidate, bool allow_outage = true);
  [[nodiscard]] Result<std::string> rollback();
  // As the controller knows it; null while it is down.
  [[nodiscard]] const rollout::Rollout* rollout(const std::string& id) const;
  // An operator's words. Error unavailable while the controller is down.
  Status control(const std::string& rollout, controller::Core::Control what);
  Status remove_host(const std::string& host);
  // Nothing reaches the host, and nothing comes from it, for so long.
  void cut(const std::string& host, Duration duration);
  // The network is whole again.
  void heal();
  enum class Disk : std::uint8_t { kept, wiped };
  // The machine is started again, or set up anew with nothing on it.
  void restart(const std::string& host, Disk disk);
  [[nodiscard]] Result<plan::Plan> plan(plan::Generation candidate) const;

  // Runs until everything has been at rest (nothing open, nothing due, everybody alive) for `rest`,
  // or `limit` of virtual time has passed. True when it came to rest.
  bool run(Duration limit, Duration rest = seconds(10));
  // Runs until no rollout is open and the controller is up, or `limit` has passed. True when it
  // came to that. For worlds with faults: where everybody crashes again and again there may be no
  // moment of rest for days.
  bool run_until_ended(Duration limit);

  [[nodiscard]] rollout::Result result_of(const std::string& rollout) const;
  [[nodiscard]] std::string summary_of(const std::string& rollout) const;
  [[nodiscard]] const Machine& machine(const std::string& host, const std::string& service) const;
  // What a backup of the controller's store would hold now, and what putting it back does.
  [[nodiscard]] controller::Store copy_of_store() const { return controller_disk_; }
  void put_back(controller::Store copy);
  // Whether any host was told of any instance what the copy does not know.
  [[nodiscard]] bool has_told_since(const controller::Store& copy) const;
  // It dies, and is started again after a while.
  void kill_controller();
  // The controller's process is stopped: it hears nothing and does nothing, and does not know it.
  void stall_controller(Duration duration);
  // How often the controller has told an event of this kind.
  [[nodiscard]] int times_told(const std::string& kind) const;
  // Services that ran any step since the last call.
  [[nodiscard]] std::set<std::string> take_touched();
  [[nodiscard]] const std::vector<Violation>& violations() const { return violations_; }
  // Compares what agents and controller believe with the machines (I5).
  void check_truth();
  // Compares the rules of every host of the current generation with what follows from it (I13).
  void check_access();
  // From now on nothing is lost or late: who starts must be let in by those it needs (I13).
  void expect_admission(bool on) { expect_admission_ = on; }
  // At rest, with everybody in sight, nobody holds a slot (I11).
  void check_slots_are_free();
  void set_faults(Faults faults) { faults_ = std::move(faults); }
  [[nodiscard]] const plan::Generation* current() const {
    return controller_ ? controller_->current() : nullptr;
  }
  void trace(bool on) { trace_ = on; }

 private:
  struct Agent {
    agent::Store disk;
    std::optional<agent::Core> core;
    std::uint64_t reports = 0;
    std::uint64_t highest_epoch = 0;
    std::map<std::string, Machine> machines;
    plan::Admissions rules;  // in the kernel: they outlive the agent
    std::uint64_t life = 0;  // results of work from an earlier life are lost
    Instant cut_until{};
    bool on_its_own = false;  // what it holds is of a controller's life that is lost, or unknown
    std::map<std::string, std::string> taken;  // service → the attempt that has taken it away
  };
  struct Entry {
    Instant at;
    std::uint64_t order;
    std::function<void()> act;
    bool operator<(const Entry& other) const {
      return std::pair(at, order) > std::pair(other.at, other.order);
    }
  };

  void schedule(Duration delay, std::function<void()> act);
  void say(const std::string& text) const;
  void violate(const std::string& invariant, const std::string& text);
  Duration delay() {
    return Duration{random_.between(1, std::max<std::int64_t>(1, faults_.longest_delay.count()))};
  }
  void send(const std::string& host, std::function<void()> deliver);

  void controller_output(controller::Output output);
  void crash_controller();
  void start_controller();
  void wake_controller();
  void tick_controller();
  [[nodiscard]] bool hears() const { return controller_ && now_ >= deaf_until_; }
  controller::DeployRequest request(plan::Generation candidate, bool allow_outage) const;

  void agent_output(const std::string& host, agent::Output output);
  void crash_agent(const std::string& host);
  void start_agent(const std::string& host);
  void watch_health(const std::string& host, std::uint64_t life);
  void poll(const std::string& host);
  void keep_polling(const std::string& host, std::uint64_t life);
  void report(const std::string& host);
  void load(const std::string& host, const agent::LoadManifests& work);
  void perform(const std::string& host, const agent::PerformStep& work);
  transition::StepResult effect(const std::string& host, const agent::PerformStep& work);

  void check_start(const std::string& host, const plan::Manifest& manifest);
  void check_admission(const std::string& host, const plan::Manifest& manifest);
  void guard(const std::string& host);
  void check_stop(const std::string& host, const std::string& service);
  void check_budgets();
  void check_taking(const std::string& host, const agent::PerformStep& work);
  [[nodiscard]] bool holds_slot(const std::string& host) const;
  [[nodiscard]] bool is_taken(const std::string& host, const std::string& service) const;
  [[nodiscard]] bool was_declared(const std::string& attempt, const std::string& service) const;
  [[nodiscard]] int running_instances(const std::string& service) const;
  [[nodiscard]] bool in_declared_outage(const std::string& service) const;
  [[nodiscard]] bool has_ended() const;
  [[nodiscard]] bool at_rest() const;
  void turn();

  Random random_;
  Faults faults_;
  Instant now_ = from_millis(1'700'000'000'000);
  std::uint64_t order_ = 0;
  std::priority_queue<Entry> queue_;
  controller::Store controller_disk_;
  std::optional<controller::Core> controller_;
  std::uint64_t controller_life_ = 0;
  Instant deaf_until_{};
  std::map<std::string, int> told_;  // events by kind
  std::uint64_t lost_lives_ = 0;     // how often another store was put back
  std::map<std::string, Agent> agents_;
  std::map<std::string, std::string> classes_;  // of hosts, as they were deployed last
  std::map<Digest, plan::Manifest> manifests_;
  std::map<std::string, int> runs_of_token_;  // of hooks that must not run twice
  std::set<std::string> touched_;
  std::vector<Violation> violations_;
  bool trace_ = false;
  bool expect_admission_ = false;
};

}  // namespace consort::sim
