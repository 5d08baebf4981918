#include "sim/story.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace consort::sim {
namespace {

constexpr Duration kLongEnough = hours(6);

// A random site: a chain of services over a few classes, some with data, drains and hooks that run
// once.
class Story {
 public:
  Story(std::uint64_t seed, Tracing tracing)
      : random_(seed ^ 0xc0507U), whims_(seed ^ 0x0be7a7U), world_(seed, calm()) {
    world_.trace(tracing == Tracing::on);
    const auto classes = random_.between(1, 3);
    for (std::int64_t c = 0; c < classes; ++c) {
      const std::string name = fmt::format("class{}", c);
      const auto hosts = random_.between(1, 4);
      for (std::int64_t h = 0; h < hosts; ++h) {
        const std::string host = fmt::format("h{}{}", c, h);
        candidate_.classes[name].push_back(host);
        candidate_.hosts[host] = {fmt::format("10.0.{}.{}", c, h + 1),
                                  {{"datacenter", random_.chance(50) ? "dc1" : "dc2"}},
                                  {name}};
      }
    }
    candidate_.site = "generated";
    const auto services = random_.between(1, 5);
    for (std::int64_t s = 0; s < services; ++s)
      shapes_.push_back(shape(fmt::format("s{}", s), s, classes));
    candidate_.policy.batches =
        random_.chance(50) ? std::vector<budget::Amount>{{1, false}, {50, true}, {100, true}}
                           : std::vector<budget::Amount>{{100, true}};
    candidate_.policy.soak = random_.chance(30) ? seconds(20) : Duration{0};
    candidate_.policy.step_timeout = minutes(30);
    if (random_.chance(30))
      candidate_.policy.max_unavailable = budget::Amount{random_.between(1, 3), false};
  }

  StoryOutcome run() {
    settle("the hosts join");
    world_.expect_admission(true);
    release("v1");
    const auto first = deploy("v1");
    if (!first) return outcome();
    expect(first, rollout::Result::done, "the first deploy");
    check_plan_is_empty();
    world_.check_access();
    if (random_.chance(40)) a_host_joins();
    world_.expect_admission(false);
    const std::map<std::string, Digest> before = running();

    upgrade_under_faults();
    world_.set_faults(calm());
    world_.heal();
    settle("calm again");
    check_touched();
    if (second_ == rollout::Result::reverted) expect_running(before, "I5", "after the revert");
    if (second_ == rollout::Result::done || second_ == rollout::Result::reverted)
      world_.check_access();
    world_.expect_admission(true);
    if (second_ == rollout::Result::done) {
      check_plan_is_empty();
      const auto back = world_.rollback();
      if (!back) {
        if (!changed_.empty()) violate("I9", "the rollback was refused: " + back.error().message());
      } else if (!back->empty()) {
        settle("rollback");
        expect(back, rollout::Result::done, "the rollback");
        expect_running(before, "I9", "after the rollback");
      }
    }
    world_.check_truth();
    if (second_ != rollout::Result::open) {
      world_.check_slots_are_free();
      if (whims_.chance(15)) a_host_is_removed_and_comes_back();
    }
    return outcome();
  }

