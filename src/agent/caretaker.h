// Owns the core on the event loop: makes what it says durable, hands out its work, and between
// transitions keeps every service as applied and asks how it is. All functions run on the loop's
// thread, except position() and close().
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "agent/core.h"
#include "agent/firewall.h"
#include "agent/firewall_watch.h"
#include "agent/keeper.h"
#include "agent/reserve.h"
#include "agent/strands.h"
#include "agent/trust.h"
#include "agent/watch.h"
#include "agent/workshop.h"
#include "http/event_loop.h"

namespace consort::agent {

class Caretaker {
 public:
  // `tell` gets every new state; host, boot id and facts are filled in.
  Caretaker(Workshop& workshop, http::EventLoop& loop, Core core, Trust trust,
            Duration health_interval, std::function<void(plan::HostReport)> tell);
  ~Caretaker();
  Caretaker(const Caretaker&) = delete;
  Caretaker& operator=(const Caretaker&) = delete;

  // Goes on where the last life ended. Errors: io (no inotify).
  [[nodiscard]] Status begin();
  // When it returns ok the target is durable. Errors: refused (older), forbidden (not signed), io
  // (the disk).
  [[nodiscard]] Status on_target(const plan::Target& target);
  void on_connected();
  void on_daemon(const std::string& name);

  // Any thread: (epoch, seq) of the durable target.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> position() const;
  // Any thread but the loop's. Whether all workers have ended.
  bool close(Duration grace);

  // The records of an earlier life. Errors: io (also: their folder cannot be read).
  // A damaged target is put aside, and `tell` gets a word of it.
  [[nodiscard]] static Result<Store> load(const fs::path& state,
                                          const std::function<void(const std::string&)>& tell);

 private:
  struct Care {  // what a healthy service is made of
    Version version;
    std::optional<DaemonSpec> daemon;
  };
  struct Service {
    std::string name;
    std::unique_ptr<Keeper> keeper;  // its strand only
    // Guarded by the mutex:
    std::mutex mutex;
    std::set<std::string> drifted;
    bool all = false;
    bool full = false;
    bool queued = false;
    // The loop's only:
    bool busy = false;                 // a transition is under way
    std::uint64_t generation = 0;      // of what is kept: answers about an older one are ignored
    std::shared_ptr<const Care> care;  // null: nothing is kept (yet)
    std::map<std::string, std::string> failing;  // resource → reason
    int failures = 0;
    bool checking = false;
    bool check_again = false;
    std::int64_t restarts = -1;
    http::Timer check_timer;
    http::Timer retry_timer;
  };
  using ServicePtr = std::shared_ptr<Service>;
  struct PassResult {
    std::map<std::string, std::string> failing;
    std::set<std::string> only;  // empty: all
    std::size_t repaired = 0;
    std::vector<Json> failures;  // events, told once
  };
  struct Finding {
    bool well = true;
    std::string reason;
    std::string output;  // of the hook that found it sick, its end; "" where the reason says it all
    bool revive = false;
    std::int64_t restarts = 0;
    std::optional<int> exit_status;
  };

  [[nodiscard]] Status check_trust(const plan::Target& target);
  void take(Output output);
  void carry_out(Output output);
  [[nodiscard]] Status write(const Writes& writes) const;
  void retry_writes();
  void announce_claims();
  void await_repair();
  void note_transitions();
  [[nodiscard]] std::unique_ptr<BootRules> boot_rules();
  void learn_offers();
  void guard_at_start();
  void guard(const GuardPorts& work, Output rest);
  void guarded(Output rest);
  void accept_access(const plan::AccessReport& report);
  void watch_firewall();
  void check_access();
  void checked_access(const Firewall::Finding& finding);
  void tell_strangers(const Firewall::Finding& finding);
  void tell_held(Instant now);
  void load_manifests(const LoadManifests& work);
  void perform(const PerformStep& work);
  [[nodiscard]] bool was_broken_off(const PerformStep& work,
                                    const transition::StepResult& result) const;
  void stepped(const PerformStep& work, const transition::StepResult& result);
  void ended(Service& service, const Instance& instance);
  void clean_up(const ServicePtr& service);
  void keep_versions(const Service& service, std::set<Digest> keep) const;
  void collect();
  void forget_secrets(const std::set<Digest>& roots);

  ServicePtr service(const std::string& name);
  [[nodiscard]] bool is_kept(const Service& service) const;
  [[nodiscard]] bool is_gone(const Service& service) const;
  [[nodiscard]] static Status make_keeper(Workshop& workshop, Service& service);
  void settle(const ServicePtr& service);
  void release_rest(const ServicePtr& service);
  void settled(const ServicePtr& service, std::uint64_t generation,
               const std::shared_ptr<const Care>& care, const PassResult& result);
  void queue_pass(const ServicePtr& service, const std::set<std::string>& resources);
  void run_pass(const ServicePtr& service, std::uint64_t generation);
  [[nodiscard]] PassResult tell_pass(Service& service, const PassOptions& options) const;
  void passed(const ServicePtr& service, std::uint64_t generation, const PassResult& result);
  void on_drift(const Drift& drift);
  void arm(const std::string& service,
           const std::map<std::string, std::vector<std::string>>& paths);
  void audit();

  void revive(const ServicePtr& service);
  void check(const ServicePtr& service);
  [[nodiscard]] Finding examine(const Service& service, const Care& care) const;
  void checked(const ServicePtr& service, std::uint64_t generation, const Finding& finding);
  void tell();

  Workshop& shop_;
  http::EventLoop& loop_;
  Core core_;
  Trust trust_;
  std::optional<std::pair<std::uint64_t, std::uint64_t>> distrusted_;  // the target it refused
  Duration health_interval_;
  std::function<void(plan::HostReport)> tell_;
  std::map<std::string, ServicePtr> services_;
  Reserve reserve_;
  std::vector<Output> deferred_;     // the disk would not take them
  bool guarding_ = false;            // GuardPorts is under way
  std::deque<Output> behind_guard_;  // what came with work meanwhile
  std::atomic<bool> closing_ = false;
  mutable std::mutex position_mutex_;
  std::pair<std::uint64_t, std::uint64_t> position_{0, 0};
  std::mutex watch_mutex_;
  std::unique_ptr<Watch> watch_;
  Firewall firewall_;           // its strand only, once begin() has returned
  std::string access_problem_;  // that was told
  http::Timer access_timer_;
  std::map<std::int64_t, Instant> held_ports_;  // admissions that are not taken, since when
  std::set<std::int64_t> told_held_;
  Instant stranger_minute_{};
  int strangers_told_ = 0;  // in that minute
  std::unique_ptr<FirewallWatch>
      firewall_watch_;  // made when a port is guarded; under watch_mutex_
  Duration load_pause_ = seconds(2);
  std::int64_t audited_ = 0;
  Strands work_;
  Strands health_;
};

}  // namespace consort::agent