  // A backup of the controller's store is put back after an upgrade that it knows nothing of, or
  // only the beginning of. Nothing may change by itself; then the site is deployed again.
  StoryOutcome run_from_a_backup() {
    settle("the hosts join");
    release("v1");
    if (!deploy("v1")) return outcome();
    controller::Store copy = world_.copy_of_store();
    upgrade_under_faults();
    if (!own_.empty()) return outcome();
    if (random_.chance(50)) copy = copy_;
    Faults slow = calm();
    slow.longest_delay = Duration{random_.between(10, 3000)};
    slow.lose_message = static_cast<double>(random_.between(0, 10));
    world_.set_faults(slow);
    world_.heal();
    const bool at_once = random_.chance(50);  // or while agents are still at it
    if (!at_once) settle("calm again");
    (void)world_.take_touched();
    const std::map<std::string, Digest> before = running();
    // A copy that misses nothing but the end of its rollout (a halt, an abort before anybody was
    // told) goes on with it: no host can know better.
    const bool misses_something = world_.has_told_since(copy);
    world_.put_back(std::move(copy));
    settle("the copy is put back");
    if (!at_once && misses_something) {
      expect_running(before, "I4", "after the store was put back");
      for (const std::string& service : world_.take_touched())
        violate("I10", service + " was touched because the store was put back");
    }
    world_.check_truth();
    world_.set_faults(calm());
    const auto again = deploy("the site after the backup");
    if (again && !again->empty()) expect(again, rollout::Result::done, "the deploy after it");
    if (again) check_plan_is_empty();
    // With nothing to do the store's own generation stays, and its access in doubt.
    if (again && !again->empty()) world_.check_access();
    world_.check_truth();
    told_ += ", then from a backup";
    return outcome();
  }

 private:
  struct Shape {
    std::string name;
    std::string host_class;
    std::vector<std::string> needs;
    bool data = false;
    bool drains = false;
    bool once = false;
    bool backup = false;
    std::int64_t port = 0;
  };

  static Faults calm() { return {}; }

  Shape shape(const std::string& name, std::int64_t index, std::int64_t classes) {
    Shape out;
    out.name = name;
    out.host_class = fmt::format("class{}", random_.between(0, classes - 1));
    for (std::int64_t p = 0; p < index; ++p) {
      if (random_.chance(40)) out.needs.push_back(fmt::format("s{}", p));
    }
    out.data = random_.chance(50);
    out.drains = random_.chance(50);
    out.once = random_.chance(30);
    out.backup = random_.chance(80);
    out.port = 1000 + index;
    return out;
  }

  plan::Manifest manifest(const Shape& shape, const std::string& version,
                          std::int64_t data_version) const {
    plan::Manifest out;
    out.service = shape.name;
    out.host_class = shape.host_class;
    out.version = version;
    out.data_version = shape.data ? data_version : 0;
    out.daemon = Json::object({{"argv", Json::Array{"run"}}});
    plan::Hook hook;
    hook.argv = {"hook"};
    plan::Hook once = hook;
    once.idempotent = !shape.once;
    out.hooks["validate"] = hook;
    if (shape.drains) out.hooks["drain"] = out.hooks["undrain"] = hook;
    if (shape.data) {
      out.hooks["setup"] = hook;
      out.hooks["migrate"] = once;
      if (shape.backup) out.hooks["backup"] = out.hooks["restore"] = hook;
    }
    for (const std::string& need : shape.needs)
      out.needs[need] = Json::object({{"service", need}, {"endpoint", "e"}});
    out.provides["e"] = Json::object({{"port", shape.port}});
    return out;
  }

  void release(const std::string& version, std::int64_t data_version = 1) {
    for (const Shape& shape : shapes_) {
      plan::ServiceRecord record;
      record.host_class = shape.host_class;
      record.manifest = world_.publish(manifest(shape, version, data_version));
      record.version = version;
      record.hosts = candidate_.classes.at(shape.host_class);
      for (const std::string& need : shape.needs)
        record.edges.push_back({plan::Edge::Kind::needs, need, need, "e", 0});
      constexpr std::array<plan::AccessMode, 3> modes = {
          plan::AccessMode::enforce, plan::AccessMode::audit, plan::AccessMode::off};
      record.endpoints["e"] = {
          shape.port,
          modes.at(static_cast<std::size_t>(std::max<std::int64_t>(0, random_.between(-2, 2)))),
          {}};
      candidate_.services[shape.name] = std::move(record);
    }
  }

  // Membership alone: the host gets what its class has, and is let in; nobody else is touched.
  void a_host_joins() {
    const std::string& host_class = shapes_.front().host_class;
    auto& members = candidate_.classes.at(host_class);
    const std::string host = "j" + host_class.substr(5);
    members.push_back(host);
    candidate_.hosts[host] = {"10.0.99.1", {{"datacenter", "dc1"}}, {host_class}};
    for (auto& [name, record] : candidate_.services) {
      if (record.host_class == host_class) record.hosts = members;
    }
    settle("a host is new");
    const auto plan = world_.plan(candidate_);
    for (const plan::Step& step : plan ? plan->steps : std::vector<plan::Step>()) {
      if (step.host != host)
        violate("I10",
                fmt::format("{}@{} would change because {} joins", step.service, step.host, host));
    }
    expect(deploy("a host joins"), rollout::Result::done, "the deploy that takes a host in");
    world_.check_access();
  }

  Result<std::string> deploy(const std::string& what) {
    auto id = world_.deploy(candidate_);
    if (!id) {
      violate("deploy", fmt::format("{} was refused: {}", what, id.error().message()));
    } else {
      settle(what);
    }
    return id;
  }

  void settle(const std::string& what) {
    for (const auto& [host, record] : candidate_.hosts) {
      if (joined_.insert(host).second) world_.add_host(host);
    }
    if (!world_.run(kLongEnough)) violate("progress", what + " did not come to an end");
  }

  void upgrade_under_faults() {
    Faults faults;
    faults.lose_message = static_cast<double>(random_.between(0, 10));
    faults.double_message = static_cast<double>(random_.between(0, 10));
    faults.longest_delay = Duration{random_.between(10, 2000)};
    if (random_.chance(60)) faults.crash_controller = static_cast<double>(random_.between(1, 6));
    if (random_.chance(60)) faults.crash_agent = static_cast<double>(random_.between(1, 6));
    if (random_.chance(25)) faults.stall_controller = static_cast<double>(random_.between(1, 20));
    faults.longest_outage = Duration{random_.between(1000, 12'000)};
    faults.ask_again = random_.chance(50) ? static_cast<double>(random_.between(1, 10)) : 0;
    // Some services change, the others must not hear anything (I10).
    const plan::Generation before = candidate_;
    release("v2", random_.chance(50) ? 2 : 1);
    for (const Shape& shape : shapes_) {
      if (shapes_.size() > 1 && random_.chance(40)) {
        candidate_.services[shape.name] = before.services.at(shape.name);
      } else {
        changed_.insert(shape.name);
      }
    }
    if (random_.chance(50) && !changed_.empty()) {
      auto victim = changed_.begin();
      std::advance(victim, random_.between(0, static_cast<std::int64_t>(changed_.size()) - 1));
      constexpr std::array<std::string_view, 4> steps = {"start", "validate", "migrate", "drain"};
      faults.broken_hooks[{
          *victim, "v2", std::string(steps.at(static_cast<std::size_t>(random_.between(0, 3))))}] =
          random_.chance(50) ? 1 : 70;
    }
    const plan::Policy calm_policy = candidate_.policy;
    plan_meddling();
    const auto plan = world_.plan(candidate_);
    planned_.clear();
    if (plan) {
      for (const plan::Step& step : plan->steps) planned_.insert(step.service);
    }
    (void)world_.take_touched();
    world_.set_faults(faults);
    auto id = world_.deploy(candidate_);
    for (int tries = 0; tries < 50 && !id && id.error().code() == ErrorCode::unavailable; ++tries) {
      (void)world_.run(seconds(5), Duration{0});
      id = world_.deploy(candidate_);
    }
    if (!id) return violate("deploy", "the upgrade was refused: " + id.error().message());
    copy_ = world_.copy_of_store();  // a backup in the middle
    candidate_.policy = calm_policy;
    if (!id->empty()) meddle(*id);
    if (!world_.run_until_ended(kLongEnough))
      return violate("progress", "the upgrade did not come to an end: " + world_.summary_of(*id));
    second_ = id->empty() ? rollout::Result::done : world_.result_of(*id);
    // Crashes and lost messages alone are no reason to go back, unless they interrupt a hook that
    // must not be run twice.
    const bool interruptible =
        std::any_of(shapes_.begin(), shapes_.end(), [](const Shape& s) { return s.once; });
    const bool as_said =
        second_ == rollout::Result::done || (aborted_ && second_ == rollout::Result::reverted);
    if (faults.broken_hooks.empty() && !interruptible && faults.ask_again == 0 && !cut_off_ &&
        !as_said) {
      violate("outcome", fmt::format("nothing was broken, but the upgrade ended {}: {}",
                                     rollout::result_name(second_), world_.summary_of(*id)));
    }
    told_ =
        fmt::format("upgrade of {} services: {}", changed_.size(), rollout::result_name(second_));
    check_touched();
    if (second_ == rollout::Result::open) violate("progress", "the upgrade is still open");
  }

  enum class Whim : std::uint8_t { pause, resume, abort, cut, crash };

  // Few stories have operators who meddle, or hosts that are cut off for long.
  void plan_meddling() {
    whims_of_upgrade_.clear();
    if (whims_.chance(10)) candidate_.policy.on_failure = plan::OnFailure::halt;
    if (whims_.chance(15)) candidate_.policy.max_failures = budget::Amount{1, false};
    if (!whims_.chance(40)) return;
    const auto count = whims_.between(1, 4);
    for (std::int64_t i = 0; i < count; ++i) {
      constexpr std::array<Whim, 6> kinds = {Whim::pause, Whim::abort, Whim::cut,
                                             Whim::cut,   Whim::crash, Whim::resume};
      whims_of_upgrade_.push_back(kinds.at(static_cast<std::size_t>(whims_.between(0, 5))));
    }
  }

  void meddle(const std::string& rollout) {
    for (const Whim whim : whims_of_upgrade_) {
      if (world_.run_until_ended(Duration{whims_.between(100, 40'000)})) return;
      carry_out(whim, rollout);
    }
    // Nobody leaves it paused; a controller that dies may forget the word, and has not answered.
    while (!world_.run_until_ended(Duration{whims_.between(100, 200'000)})) {
      const auto* now = world_.rollout(rollout);
      if (now != nullptr && !now->paused) return;
      carry_out(whims_.chance(50) ? Whim::resume : Whim::abort, rollout);
    }
  }

  void carry_out(Whim whim, const std::string& rollout) {
    using Control = controller::Core::Control;
    if (whim == Whim::crash) return world_.kill_controller();
    if (whim == Whim::cut) {
      cut_off_ = true;
      auto host = joined_.begin();
      std::advance(host, whims_.between(0, static_cast<std::int64_t>(joined_.size()) - 1));
      return world_.cut(*host, Duration{whims_.between(1000, 150'000)});
    }
    const Control what = whim == Whim::pause    ? Control::pause
                         : whim == Whim::resume ? Control::resume
                                                : Control::abort;
    // Unless it is down, or the rollout has ended.
    if (world_.control(rollout, what)) aborted_ = aborted_ || what == Control::abort;
  }

  // Its name comes back, with what it had or as a machine that is set up anew.
  void a_host_is_removed_and_comes_back() {
    const plan::Generation whole = candidate_;
    std::vector<std::string> hosts;
    for (const auto& [name, members] : candidate_.classes) {
      if (members.size() > 1) hosts.insert(hosts.end(), members.begin(), members.end());
    }
    if (hosts.empty()) return;
    const std::string host = hosts.at(
        static_cast<std::size_t>(whims_.between(0, static_cast<std::int64_t>(hosts.size()) - 1)));
    world_.cut(host, hours(10'000));
    if (!world_.run(minutes(2), seconds(60)))
      return violate("progress", "no rest after " + host + " was cut off");
    candidate_.hosts.erase(host);
    for (auto& [name, members] : candidate_.classes) std::erase(members, host);
    for (auto& [name, record] : candidate_.services) std::erase(record.hosts, host);
    expect(deploy("the deploy without " + host), rollout::Result::done,
           "the deploy without a host");
    if (const Status removed = world_.remove_host(host); !removed)
      return violate("removal", removed.error().message());
    world_.heal();
    world_.restart(host, whims_.chance(50) ? World::Disk::kept : World::Disk::wiped);
    settle(host + " joins again");
    candidate_ = whole;
    expect(deploy("the deploy with " + host), rollout::Result::done,
           "the deploy with a host again");
    check_plan_is_empty();
    world_.check_truth();
    world_.check_access();
    world_.check_slots_are_free();
    for (const std::string kind : {"store-behind", "host-adopted"}) {
      if (world_.times_told(kind) > 0) violate("removal", "was told: " + kind);
    }
  }

  // I10: only what the plan names.
  void check_touched() {
    for (const std::string& service : world_.take_touched()) {
      if (!planned_.contains(service))
        violate("I10", fmt::format("{} was touched, but the plan does not name it", service));
    }
  }

  void check_plan_is_empty() {
    const auto plan = world_.plan(candidate_);
    if (!plan) return violate("I8", "planning again was refused: " + plan.error().message());
    if (!plan->empty())
      violate("I8", fmt::format("the plan right after a deploy is not empty: {}",
                                plan::plan_totals(*plan)));
  }

  [[nodiscard]] std::map<std::string, Digest> running() const {
    std::map<std::string, Digest> out;
    for (const Shape& shape : shapes_) {
      for (const std::string& host : candidate_.classes.at(shape.host_class)) {
        if (const auto& digest = world_.machine(host, shape.name).running)
          out[shape.name + "@" + host] = *digest;
      }
    }
    return out;
  }

  void expect_running(const std::map<std::string, Digest>& wanted, const std::string& invariant,
                      const std::string& when) {
    const auto now = running();
    for (const auto& [instance, digest] : wanted) {
      const auto it = now.find(instance);
      if (it == now.end() || it->second != digest)
        violate(invariant,
                fmt::format("{} {}: {} instead of {}", instance, when,
                            it == now.end() ? "nothing" : it->second.brief(), digest.brief()));
    }
  }

  void expect(const Result<std::string>& id, rollout::Result wanted, const std::string& what) {
    if (!id || id->empty()) return;
    const rollout::Result result = world_.result_of(*id);
    if (result != wanted)
      violate("outcome", fmt::format("{} ended {}: {}", what, rollout::result_name(result),
                                     world_.summary_of(*id)));
  }

  void violate(const std::string& invariant, const std::string& text) {
    own_.push_back({invariant, text});
  }

  [[nodiscard]] StoryOutcome outcome() const {
    StoryOutcome out{own_, told_};
    out.violations.insert(out.violations.end(), world_.violations().begin(),
                          world_.violations().end());
    return out;
  }

  Random random_;
  Random whims_;  // of operators and of the network
  World world_;
  plan::Generation candidate_;
  std::vector<Shape> shapes_;
  std::set<std::string> joined_;
  std::set<std::string> changed_;
  std::set<std::string> planned_;
  controller::Store copy_;  // from the middle of the upgrade
  rollout::Result second_ = rollout::Result::open;
  std::vector<Whim> whims_of_upgrade_;
  bool aborted_ = false;
  bool cut_off_ = false;
  std::vector<Violation> own_;
  std::string told_;
};

}  // namespace

StoryOutcome run_story(std::uint64_t seed, Tracing tracing) { return Story(seed, tracing).run(); }

StoryOutcome run_backup_story(std::uint64_t seed, Tracing tracing) {
  return Story(seed, tracing).run_from_a_backup();
}

}  // namespace consort::sim
